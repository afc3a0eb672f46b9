"""A registry: OCI distribution spec 1.1 over files (`store`), on the HTTP core. No accounts: it listens on loopback.

An upload lives in memory and a partial file; it ends with its process, and a day after its last byte.
"""

import asyncio
import json
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import BinaryIO
from urllib.parse import quote, urlencode

from knarr.content.store import CorruptBlob, Ingest
from knarr.loop.blocking import blocking
from knarr.loop.http.messages import Request, Response
from knarr.model.digest import Digest
from knarr.model.errors import Invalid, KnarrError, Unsupported
from knarr.registry.server.store import Store
from knarr.registry.spec import names
from knarr.registry.spec.errors import (
    BlobUnknown,
    DigestInvalid,
    ManifestInvalid,
    RangeInvalid,
    UploadUnknown,
    encode,
)

log = logging.getLogger(__name__)
_CHUNK = 1 << 20
_DAY = 24 * 60 * 60


class _Upload:
    """One blob on its way; `turn` keeps two requests for it apart."""

    def __init__(self, name: str, ingest: Ingest):
        self.name = name
        self.ingest = ingest
        self.touched = time.monotonic()
        self.turn = asyncio.Lock()


class RegistryServer:
    """`handle` answers one request."""

    def __init__(self, root: str):
        self._store = Store(root)
        self._store.blobs.sweep(time.time_ns() - _DAY * 1_000_000_000)
        self._uploads: dict[str, _Upload] = {}
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
            return await self._route(request)
        except (KnarrError, CorruptBlob) as error:
            status, body = encode(error)
        except OSError as error:
            log.warning("%s %s: %s", request.method, request.path, error)
            status, body = encode(error)
        return Response(status, body, {"Content-Type": "application/json"})

    async def _route(self, request: Request) -> Response:
        if request.path in ("/v2", "/v2/"):
            return _json({}, {"Docker-Distribution-Api-Version": "registry/2.0"})
        if request.path == "/v2/_catalog":
            found = await blocking(self._store.repositories)
            page, headers = _paged(request, found, "/v2/_catalog")
            return _json({"repositories": page}, headers)
        target = names.target(request.path)
        if target is None:
            return Response(404, b"404 page not found\n", {"Content-Type": "text/plain; charset=utf-8"})
        return await self._handlers[target.kind](request, target)

    async def _manifests(self, request: Request, target: names.Target) -> Response:
        store, name, reference = self._store, target.name, target.rest
        if request.method in ("GET", "HEAD"):
            digest, media_type, data = await blocking(store.manifest, name, reference)
            return Response(200, data, {"Content-Type": media_type, names.DIGEST_HEADER: str(digest)})
        if request.method == "PUT":
            try:
                data = await request.read(names.MANIFEST_LIMIT)
            except Invalid as error:
                raise ManifestInvalid(str(error)) from None
            media_type = request.headers.get("content-type", "")
            digest, subject = await blocking(store.put_manifest, name, reference, media_type, data)
            headers = {"Location": f"/v2/{name}/manifests/{digest}", names.DIGEST_HEADER: str(digest)}
            return Response(201, b"", {**headers, **({"OCI-Subject": subject} if subject else {})})
        if request.method == "DELETE":
            await blocking(store.delete_manifest, name, reference)
            return Response(202)
        raise Unsupported("The operation is unsupported.")

    async def _blobs(self, request: Request, target: names.Target) -> Response:
        digest = _digest(target.rest)
        if request.method == "DELETE":
            await blocking(self._store.unlink_blob, target.name, digest)
            return Response(202)
        if request.method not in ("GET", "HEAD"):
            raise Unsupported("The operation is unsupported.")
        size = await blocking(self._store.blob_size, target.name, digest)
        headers = {
            "Content-Type": "application/octet-stream",
            names.DIGEST_HEADER: str(digest),
            "Accept-Ranges": "bytes",
        }
        try:
            wanted = names.byte_range(request.headers.get("range", ""), size)
        except Invalid:
            return Response(416, b"", {"Content-Range": f"bytes */{size}"})
        first, last = wanted or (0, size - 1)
        headers["Content-Length"] = str(last - first + 1)
        if wanted:
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        status = 206 if wanted else 200
        if request.method == "HEAD" or size == 0:
            return Response(status, b"", headers)
        file = await blocking(self._store.blobs.open, digest)
        return Response(status, _file(file, first, last), headers)

    async def _upload(self, request: Request, target: names.Target) -> Response:
        if request.method == "POST" and not target.rest:
            return await self._begin(request, target.name)
        upload = self._uploads.get(target.rest)
        if upload is None or upload.name != target.name:
            raise UploadUnknown("blob upload unknown to registry")
        async with upload.turn:
            upload.touched = time.monotonic()
            if request.method == "PATCH":
                await self._append(request, upload)
                return self._progress(202, target.rest, upload)
            if request.method == "PUT":
                return await self._finish(request, target.rest, upload)
            if request.method == "GET":
                return self._progress(204, target.rest, upload)
            if request.method == "DELETE":
                del self._uploads[target.rest]
                await blocking(upload.ingest.abort)
                return Response(204)
        raise Unsupported("The operation is unsupported.")

    async def _begin(self, request: Request, name: str) -> Response:
        names.check_name(name)
        mount, source = request.first("mount"), request.first("from")
        if mount and source:
            digest = _digest(mount)
            if await blocking(self._store.has_blob, source, digest):
                await blocking(self._store.link_blob, name, digest)
                return _created(name, digest)
        self._expire()
        identity = secrets.token_hex(16)
        upload = _Upload(name, await blocking(self._store.blobs.ingest, None))
        self._uploads[identity] = upload
        if request.first("digest"):
            async with upload.turn:
                return await self._finish(request, identity, upload)
        return self._progress(202, identity, upload)

    async def _append(self, request: Request, upload: _Upload) -> None:
        header = request.headers.get("content-range", "")
        if header:
            try:
                first, _ = names.content_range(header)
            except Invalid as error:
                raise RangeInvalid(str(error)) from None
            if first != upload.ingest.offset:
                raise RangeInvalid(f"the next byte is {upload.ingest.offset}, not {first}")
        async for piece in request.body():
            await blocking(upload.ingest.write, piece)

    async def _finish(self, request: Request, identity: str, upload: _Upload) -> Response:
        digest = _digest(request.first("digest"))
        await self._append(request, upload)
        del self._uploads[identity]
        try:
            upload.ingest.expect(digest)
            await blocking(upload.ingest.commit)
        except (CorruptBlob, Invalid) as error:
            await blocking(upload.ingest.abort)
            raise DigestInvalid(str(error)) from None
        await blocking(self._store.link_blob, upload.name, digest)
        return _created(upload.name, digest)

    def _progress(self, status: int, identity: str, upload: _Upload) -> Response:
        headers = {
            "Location": f"/v2/{upload.name}/blobs/uploads/{identity}",
            names.UPLOAD_HEADER: identity,
            "Range": f"0-{max(upload.ingest.offset - 1, 0)}",
        }
        return Response(status, b"", headers)

    def _expire(self) -> None:
        limit = time.monotonic() - _DAY
        for identity in [key for key, upload in self._uploads.items() if upload.touched < limit]:
            self._uploads.pop(identity).ingest.abort()

    async def _tags(self, request: Request, target: names.Target) -> Response:
        if target.rest != "list":
            raise BlobUnknown("not found")
        found = await blocking(self._store.tags, target.name)
        page, headers = _paged(request, found, f"/v2/{target.name}/tags/list")
        return _json({"name": target.name, "tags": page}, headers)

    async def _referrers(self, request: Request, target: names.Target) -> Response:
        found = await blocking(self._store.referrers, target.name, target.rest)
        wanted, headers = request.first("artifactType"), {}
        if wanted:
            found = [each for each in found if each["artifactType"] == wanted]
            headers["OCI-Filters-Applied"] = "artifactType"
        index = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": found,
        }
        return _json(index, {**headers, "Content-Type": "application/vnd.oci.image.index.v1+json"})

    def close(self) -> None:
        """Gives up the uploads that are under way."""
        for upload in self._uploads.values():
            upload.ingest.abort()
        self._uploads.clear()


