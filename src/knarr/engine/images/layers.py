"""Layers on their way in: each is fetched once however many pulls want it, three at a time.

A layer's blob is downloaded, verified and kept, and in the same pass unpacked. Who waits for a layer hears its progress; the
work is cancelled with the last who waits. A download that was broken off goes on where it stopped.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple
from weakref import WeakValueDictionary

from knarr.content.store import CorruptBlob, Ingest
from knarr.engine.images.errors import BadImage
from knarr.engine.images.progress import Meter, Report
from knarr.engine.images.rooms import Rooms
from knarr.engine.images.rows import LayerRow
from knarr.engine.images.settled import closing, settled
from knarr.engine.images.unpacking import Pipeline, unpack_layer
from knarr.loop.blocking import blocking
from knarr.model.descriptor import Descriptor
from knarr.model.digest import Digest
from knarr.model.image import Progress

AT_ONCE = 3
_CHUNK = 1 << 20

OpenBlob = Callable[[int], AsyncIterator[bytes]]


class Wanted(NamedTuple):
    """A layer by what it unpacks to and by what it is fetched as."""

    chain: Digest
    diff: Digest
    blob: Descriptor


class _Shared:
    """One layer's work and who waits for it."""

    def __init__(self) -> None:
        self.listeners: list[Report] = []
        self.task: asyncio.Task[LayerRow] | None = None

    def tell(self, line: Progress) -> None:
        for listener in self.listeners:
            listener(line)


class Layers:
    """One for each engine."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._running: dict[tuple[Digest, Digest], _Shared] = {}
        self._downloads: WeakValueDictionary[Digest, asyncio.Lock] = WeakValueDictionary()
        self._slots = asyncio.Semaphore(AT_ONCE)

    def limit(self, at_once: int) -> None:
        """How many are downloaded at a time; those that wait already keep their place."""
        self._slots = asyncio.Semaphore(at_once or AT_ONCE)

    async def fetch(self, wanted: Wanted, open_blob: OpenBlob, report: Report) -> LayerRow:
        """The layer, unpacked, and its blob, kept. The caller holds both under a lease."""
        key = (wanted.chain, wanted.blob.digest)
        shared = self._running.get(key)
        if shared is None:
            shared = self._running[key] = _Shared()
            shared.task = asyncio.ensure_future(self._fetch(wanted, open_blob, shared.tell))
            shared.task.add_done_callback(lambda _task: self._running.pop(key, None))
        shared.listeners.append(report)
        assert shared.task is not None
        try:
            return await asyncio.shield(shared.task)
        finally:
            shared.listeners.remove(report)
            if not shared.listeners and not shared.task.done():
                self._running.pop(key, None)
                shared.task.cancel()
                await asyncio.wait([shared.task])

    async def _fetch(self, wanted: Wanted, open_blob: OpenBlob, tell: Report) -> LayerRow:
        short = wanted.blob.digest.short
        there = await blocking(self._rooms.snapshots.layer_exists, wanted.chain)
        if there and await blocking(self._rooms.blobs.has, wanted.blob.digest):
            tell(Progress(id=short, status="Already exists"))
            return await self._known(wanted)
        tell(Progress(id=short, status="Pulling fs layer"))
        if self._slots.locked():
            tell(Progress(id=short, status="Waiting"))
        lock = self._downloads.setdefault(wanted.blob.digest, asyncio.Lock())
        async with self._slots, lock:
            row = await self._bring(wanted, open_blob, tell, there=there)
        tell(Progress(id=short, status="Pull complete"))
        return row

    async def _bring(self, wanted: Wanted, open_blob: OpenBlob, tell: Report, *, there: bool) -> LayerRow:
        if there:
            await self._download(wanted.blob, open_blob, tell, None)
            return await self._known(wanted)

        async def pour(pipeline: Pipeline) -> None:
            if await blocking(self._rooms.blobs.has, wanted.blob.digest):
                await self._extract(wanted.blob, tell, pipeline)
            else:
                await self._download(wanted.blob, open_blob, tell, pipeline)

        return await unpack_layer(self._rooms, wanted.chain, wanted.diff, pour)

    async def _known(self, wanted: Wanted) -> LayerRow:
        """A layer that is here, with the size that its row or its tree tells."""
        size = await self._rooms.db.read(
            lambda tx: tx.execute("SELECT size FROM layers WHERE chain = ?", (str(wanted.chain),)).fetchone()
        )
        if size is None:
            return LayerRow(
                wanted.chain,
                wanted.diff,
                (await blocking(self._rooms.snapshots.usage, wanted.chain)).size,
            )
        return LayerRow(wanted.chain, wanted.diff, size[0])

    async def _download(
        self, blob: Descriptor, open_blob: OpenBlob, tell: Report, pipeline: Pipeline | None
    ) -> None:
        short = blob.digest.short
        meter = Meter(tell, short, "Downloading", blob.size)
        failure: Exception | None = None
        with await settled(self._rooms.blobs.ingest, blob.digest, blob.size) as ingest:
            if pipeline is not None and ingest.offset:
                failure = await settled(_again, ingest, pipeline)
            if ingest.offset < blob.size:
                async with closing(open_blob(ingest.offset)) as pieces:
                    async for data in pieces:
                        failure = await settled(_both, ingest, None if failure else pipeline, data) or failure
                        meter.at(ingest.offset)
            tell(Progress(id=short, status="Verifying Checksum"))
            await settled(_verified, ingest, blob.digest)
        if failure is not None:
            raise failure
        tell(Progress(id=short, status="Download complete"))
        if pipeline is not None:
            tell(Progress(id=short, status="Extracting", current=blob.size, total=blob.size))

    async def _extract(self, blob: Descriptor, tell: Report, pipeline: Pipeline) -> None:
        meter = Meter(tell, blob.digest.short, "Extracting", blob.size)
        with await blocking(self._rooms.blobs.open, blob.digest) as file:
            while await settled(_pour_chunk, file.read, pipeline):
                meter.at(file.tell())


def _again(ingest: Ingest, pipeline: Pipeline) -> Exception | None:
    for data in ingest.kept():
        if failure := _poured(pipeline, data):
            return failure
    return None


def _both(ingest: Ingest, pipeline: Pipeline | None, data: bytes) -> Exception | None:
    ingest.write(data)
    return None if pipeline is None else _poured(pipeline, data)


def _poured(pipeline: Pipeline, data: bytes) -> Exception | None:
    """Why it cannot be unpacked: told when the blob is whole, because a blob that is damaged is the better reason."""
    try:
        pipeline.write(data)
    except (BadImage, BrokenPipeError) as error:
        return error
    return None


def _verified(ingest: Ingest, digest: Digest) -> None:
    try:
        ingest.commit()
    except CorruptBlob as error:
        raise CorruptBlob(f"filesystem layer verification failed for digest {digest}: {error}") from None


def _pour_chunk(read: Callable[[int], bytes], pipeline: Pipeline) -> int:
    """One piece; 0 at the end."""
    data = read(_CHUNK)
    if data:
        pipeline.write(data)
    return len(data)
