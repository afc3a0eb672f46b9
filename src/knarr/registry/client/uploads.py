"""One blob on its way to a registry: POST, PATCH, PUT as docker does. A PATCH whose connection breaks goes on at the byte
that the registry says it has; a registry that cannot say is begun with again.
"""

import contextlib
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlencode, urljoin

from knarr.loop.blocking import blocking
from knarr.model.descriptor import Descriptor
from knarr.model.digest import Digest
from knarr.model.errors import Invalid, KnarrError, Unavailable
from knarr.model.reference import Reference
from knarr.registry.client.hosts import Endpoint
from knarr.registry.client.transport import ATTEMPTS, Auth, Transport
from knarr.registry.client.words import RegistryError
from knarr.registry.spec.names import received

if TYPE_CHECKING:
    from aiohttp import ClientResponse

_CHUNK = 256 << 10


class Uploader:
    """Writes to one repository at one endpoint."""

    def __init__(self, transport: Transport, endpoint: Endpoint, ref: Reference, auth: Auth | None):
        self._transport = transport
        self._endpoint = endpoint
        self._ref = ref
        self._auth = auth

    async def has(self, digest: Digest) -> bool:
        """Whether the repository has the blob."""
        path = f"/v2/{self._ref.path}/blobs/{digest}"
        async with self._request("HEAD", path, (200, 404)) as response:
            return response.status == 200

    async def mount(self, digest: Digest, source: str) -> bool:
        """Takes a blob over from the repository `source`; False where the registry would rather have it sent."""
        try:
            location = await self._begin({"mount": str(digest), "from": source}, source)
        except RegistryError:
            return False
        if not location:
            return True
        with contextlib.suppress(KnarrError):
            async with self._request("DELETE", location, (200, 202, 204), attempts=1):
                pass
        return False

    async def upload(
        self, descriptor: Descriptor, path: Path, progress: Callable[[int], None] | None
    ) -> None:
        """Sends a file. `progress` gets the bytes sent so far."""
        location, offset = "", 0
        for attempt in range(ATTEMPTS):
            try:
                location, offset = await self._where(location)
                if offset < descriptor.size:
                    location = await self._patch(location, descriptor, path, offset, progress)
                return await self._finish(location, descriptor.digest)
            except Unavailable:
                if attempt == ATTEMPTS - 1:
                    raise
            await self._transport.rest(attempt)
        raise AssertionError

    async def _begin(self, query: Mapping[str, str], source: str = "") -> str:
        """The place of a new upload; "" where a mount made it needless."""
        path = f"/v2/{self._ref.path}/blobs/uploads/" + (f"?{urlencode(query)}" if query else "")
        async with self._request(
            "POST", path, (201, 202), headers={"Content-Length": "0"}, source=source
        ) as response:
            return "" if response.status == 201 and query else _location(response, self._endpoint.url + path)

    async def _patch(
        self,
        location: str,
        descriptor: Descriptor,
        path: Path,
        offset: int,
        progress: Callable[[int], None] | None,
    ) -> str:
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(descriptor.size - offset),
        }
        if offset:
            headers["Content-Range"] = f"{offset}-{descriptor.size - 1}"
        # The file is closed here: nobody ends the generator of a body whose connection broke.
        with await blocking(_opened, path) as file:
            async with self._request(
                "PATCH",
                location,
                (202, 204),
                headers=headers,
                body=lambda: _pieces(file, offset, progress),
                attempts=1,
            ) as response:
                return _location(response, location)

    async def _finish(self, location: str, digest: Digest) -> None:
        joined = f"{location}{'&' if '?' in location else '?'}{urlencode({'digest': str(digest)})}"
        try:
            async with self._request("PUT", joined, (201, 204), headers={"Content-Length": "0"}, attempts=1):
                return
        except (RegistryError, Unavailable) as error:
            # An answer that was lost: the upload is over, and the blob is there.
            gone = isinstance(error, Unavailable) or error.status == 404
            if gone and await self.has(digest):
                return
            raise

    async def _where(self, location: str) -> tuple[str, int]:
        """Where to go on, and from which byte; a new upload, from the first, if there is none that can be taken up."""
        if location:
            with contextlib.suppress(RegistryError):
                async with self._request("GET", location, (200, 204), attempts=1) as response:
                    offset = received(response.headers.get("Range", ""))
                    if offset is not None:
                        return _location(response, location), offset
        return await self._begin({}), 0

    def _request(
        self,
        method: str,
        path: str,
        good: tuple[int, ...],
        *,
        headers: Mapping[str, str] | None = None,
        body: Callable[[], object] | None = None,
        source: str = "",
        attempts: int = ATTEMPTS,
    ) -> AbstractAsyncContextManager["ClientResponse"]:
        more = f" repository:{source}:pull" if source else ""
        return self._transport.request(
            method,
            self._endpoint,
            path,
            scope=f"repository:{self._ref.path}:pull,push{more}",
            auth=self._auth,
            headers=headers,
            body=body,
            good=good,
            attempts=attempts,
        )


def _location(response: "ClientResponse", base: str) -> str:
    place = response.headers.get("Location", "")
    if not place:
        raise Invalid(f"the registry does not say where an upload goes on: no Location from {response.url}")
    return urljoin(base, place)


async def _pieces(
    file: BinaryIO, offset: int, progress: Callable[[int], None] | None
) -> AsyncIterator[bytes]:
    while piece := await blocking(_piece, file, offset):
        yield piece
        offset += len(piece)
        if progress:
            progress(offset)


def _piece(file: BinaryIO, offset: int) -> bytes:
    """Nothing once the file is closed: the answer came before the body had ended."""
    return b"" if file.closed else os.pread(file.fileno(), _CHUNK, offset)


def _opened(path: Path) -> BinaryIO:
    return path.open("rb")
