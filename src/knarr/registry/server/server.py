"""A registry: OCI distribution spec 1.1 over files (`store`), on the HTTP core. No accounts: it listens on loopback."""

import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import BinaryIO

from knarr.loop.blocking import blocking
from knarr.loop.http.messages import Request, Response
from knarr.model.digest import Digest
from knarr.model.errors import Invalid, KnarrError, Unsupported
from knarr.registry.server.store import Store
from knarr.registry.server.uploads import Upload, Uploads, settled
from knarr.registry.spec import names
from knarr.registry.spec.errors import (
    DigestInvalid,
    ManifestInvalid,
    NameInvalid,
    NameUnknown,
    RangeInvalid,
    encode,
)

log = logging.getLogger(__name__)
_CHUNK = 1 << 20
_INDEX = "application/vnd.oci.image.index.v1+json"
_BASE = {names.VERSION_HEADER: "registry/2.0", "X-Content-Type-Options": "nosniff"}


class RegistryServer:
    """`handle` answers one request. Raises Conflict if another one has the directory."""

    def __init__(self, root: str, clock: Callable[[], float] = time.monotonic):
        self._store = Store(root)
        self._uploads = Uploads(self._store, clock)
        self._handlers: dict[str, Callable[[Request, names.Target], Awaitable[Response]]] = {
            "manifests": self._manifests,
            "blobs": self._blobs,
            "blobs/uploads": self._upload,
            "tags": self._tags,
            "referrers": self._referrers,
        }

    async def handle(self, request: Request) -> Response:
        """Errors become the protocol's JSON."""
        try:
            response = await self._route(request)
        except KnarrError as error:
            response = _refusal(error)
        except ConnectionError:
            raise
        except OSError as error:
            log.warning("%s %s: %s", request.method, request.path, error)
            response = _refusal(error)
        response.headers = {**_BASE, **response.headers}
        return response

    def close(self) -> None:
        """Gives up the directory; the uploads that are under way stay there for the next one."""
        self._uploads.close()
        self._store.close()

    async def _route(self, request: Request) -> Response:
        if request.path in ("/v2", "/v2/"):
            _only(request, "GET", "HEAD")
            return _json({})
        if request.path == "/v2/_catalog":
            _only(request, "GET", "HEAD")
            found = await blocking(self._store.repositories)
            page, headers = _paged(request, found)
            return _json({"repositories": page}, headers)
        target = names.target(request.path)
        if target is None:
            return Response(404, b"404 page not found\n", {"Content-Type": "text/plain; charset=utf-8"})
        return await self._handlers[target.kind](request, target)

    async def _manifests(self, request: Request, target: names.Target) -> Response:
        _only(request, "GET", "HEAD", "PUT", "DELETE")
        store, name, reference = self._store, target.name, target.rest
        if request.method == "PUT":
            return await self._put_manifest(request, target)
        if request.method == "DELETE":
            await settled(store.delete_manifest, name, reference)
            return Response(202)
        digest, media_type, data = await blocking(store.manifest, name, reference)
        headers = {"Content-Type": media_type, names.DIGEST_HEADER: str(digest), "ETag": f'"{digest}"'}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(304, b"", headers)
        return Response(200, data, headers)

    async def _put_manifest(self, request: Request, target: names.Target) -> Response:
        try:
            data = await request.read(names.MANIFEST_LIMIT)
        except Invalid as error:
            raise ManifestInvalid(str(error)) from None
        media_type = request.headers.get("content-type", "")
        digest, subject = await settled(self._store.put_manifest, target.name, target.rest, media_type, data)
        headers = {"Location": f"/v2/{target.name}/manifests/{digest}", names.DIGEST_HEADER: str(digest)}
        return Response(201, b"", {**headers, **({"OCI-Subject": str(subject)} if subject else {})})

    async def _blobs(self, request: Request, target: names.Target) -> Response:
        _only(request, "GET", "HEAD", "DELETE")
        digest = _digest(target.rest)
        if request.method == "DELETE":
            await settled(self._store.unlink_blob, target.name, digest)
            return Response(202)
        size = await blocking(self._store.blob_size, target.name, digest)
        headers = {
            "Content-Type": "application/octet-stream",
            names.DIGEST_HEADER: str(digest),
            "ETag": f'"{digest}"',
            "Accept-Ranges": "bytes",
        }
        try:
            wanted = names.byte_range(request.headers.get("range", ""), size)
        except Invalid as error:
            response = _refusal(RangeInvalid(str(error)))
            response.headers["Content-Range"] = f"bytes */{size}"
            return response
        first, last = wanted or (0, size - 1)
        headers["Content-Length"] = str(last - first + 1)
        if wanted:
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        status = 206 if wanted else 200
        if request.method == "HEAD" or size == 0:
            return Response(status, b"", headers)
        return Response(
            status, _Part(await settled(self._store.open_blob, digest, first), last - first + 1), headers
        )

    async def _upload(self, request: Request, target: names.Target) -> Response:
        if request.method == "POST" and not target.rest:
            return await self._begin(request, _name(target.name))
        _only(request, "GET", "PATCH", "PUT", "DELETE")
        async with (await self._uploads.get(target.name, target.rest)).turn:
            # It may have ended while this request waited for its turn.
            upload = await self._uploads.get(target.name, target.rest)
            if request.method == "DELETE":
                await self._uploads.drop(upload)
                return Response(204)
            if request.method == "GET":
                return _progress(204, upload)
            try:
                if request.method == "PUT":
                    return await self._finish(request, upload)
                await upload.append(request.body(), _chunk(request))
                return _progress(202, upload)
            except RangeInvalid as error:
                response = _refusal(error)
                response.headers |= _progress(416, upload).headers
                return response
            finally:
                if not upload.alive:
                    await self._uploads.drop(upload)

    async def _begin(self, request: Request, name: str) -> Response:
        mount, source, promised = request.first("mount"), request.first("from"), request.first("digest")
        if mount and names.NAME.match(source) and await self._mount(name, source, _digest(mount)):
            return _created(name, _digest(mount))
        digest = _digest(promised) if promised else None
        upload = await self._uploads.begin(name)
        if digest is None:
            return _progress(202, upload)
        async with upload.turn:
            try:
                return await self._finish(request, upload)
            finally:
                await self._uploads.drop(upload)

    async def _mount(self, name: str, source: str, digest: Digest) -> bool:
        if not await blocking(self._store.has_blob, source, digest):
            return False
        await settled(self._store.link_blob, name, digest)
        return True

    async def _finish(self, request: Request, upload: Upload) -> Response:
        digest = _digest(request.first("digest"))
        await upload.append(request.body(), _chunk(request))
        await upload.commit(digest)
        await settled(self._store.link_blob, upload.name, digest)
        return _created(upload.name, digest)

    async def _tags(self, request: Request, target: names.Target) -> Response:
        _only(request, "GET", "HEAD")
        if target.rest != "list":
            raise NameUnknown("not found")
        page, headers = _paged(request, await blocking(self._store.tags, target.name))
        return _json({"name": target.name, "tags": page}, headers)

    async def _referrers(self, request: Request, target: names.Target) -> Response:
        _only(request, "GET", "HEAD")
        found = await blocking(self._store.referrers, target.name, target.rest)
        wanted, headers = request.first("artifactType"), {"Content-Type": _INDEX}
        if wanted:
            found = [each for each in found if each["artifactType"] == wanted]
            headers["OCI-Filters-Applied"] = "artifactType"
        return _json({"schemaVersion": 2, "mediaType": _INDEX, "manifests": found}, headers)