def _digest(text: str) -> Digest:
    try:
        return Digest.parse(text)
    except Invalid as error:
        raise DigestInvalid(str(error)) from None


def _created(name: str, digest: Digest) -> Response:
    return Response(
        201, b"", {"Location": f"/v2/{quote(name)}/blobs/{digest}", names.DIGEST_HEADER: str(digest)}
    )


def _json(value: object, headers: dict[str, str] | None = None) -> Response:
    return Response(200, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})


def _paged(request: Request, values: list[str], path: str) -> tuple[list[str], dict[str, str]]:
    """`n` values behind `last`, and the Link to the next page (OCI distribution spec, "Content Discovery")."""
    last = request.first("last")
    if last:
        values = [value for value in values if value > last]
    count = request.first("n")
    if not count.isdigit():
        return values, {}
    page = values[: int(count)]
    if len(page) == len(values) or not page:
        return page, {}
    return page, {"Link": f'<{path}?{urlencode({"n": count, "last": page[-1]})}>; rel="next"'}


async def _file(file: BinaryIO, first: int, last: int) -> AsyncIterator[bytes]:
    try:
        file.seek(first)
        left = last - first + 1
        while left and (piece := await blocking(file.read, min(_CHUNK, left))):
            left -= len(piece)
            yield piece
    finally:
        file.close()
