"""Blobs on their way in. An upload is a partial file, which outlives its process and is named by the upload and its
repository; it ends a day after its last byte, or when LIMIT younger ones came. One request at a time works on it (`turn`).
"""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from knarr.content.store import CorruptBlob, Ingest, NoSuchUpload
from knarr.loop.blocking import blocking
from knarr.model.digest import Digest
from knarr.model.errors import Invalid, Unavailable
from knarr.registry.server.store import Store
from knarr.registry.spec.errors import DigestInvalid, RangeInvalid, UploadUnknown

LIMIT = 256
_DAY = 24 * 60 * 60
_HOUR = 60 * 60
_IDENTITY = re.compile(r"[0-9a-f]{32}\Z")
T = TypeVar("T")


class Upload:
    """One blob that is not whole."""

    def __init__(self, name: str, identity: str, ingest: Ingest, touched: float):
        self.name = name
        self.identity = identity
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

    def close(self) -> None:
        """Leaves the partial file to a later process."""
        self.alive = False
        self._ingest.close()


class Uploads:
    """All uploads of a registry. `clock` gives seconds."""

    def __init__(self, store: Store, clock: Callable[[], float]):
        self._store = store
        self._clock = clock
        self._known: dict[str, Upload] = {}
        self._opening = asyncio.Lock()
        self._swept = clock()

    async def begin(self, name: str) -> Upload:
        """A new one. Raises Unavailable when LIMIT others are being written to."""
        self._make_room()
        if self._clock() > self._swept + _HOUR:
            self._swept = self._clock()
            await settled(self._store.sweep)
        return await finished(self._open(name, secrets.token_hex(16), new=True))

    async def get(self, name: str, identity: str) -> Upload:
        """One that is under way, or that an earlier process left. Raises UploadUnknown."""
        async with self._opening:
            upload = self._known.get(identity)
            if upload is None and _IDENTITY.match(identity):
                upload = await finished(self._open(name, identity, new=False))
        if upload is None or upload.name != name or not upload.alive:
            raise UploadUnknown("blob upload unknown to registry")
        upload.touched = self._clock()
        return upload

    async def _open(self, name: str, identity: str, *, new: bool) -> Upload:
        key = f"{identity}-{Digest.of(name.encode()).short}"
        try:
            ingest = await blocking(partial(self._store.blobs.upload, key, new=new))
        except NoSuchUpload:
            raise UploadUnknown("blob upload unknown to registry") from None
        upload = self._known[identity] = Upload(name, identity, ingest, self._clock())
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
        """Leaves all of them to a later process."""
        for upload in self._known.values():
            upload.close()
        self._known.clear()


async def settled(function: Callable[..., T], *args: Any) -> T:
    """`blocking`, but one who is cancelled waits until the call has ended, so that nobody uses its file meanwhile."""
    return await finished(blocking(function, *args))


async def finished(work: Coroutine[Any, Any, T]) -> T:
    """One who is cancelled waits until the work has ended."""
    call = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        await asyncio.wait([call])
        if not call.cancelled():
            call.exception()
        raise
