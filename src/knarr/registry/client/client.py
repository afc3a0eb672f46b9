"""Pull from and push to any registry (OCI distribution spec 1.1; Docker Hub's ways).

Mirrors come first for pulls; what a mirror does not have, or cannot say, the registry is asked for. A download that breaks
goes on where it broke. What is fetched by digest is verified here (manifests) or by the caller, who stores it (blobs).
"""

import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlencode, urljoin

from knarr.model.descriptor import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Descriptor
from knarr.model.digest import Digest
from knarr.model.errors import Invalid, KnarrError
from knarr.model.reference import Reference
from knarr.registry.client.certificates import DIRECTORY
from knarr.registry.client.downloads import Download
from knarr.registry.client.hosts import Endpoint, endpoints, same_origin
from knarr.registry.client.transport import Answer, Auth, Broken, Transport, Unreachable
from knarr.registry.client.uploads import Uploader
from knarr.registry.client.words import RegistryError, as_login, as_pull, as_push
from knarr.registry.spec.names import DIGEST_HEADER, MANIFEST_LIMIT, MEDIA_TYPE, next_link, number

T = TypeVar("T")
ACCEPT = ", ".join((OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST))
_PAGES = 10_000


class CorruptManifest(Invalid):
    """The bytes are not those of the digest."""


