"""A compressed stream becomes an unpacked layer: inflate → DiffID → tree, in one pass, and nothing of it counts before
the DiffID is right. The tree is made by a child of the zygote, which reads the plain tar from a pipe."""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import NoReturn

from knarr.content.store import CorruptBlob, Ingest
from knarr.engine.images import rows
from knarr.engine.images.compression import Deflater, Inflater
from knarr.engine.images.errors import BadImage
from knarr.engine.images.holding import Hold
from knarr.engine.images.manifest import layer_descriptor
from knarr.engine.images.rooms import Rooms
from knarr.engine.images.rows import LayerRow
from knarr.engine.images.settled import quietly, settled
from knarr.engine.zygote_jobs import Unpacking
from knarr.loop.blocking import blocking
from knarr.model.descriptor import Descriptor
from knarr.model.digest import Digest
from knarr.snapshots.port import StagedLayer
from knarr.snapshots.untar import Unpacked, UntarOptions

_PIPE = 1 << 20
_UNKNOWN = Digest.of(b"")
_LAYER = UntarOptions(whiteouts=True)


class Keeper:
    """A blob whose digest is not known before its end: leased in the moment between knowing and naming it."""

    def __init__(self, ingest: Ingest, hold: Hold) -> None:
        self._ingest = ingest
        self._hold = hold
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        """Appends."""
        self._hash.update(data)
        self._ingest.write(data)
        self.size += len(data)

    def commit(self, *, lasting: bool = True) -> Digest:
        """Names it; see Ingest.commit."""
        digest = Digest("sha256", self._hash.hexdigest())
        self._hold.add(rows.blob(digest))
        return self._ingest.commit(lasting=lasting)


class Pipeline:
    """Blocking: compressed bytes in, plain ones to the pipe, to the hash, and to `beside`."""

    def __init__(self, feed: int, beside: Deflater | None = None) -> None:
        self._feed = feed
        self._beside = beside
        self._hash = hashlib.sha256()
        self._inflater = Inflater(self._plain)

    def write(self, data: bytes) -> None:
        """The next bytes, as they come."""
        self._inflater.write(data)

    def finish(self) -> Digest:
        """The end; the DiffID of what came."""
        self._inflater.finish()
        if self._beside is not None:
            self._beside.finish()
        return Digest("sha256", self._hash.hexdigest())

    def _plain(self, piece: bytes) -> None:
        self._hash.update(piece)
        view = memoryview(piece)
        while view:
            view = view[os.write(self._feed, view) :]
        if self._beside is not None:
            self._beside.write(piece)


Pour = Callable[[Pipeline], Awaitable[None]]


async def unpack_layer(rooms: Rooms, chain: Digest, diff: Digest, pour: Pour) -> LayerRow:
    """`pour` writes the stream of a known layer. Raises CorruptBlob, BadImage, BadArchive, OSError."""
    async with _staged(rooms, chain) as staged:
        found, facts = await _fill(rooms, staged, pour, None)
        if found != diff:
            raise CorruptBlob(f"layer {diff} unpacked as {found}")
        await blocking(rooms.snapshots.commit, staged)
    return LayerRow(chain, diff, facts.size)


async def unpack_new(
    rooms: Rooms, parent: Digest | None, hold: Hold, pour: Pour
) -> tuple[LayerRow, Descriptor]:
    """`pour` writes the stream of a layer that is not known yet: it is compressed anew, and both are leased."""
    with await blocking(rooms.blobs.ingest, None) as ingest:
        keeper = Keeper(ingest, hold)
        async with staged_new(rooms) as staged:
            diff, facts = await _fill(rooms, staged, pour, Deflater(keeper.write))
            staged.chain_id = child_chain(parent, diff)
            hold.add(rows.layer(staged.chain_id))
            digest = await settled(keeper.commit)
            await blocking(rooms.snapshots.commit, staged)
    return LayerRow(staged.chain_id, diff, facts.size), layer_descriptor(digest, keeper.size)


def child_chain(parent: Digest | None, diff: Digest) -> Digest:
    """The ChainID of a layer on its parent."""
    return diff if parent is None else Digest.of(f"{parent} {diff}".encode())


def staged_new(rooms: Rooms) -> AbstractAsyncContextManager[StagedLayer]:
    """A directory for a layer whose ChainID is not known before its end."""
    return _staged(rooms, _UNKNOWN)


@contextlib.asynccontextmanager
async def _staged(rooms: Rooms, chain: Digest) -> AsyncIterator[StagedLayer]:
    """What fails leaves nothing on the disk."""
    staged = await settled(rooms.snapshots.stage, chain)
    try:
        yield staged
    except BaseException:
        await quietly(settled(staged.discard))
        await quietly(settled(rooms.snapshots.empty_trash))
        raise


def widen(pipe: int) -> None:
    """Lets a pipe hold more, where this user may: its ends wait for each other less often."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)


async def _fill(
    rooms: Rooms, staged: StagedLayer, pour: Pour, beside: Deflater | None
) -> tuple[Digest, Unpacked]:
    unpacking = await rooms.zygote.unpack(staged.path, _LAYER)
    widen(unpacking.feed)
    try:
        diff = await _poured(unpacking, pour, beside)
    except BrokenPipeError:
        return await _refused(unpacking)
    except BaseException:
        await quietly(unpacking.result())
        raise
    return diff, await unpacking.result()


async def _poured(unpacking: Unpacking, pour: Pour, beside: Deflater | None) -> Digest:
    pipeline = Pipeline(unpacking.feed, beside)
    try:
        await pour(pipeline)
        return await settled(pipeline.finish)
    finally:
        unpacking.close_feed()


async def _refused(unpacking: Unpacking) -> NoReturn:
    """The child stopped reading: it says why."""
    await unpacking.result()
    raise BadImage("cannot unpack layer: its reader ended early")