class _Part:
    """A file's next `left` bytes; closed with the response, even one that was never begun."""

    def __init__(self, file: BinaryIO, left: int):
        self._file = file
        self._left = left

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        piece = await settled(self._file.read, min(_CHUNK, self._left)) if self._left else b""
        if not piece:
            raise StopAsyncIteration
        self._left -= len(piece)
        return piece

    async def aclose(self) -> None:
        """Lets go of the file."""
        self._file.close()


def _only(request: Request, *methods: str) -> None:
    if request.method not in methods:
        raise Unsupported("The operation is unsupported.")


def _name(text: str) -> str:
    try:
        return names.check_name(text)
    except Invalid as error:
        raise NameInvalid(str(error)) from None


def _digest(text: str) -> Digest:
    try:
        return Digest.parse(text)
    except Invalid as error:
        raise DigestInvalid(str(error)) from None


def _chunk(request: Request) -> tuple[int, int] | None:
    header = request.headers.get("content-range", "")
    try:
        return names.content_range(header) if header else None
    except Invalid as error:
        raise RangeInvalid(str(error)) from None


def _refusal(error: BaseException) -> Response:
    status, body = encode(error)
    return Response(status, body, {"Content-Type": "application/json"})


def _progress(status: int, upload: Upload) -> Response:
    headers = {
        "Location": f"/v2/{upload.name}/blobs/uploads/{upload.identity}",
        names.UPLOAD_HEADER: upload.identity,
        "Range": f"0-{max(upload.offset - 1, 0)}",
    }
    return Response(status, b"", headers)


def _created(name: str, digest: Digest) -> Response:
    return Response(201, b"", {"Location": f"/v2/{name}/blobs/{digest}", names.DIGEST_HEADER: str(digest)})


def _json(value: object, headers: dict[str, str] | None = None) -> Response:
    return Response(200, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})


def _paged(request: Request, values: list[str]) -> tuple[list[str], dict[str, str]]:
    """`n` values behind `last`, and the Link to the next page (OCI distribution spec, "Content Discovery")."""
    last = request.first("last")
    if last:
        values = [value for value in values if value > last]
    count = names.number(request.first("n"))
    if count is None:
        return values, {}
    page = values[:count]
    if len(page) == len(values) or not page:
        return page, {}
    return page, {"Link": names.link(request.path, {"n": str(count), "last": page[-1]})}
