"""Blobs on their way in. An upload lives in memory and a partial file; it ends with its process, a day after its last byte,
or when LIMIT younger ones came. One request at a time works on it (`turn`).
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from knarr.content.store import Blobs, CorruptBlob, Ingest
from knarr.loop.blocking import blocking
from knarr.model.digest import Digest
from knarr.model.errors import Invalid, Unavailable
from knarr.registry.spec.errors import DigestInvalid, RangeInvalid, UploadUnknown

LIMIT = 256
_DAY = 24 * 60 * 60
T = TypeVar("T")


class Upload:
    """One blob that is not whole."""

    def __init__(self, name: str, ingest: Ingest, touched: float):
        self.name = name
        self.identity = secrets.token_hex(16)
        self.turn = asyncio.Lock()
        self.touched = touched
        self._ingest = ingest
        self.alive = True

    @property
    def offset(self) -> int:
        """The bytes that are here."""
        return self._ingest.offset

    async def append(self, pieces: AsyncIterator[bytes], chunk: tuple[int, int] | None) -> None:
        """The body's bytes, which are the blob's from `chunk[0]` to `chunk[1]` if it is given. Raises RangeInvalid."""
        if chunk and chunk[0] != self.offset:
            raise RangeInvalid(f"the next byte is {self.offset}, not {chunk[0]}")
        try:
            async for piece in pieces:
                if chunk and self.offset + len(piece) > chunk[1] + 1:
                    raise RangeInvalid(f"the chunk ends at byte {chunk[1]}, its body does not")
                await settled(self._ingest.write, piece)
        except OSError as error:
            # A client that went away may come back; a disk that is full took the partial file with it.
            self.alive = isinstance(error, ConnectionError)
            raise

    async def commit(self, digest: Digest) -> None:
        """Raises DigestInvalid, and then nothing is kept."""
        self.alive = False
        try:
            self._ingest.expect(digest)
            await settled(self._ingest.commit)
        except (CorruptBlob, Invalid) as error:
            await settled(self._ingest.abort)
            raise DigestInvalid(str(error)) from None

    def abort(self) -> None:
        """Removes the partial file."""
        self.alive = False
        self._ingest.abort()


class Uploads:
    """All uploads of a registry. `clock` gives seconds."""

    def __init__(self, blobs: Blobs, clock: Callable[[], float]):
        self._blobs = blobs
        self._clock = clock
        self._known: dict[str, Upload] = {}

    async def begin(self, name: str) -> Upload:
        """A new one. Raises Unavailable when LIMIT others are being written to."""
        self._make_room()
        upload = Upload(name, await settled(self._blobs.ingest, None), self._clock())
        self._known[upload.identity] = upload
        return upload

    def get(self, name: str, identity: str) -> Upload:
        """Raises UploadUnknown."""
        upload = self._known.get(identity)
        if upload is None or upload.name != name or not upload.alive:
            raise UploadUnknown("blob upload unknown to registry")
        upload.touched = self._clock()
        return upload

    async def drop(self, upload: Upload) -> None:
        """Forgets it, with what came."""
        self._known.pop(upload.identity, None)
        await settled(upload.abort)

    def _make_room(self) -> None:
        idle = sorted(
            (each for each in self._known.values() if not each.turn.locked()), key=lambda each: each.touched
        )
        limit = self._clock() - _DAY
        surplus = len(self._known) - LIMIT + 1
        for place, upload in enumerate(idle):
            if place < surplus or upload.touched < limit:
                del self._known[upload.identity]
                upload.abort()
        if len(self._known) >= LIMIT:
            raise Unavailable("too many uploads at once")

    def close(self) -> None:
        """Gives all of them up."""
        for upload in self._known.values():
            upload.abort()
        self._known.clear()


async def settled(function: Callable[..., T], *args: Any) -> T:
    """`blocking`, but one who is cancelled waits until the call has ended, so that nobody uses its file meanwhile."""
    call = asyncio.ensure_future(blocking(function, *args))
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        await asyncio.wait([call])
        if not call.cancelled():
            call.exception()
        raise