class RegistryClient:
    """One client for every registry. `mirrors` maps a registry's domain to URLs; `insecure` are hosts or networks; `pause` is
    the first wait in seconds before something is tried again; `certificates` is docker's `certs.d`."""

    def __init__(
        self,
        *,
        mirrors: Mapping[str, Sequence[str]] | None = None,
        insecure: Sequence[str] = (),
        agent: str = "knarr",
        pause: float = 0.2,
        certificates: str = DIRECTORY,
    ):
        self._mirrors = mirrors or {}
        self._insecure = tuple(insecure)
        self._transport = Transport(agent, pause, certificates)
        self._working: dict[str, Endpoint] = {}

    def reconfigure(self, *, mirrors: Mapping[str, Sequence[str]], insecure: Sequence[str]) -> None:
        """Other mirrors, other insecure registries, from the next request on."""
        self._mirrors, self._insecure = mirrors, tuple(insecure)
        self._working.clear()

    async def close(self) -> None:
        """Closes every connection."""
        await self._transport.close()

    async def resolve(self, ref: Reference, auth: Auth | None = None) -> Descriptor:
        """What the tag or digest is. Raises NotFound, Unavailable, in Docker's words."""

        async def ask(endpoint: Endpoint) -> Descriptor:
            path = f"/v2/{ref.path}/manifests/{ref.digest or ref.tag or 'latest'}"
            found = await self._head(endpoint, path, ref, auth)
            if found is not None:
                return found
            data, media_type = await self._manifest(endpoint, path, ref, auth)
            return Descriptor(media_type, _verified(data, ref.digest), len(data))

        return await self._anywhere(ref, ask)

    async def _head(
        self, endpoint: Endpoint, path: str, ref: Reference, auth: Auth | None
    ) -> Descriptor | None:
        """None where the answer does not say all, or is a refusal: only a GET's body says why."""
        try:
            headers = (await self._get("HEAD", endpoint, path, ref, auth)).headers
            digest = Digest.parse(headers.get(DIGEST_HEADER, ""))
        except (RegistryError, Invalid):
            return None
        size, media_type = number(headers.get("Content-Length", "")), _media_type(headers)
        if size is None or not media_type or ref.digest not in (None, digest):
            return None
        return Descriptor(media_type, digest, size)

    async def fetch_manifest(self, ref: Reference, digest: Digest, auth: Auth | None = None) -> bytes:
        """A manifest or an index, verified. Raises CorruptManifest."""

        async def ask(endpoint: Endpoint) -> bytes:
            data, _ = await self._manifest(endpoint, f"/v2/{ref.path}/manifests/{digest}", ref, auth)
            _verified(data, digest)
            return data

        return await self._anywhere(ref, ask)

    async def _manifest(
        self, endpoint: Endpoint, path: str, ref: Reference, auth: Auth | None
    ) -> tuple[bytes, str]:
        answer = await self._get("GET", endpoint, path, ref, auth)
        return answer.data, _media_type(answer.headers) or _claimed(answer.data)

    async def _get(
        self, method: str, endpoint: Endpoint, path: str, ref: Reference, auth: Auth | None
    ) -> Answer:
        return await self._transport.fetch(
            method,
            endpoint,
            path,
            scope=f"repository:{ref.path}:pull",
            auth=None if endpoint.mirror else auth,
            headers={"Accept": ACCEPT},
            limit=MANIFEST_LIMIT,
        )

    async def _anywhere(self, ref: Reference, ask: Callable[[Endpoint], Awaitable[T]]) -> T:
        """An answer to a pull: the mirrors' or the registry's."""

        def refused(error: RegistryError) -> KnarrError:
            return as_pull(error, ref.familiar_name, ref.tagged().familiar)

        return await self._ask(ref.domain, self._order(ref.domain, pull=True), ask, refused)

    async def _registry(self, ref: Reference, ask: Callable[[Endpoint], Awaitable[T]]) -> T:
        """The registry's own answer."""
        return await self._ask(ref.domain, self._order(ref.domain, pull=False), ask, as_push)

    async def _ask(
        self,
        domain: str,
        order: Sequence[Endpoint],
        ask: Callable[[Endpoint], Awaitable[T]],
        refused: Callable[[RegistryError], KnarrError],
    ) -> T:
        """The first answer. Whatever is wrong with a mirror, the next is asked; the registry itself is asked in another way
        only where it could not be reached. The last way's failure is the one to tell."""
        failures: dict[Endpoint, KnarrError] = {}
        for endpoint in order:
            try:
                answer = await ask(endpoint)
            except KnarrError as error:
                failure = refused(error) if isinstance(error, RegistryError) else error
                if not endpoint.mirror and not _may_be_reached_otherwise(endpoint, error):
                    raise failure from None
                failures[endpoint] = failure
            else:
                self._remember(domain, endpoint)
                return answer
        raise failures[max(failures, key=lambda each: (not each.mirror, each.url.startswith("http:")))]

    def _order(self, domain: str, *, pull: bool) -> list[Endpoint]:
        """The registry by HTTP or HTTPS, whichever answered before, in front of the other."""
        found = endpoints(domain, self._mirrors, self._insecure, pull=pull)
        known = self._working.get(domain)
        return sorted(found, key=lambda each: (not each.mirror, each != known))

    def _remember(self, domain: str, endpoint: Endpoint) -> None:
        if not endpoint.mirror:
            self._working[domain] = endpoint

    def open_blob(
        self, ref: Reference, descriptor: Descriptor, offset: int = 0, auth: Auth | None = None
    ) -> AsyncIterator[bytes]:
        """Its bytes from `offset`. A connection that breaks is taken up again where it broke."""
        order = self._order(ref.domain, pull=True)
        return Download(self._transport, order, ref, descriptor, auth).pieces(offset)

    async def has_blob(self, ref: Reference, descriptor: Descriptor, auth: Auth | None = None) -> bool:
        """Whether the repository has it."""

        async def ask(endpoint: Endpoint) -> bool:
            return await Uploader(self._transport, endpoint, ref, auth).has(descriptor.digest)

        return await self._registry(ref, ask)

    async def push_blob(
        self,
        ref: Reference,
        descriptor: Descriptor,
        path: Path,
        auth: Auth | None = None,
        *,
        progress: Callable[[int], None] | None = None,
    ) -> bool:
        """Uploads a file unless the registry has the blob; False if it had it. `progress` gets the bytes sent so far."""

        async def ask(endpoint: Endpoint) -> bool:
            uploader = Uploader(self._transport, endpoint, ref, auth)
            if await uploader.has(descriptor.digest):
                return False
            await uploader.upload(descriptor, path, progress)
            return True

        return await self._registry(ref, ask)

    async def mount_blob(
        self, ref: Reference, descriptor: Descriptor, source: Reference, auth: Auth | None = None
    ) -> bool:
        """Takes it over from another repository of the same registry; False if that cannot be."""
        if source.domain != ref.domain or source.path == ref.path:
            return False

        async def ask(endpoint: Endpoint) -> bool:
            return await Uploader(self._transport, endpoint, ref, auth).mount(descriptor.digest, source.path)

        return await self._registry(ref, ask)

    async def push_manifest(
        self, ref: Reference, media_type: str, data: bytes, auth: Auth | None = None
    ) -> Digest:
        """Under the reference's tag, or its digest."""

        async def ask(endpoint: Endpoint) -> Digest:
            async with self._transport.request(
                "PUT",
                endpoint,
                f"/v2/{ref.path}/manifests/{ref.digest or ref.tag or 'latest'}",
                scope=f"repository:{ref.path}:pull,push",
                auth=auth,
                headers={"Content-Type": media_type},
                body=lambda: data,
                good=(200, 201),
            ):
                return Digest.of(data)

        return await self._registry(ref, ask)

    async def tags(self, ref: Reference, auth: Auth | None = None) -> list[str]:
        """Every tag of the repository, over all pages."""

        async def ask(endpoint: Endpoint) -> list[str]:
            found: list[str] = []
            path = f"/v2/{ref.path}/tags/list?{urlencode({'n': 1000})}"
            for _ in range(_PAGES):
                answer = await self._get("GET", endpoint, path, ref, auth)
                found += _tags(answer.data)
                link = next_link(answer.headers.get("Link", ""))
                path = urljoin(answer.url, link)
                if not link or not same_origin(answer.url, path):
                    break
            return found

        return await self._anywhere(ref, ask)

    async def ping(self, domain: str, auth: Auth | None = None) -> None:
        """Whether the registry takes the credentials: `docker login`. Raises Unauthorized, Unavailable."""

        async def ask(endpoint: Endpoint) -> None:
            try:
                await self._transport.fetch("GET", endpoint, "/v2/", scope="", auth=auth)
            except RegistryError as error:
                raise as_login(error, endpoint.url) from None

        await self._registry(Reference(domain, "login"), ask)


