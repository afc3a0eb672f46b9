"""Contents that come on the event loop and are written beside it, some megabytes a hop.

Small ones are hashed where they come: 15 KB take 10 µs, and a thread that asks for the interpreter back after each of them waits
longer. What waits for the disk is bounded by whoever awaits `write` when it is `due`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

from knarr.build.context.packs import BATCH, Packing
from knarr.build.context.store import Files, Writing
from knarr.loop.blocking import blocking, hop


class Large:
    """One content in pieces; `digest` is there when the intake has finished."""

    def __init__(self, files: Files):
        self._files = files
        self._writing: Writing | None = None
        self.pieces: list[bytes] = []
        self.ended = False
        self.digest = ""

    def write(self, pieces: Sequence[bytes], ended: bool) -> None:
        """Blocking."""
        if self._writing is None:
            self._writing = self._files.writing()
        self._writing.write(b"".join(pieces))
        if ended:
            writing, self._writing = self._writing, None
            with writing:
                self.digest = writing.finish()

    def drop(self) -> None:
        """What is not finished goes."""
        if self._writing is not None:
            self._writing.__exit__()


class Intake:
    """That of one transfer."""

    def __init__(self, files: Files, packing: Packing):
        self._files = files
        self._packing = packing
        self._large: set[Large] = set()
        self._bytes = 0
        self._writing: asyncio.Future[None] | None = None

    def small(self, content: bytes) -> str:
        """The digest of a whole content."""
        return self._packing.take(content)

    def large(self) -> Large:
        """A content that `add` and `end` are told of."""
        large = Large(self._files)
        self._large.add(large)
        return large

    def add(self, large: Large, piece: bytes) -> None:
        """The next piece."""
        large.pieces.append(piece)
        self._bytes += len(piece)

    def has(self, digest: str, size: int) -> bool:
        """Whether a content is in the store, whole."""
        return self._packing.knows(digest) or (bool(digest) and self._files.has(digest, size))

    @property
    def due(self) -> bool:
        """Whether enough waits to be written."""
        return self._bytes >= BATCH or self._packing.due

    async def write(self) -> None:
        """Begins to write what waits, when what was begun before is written. Raises OSError."""
        await self._written()
        jobs: list[Callable[[], None]] = [partial(self._packing.write, self._packing.batch())]
        for large in list(self._large):
            jobs.append(partial(large.write, large.pieces, large.ended))
            large.pieces = []
            if large.ended:
                self._large.discard(large)
        self._bytes = 0
        self._writing = hop(_all, jobs)

    async def finish(self) -> None:
        """Everything is written and known. Raises OSError."""
        if self._large:
            await self.write()
        await self._written()
        if not self._packing.idle:
            await blocking(self._packing.finish)

    async def _written(self) -> None:
        if self._writing is not None:
            writing, self._writing = self._writing, None
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:
                self._writing = writing
                raise

    async def close(self) -> None:
        """What is not finished is dropped."""
        if self._writing is not None:
            await asyncio.wait([self._writing])
        for large in self._large:
            large.drop()


def _all(jobs: Sequence[Callable[[], None]]) -> None:
    for job in jobs:
        job()


@asynccontextmanager
async def intake(files: Files) -> AsyncIterator[Intake]:
    """For the time of one transfer, which calls `finish` if all is well."""
    with files.packing() if files.awake else await blocking(files.packing) as packing:
        taking = Intake(files, packing)
        try:
            yield taking
        finally:
            await taking.close()
