"""Pull from and push to any registry (OCI distribution spec 1.1; Docker Hub's ways).

Mirrors come first for pulls; what a mirror does not have, or cannot say, the registry is asked for. A download that breaks
goes on where it broke. What is fetched by digest is verified here (manifests) or by the caller, who stores it (blobs).
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar
from urllib.parse import urlencode, urljoin

from knarr.loop.blocking import blocking
from knarr.model.descriptor import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Descriptor
from knarr.model.digest import Digest
from knarr.model.errors import Invalid, KnarrError, Unavailable
from knarr.model.reference import Reference
from knarr.registry.client.hosts import Endpoint, endpoints
from knarr.registry.client.transport import ATTEMPTS, Auth, RegistryError, Transport, as_pull, as_push
from knarr.registry.spec.names import DIGEST_HEADER, MANIFEST_LIMIT, next_link

if TYPE_CHECKING:
    from aiohttp import ClientResponse

T = TypeVar("T")
ACCEPT = ", ".join((OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST))
_CHUNK = 256 << 10


class CorruptManifest(Invalid):
    """The bytes are not those of the digest."""


class RegistryClient:
    """One client for every registry. `mirrors` maps a registry's domain to URLs; `insecure` are hosts or networks."""

    def __init__(
        self,
        *,
        mirrors: Mapping[str, Sequence[str]] | None = None,
        insecure: Sequence[str] = (),
        agent: str = "knarr",
    ):
        self._mirrors = mirrors or {}
        self._insecure = tuple(insecure)
        self._transport = Transport(agent)
        self._working: dict[str, Endpoint] = {}

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
            return Descriptor(media_type, ref.digest or Digest.of(data), len(data))

        return await self._anywhere(ref, ask)

    async def _head(
        self, endpoint: Endpoint, path: str, ref: Reference, auth: Auth | None
    ) -> Descriptor | None:
        """None where the answer does not say all, or is a refusal: only a GET's body says why."""
        try:
            async with self._get("HEAD", endpoint, path, ref, auth, {"Accept": ACCEPT}) as response:
                headers = response.headers
        except RegistryError:
            return None
        digest, size = headers.get(DIGEST_HEADER), headers.get("Content-Length", "")
        media_type = headers.get("Content-Type", "").partition(";")[0].strip()
        if not digest or not size.isdigit() or not media_type:
            return None
        return Descriptor(media_type, Digest.parse(digest), int(size))

    async def fetch_manifest(self, ref: Reference, digest: Digest, auth: Auth | None = None) -> bytes:
        """A manifest or an index, verified. Raises CorruptManifest."""

        async def ask(endpoint: Endpoint) -> bytes:
            data, _ = await self._manifest(endpoint, f"/v2/{ref.path}/manifests/{digest}", ref, auth)
            if Digest.of(data) != digest:
                raise CorruptManifest(f"manifest verification failed for digest {digest}")
            return data

        return await self._anywhere(ref, ask)

    async def _manifest(
        self, endpoint: Endpoint, path: str, ref: Reference, auth: Auth | None
    ) -> tuple[bytes, str]:
        async with self._get("GET", endpoint, path, ref, auth, {"Accept": ACCEPT}) as response:
            data = bytearray()
            async for piece in response.content.iter_chunked(_CHUNK):
                data += piece
                if len(data) > MANIFEST_LIMIT:
                    raise Invalid(f"a manifest of more than {MANIFEST_LIMIT} bytes")
            media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
        return bytes(data), media_type or str(json.loads(data).get("mediaType", OCI_MANIFEST))

    def _get(
        self,
        method: str,
        endpoint: Endpoint,
        path: str,
        ref: Reference,
        auth: Auth | None,
        headers: Mapping[str, str],
    ) -> AbstractAsyncContextManager["ClientResponse"]:
        good = (200, 206) if "Range" in headers else (200,)
        mine = auth if not endpoint.mirror else None
        return self._transport.request(
            method, endpoint, path, scope=f"repository:{ref.path}:pull", auth=mine, headers=headers, good=good
        )

    async def _anywhere(self, ref: Reference, ask: Callable[[Endpoint], Awaitable[T]]) -> T:
        """The first endpoint's answer; a mirror's or an insecure HTTPS' failure passes on to the next."""
        failure: KnarrError = Unavailable(f"no endpoint for {ref.domain}")
        for endpoint in self._order(ref.domain, pull=True):
            try:
                answer = await ask(endpoint)
            except RegistryError as error:
                failure = as_pull(error, ref.familiar_name, ref.tagged().familiar)
                if not endpoint.mirror:
                    break
            except (Unavailable, Invalid) as error:
                failure = error
            else:
                if not endpoint.mirror:
                    self._working[ref.domain] = endpoint
                return answer
        raise failure

    def _order(self, domain: str, *, pull: bool) -> list[Endpoint]:
        """The registry by HTTP or HTTPS, whichever answered before, in front of the other."""
        found = endpoints(domain, self._mirrors, self._insecure, pull=pull)
        known = self._working.get(domain)
        if known in found:
            return [*(each for each in found if each.mirror), known]
        return found

    async def open_blob(
        self, ref: Reference, descriptor: Descriptor, offset: int = 0, auth: Auth | None = None
    ) -> AsyncIterator[bytes]:
        """Its bytes from `offset`. A connection that breaks is taken up again where it broke, ATTEMPTS times in a row."""
        position, failures = offset, 0
        path = f"/v2/{ref.path}/blobs/{descriptor.digest}"
        order = self._order(ref.domain, pull=True)
        while position < descriptor.size or position == 0:
            before = position
            try:
                async for piece in self._piece(order[0], path, ref, position, auth):
                    position += len(piece)
                    yield piece
                if position >= descriptor.size:
                    return
                failure: KnarrError = Unavailable(f"blob {descriptor.digest}: unexpected EOF")
            except RegistryError as error:
                failure = as_pull(error, ref.familiar_name, ref.familiar)
                failures = ATTEMPTS
            except Unavailable as error:
                failure = error
            failures = 0 if position > before else failures + 1
            if len(order) > 1 and position == before:
                order = order[1:]
                failures = 0
            elif failures >= ATTEMPTS:
                raise failure
            else:
                await asyncio.sleep(0.1 * 2**failures)

    async def _piece(
        self, endpoint: Endpoint, path: str, ref: Reference, position: int, auth: Auth | None
    ) -> AsyncIterator[bytes]:
        from aiohttp import ClientError

        headers = {"Range": f"bytes={position}-"} if position else {}
        async with self._get("GET", endpoint, path, ref, auth, headers) as response:
            # A registry without ranges sends everything again.
            skip = position if position and response.status == 200 else 0
            try:
                async for piece in response.content.iter_chunked(_CHUNK):
                    rest, skip = piece[skip:], max(skip - len(piece), 0)
                    if rest:
                        yield rest
            except (ClientError, TimeoutError, ConnectionError) as error:
                raise Unavailable(
                    f"blob {path.rpartition('/')[2]}: {error or 'the connection broke'}"
                ) from None

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
            if await self._has(endpoint, ref, descriptor.digest, auth):
                return False
            location = await self._begin(endpoint, ref, auth, {})
            assert location
            joined = (
                f"{location}{'&' if '?' in location else '?'}{urlencode({'digest': str(descriptor.digest)})}"
            )
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(descriptor.size)}
            async with self._push(
                "PUT",
                endpoint,
                joined,
                ref,
                auth,
                headers,
                lambda: _file(path, progress),
                (201, 204),
                descriptor.size == 0,
            ):
                return True

        return await self._registry(ref, ask)

    async def _has(self, endpoint: Endpoint, ref: Reference, digest: Digest, auth: Auth | None) -> bool:
        async with self._push(
            "HEAD", endpoint, f"/v2/{ref.path}/blobs/{digest}", ref, auth, {}, None, (200, 404), False
        ) as response:
            return bool(response.status == 200)

    async def _begin(
        self, endpoint: Endpoint, ref: Reference, auth: Auth | None, query: Mapping[str, str]
    ) -> str:
        """The place of a new upload; "" where a mount made it needless."""
        path = f"/v2/{ref.path}/blobs/uploads/" + (f"?{urlencode(query)}" if query else "")
        source = query.get("from", "")
        async with self._push(
            "POST", endpoint, path, ref, auth, {"Content-Length": "0"}, None, (201, 202), False, source
        ) as response:
            return (
                "" if response.status == 201 else urljoin(endpoint.url + path, response.headers["Location"])
            )

    def _push(
        self,
        method: str,
        endpoint: Endpoint,
        path: str,
        ref: Reference,
        auth: Auth | None,
        headers: Mapping[str, str],
        body: Callable[[], object] | None,
        good: tuple[int, ...],
        empty: bool,
        source: str = "",
    ) -> AbstractAsyncContextManager["ClientResponse"]:
        scope = f"repository:{ref.path}:pull,push" + (f" repository:{source}:pull" if source else "")
        return self._transport.request(
            method,
            endpoint,
            path,
            scope=scope,
            auth=auth,
            headers=headers,
            body=None if empty else body,
            good=good,
        )

    async def mount_blob(
        self, ref: Reference, descriptor: Descriptor, source: Reference, auth: Auth | None = None
    ) -> bool:
        """Takes it over from another repository of the same registry; False if that cannot be."""
        if source.domain != ref.domain or source.path == ref.path:
            return False

        async def ask(endpoint: Endpoint) -> bool:
            query = {"mount": str(descriptor.digest), "from": source.path}
            location = await self._begin(endpoint, ref, auth, query)
            if location:
                async with self._push(
                    "DELETE", endpoint, location, ref, auth, {}, None, (200, 202, 204, 404, 405), False
                ):
                    return False
            return True

        return await self._registry(ref, ask)

    async def push_manifest(
        self, ref: Reference, media_type: str, data: bytes, auth: Auth | None = None
    ) -> Digest:
        """Under the reference's tag, or its digest."""

        async def ask(endpoint: Endpoint) -> Digest:
            path = f"/v2/{ref.path}/manifests/{ref.digest or ref.tag or 'latest'}"
            async with self._push(
                "PUT",
                endpoint,
                path,
                ref,
                auth,
                {"Content-Type": media_type},
                lambda: data,
                (200, 201),
                False,
            ):
                return Digest.of(data)

        return await self._registry(ref, ask)

    async def _registry(self, ref: Reference, ask: Callable[[Endpoint], Awaitable[T]]) -> T:
        """The registry itself; HTTPS' failure passes on to HTTP where that is allowed."""
        failure: KnarrError = Unavailable(f"no endpoint for {ref.domain}")
        for endpoint in self._order(ref.domain, pull=False):
            try:
                answer = await ask(endpoint)
            except RegistryError as error:
                raise as_push(error) from None
            except Unavailable as error:
                failure = error
            else:
                self._working[ref.domain] = endpoint
                return answer
        raise failure

    async def tags(self, ref: Reference, auth: Auth | None = None) -> list[str]:
        """Every tag of the repository, over all pages."""

        async def ask(endpoint: Endpoint) -> list[str]:
            found: list[str] = []
            path = f"/v2/{ref.path}/tags/list"
            while path:
                async with self._get("GET", endpoint, path, ref, auth, {}) as response:
                    found += (await response.json(content_type=None)).get("tags") or []
                    path = _following(response)
            return found

        return await self._anywhere(ref, ask)

    async def ping(self, domain: str, auth: Auth | None = None) -> None:
        """Whether the registry takes the credentials: `docker login`. Raises RegistryError, Unavailable."""

        async def ask(endpoint: Endpoint) -> None:
            async with self._transport.request("GET", endpoint, "/v2/", scope="", auth=auth):
                return

        await self._registry(Reference(domain, "login"), ask)


def _following(response: "ClientResponse") -> str:
    link = next_link(response.headers.get("Link", ""))
    return urljoin(str(response.url), link) if link else ""


async def _file(path: Path, progress: Callable[[int], None] | None) -> AsyncIterator[bytes]:
    sent = 0
    file = await blocking(_opened, path)
    try:
        while piece := await blocking(file.read, _CHUNK):
            yield piece
            sent += len(piece)
            if progress:
                progress(sent)
    finally:
        file.close()


def _opened(path: Path) -> BinaryIO:
    return path.open("rb")