def _may_be_reached_otherwise(endpoint: Endpoint, error: KnarrError) -> bool:
    """HTTPS has no connection with a server of plain HTTP; a server of HTTPS hangs up on plain HTTP."""
    return isinstance(error, Unreachable) or (isinstance(error, Broken) and endpoint.url.startswith("http:"))


def _media_type(headers: Mapping[str, str]) -> str:
    found = headers.get("Content-Type", "").partition(";")[0].strip()
    return found if MEDIA_TYPE.match(found) else ""


def _claimed(data: bytes) -> str:
    """A manifest's own word for what it is."""
    try:
        found = json.loads(data).get("mediaType", OCI_MANIFEST)
    except (ValueError, AttributeError, RecursionError):
        raise Invalid("the registry's answer is no manifest") from None
    return found if isinstance(found, str) else OCI_MANIFEST


def _verified(data: bytes, digest: Digest | None) -> Digest:
    if digest is None:
        return Digest.of(data)
    if hashlib.new(digest.algorithm, data).hexdigest() != digest.hex:
        raise CorruptManifest(f"manifest verification failed for digest {digest}")
    return digest


def _tags(data: bytes) -> list[str]:
    try:
        found = json.loads(data).get("tags")
    except (ValueError, AttributeError, RecursionError):
        raise Invalid("the registry's answer is no list of tags") from None
    return [tag for tag in found if isinstance(tag, str)] if isinstance(found, list) else []
