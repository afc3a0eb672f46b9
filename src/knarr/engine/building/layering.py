"""A step's changes become a layer: the upper directory itself is the layer's tree, and is archived once for its digest and its blob.

Written anew from the archive, each file would be made twice. So what an archive would not have is taken out of the directory
first: stubs of mounts, sockets, times after `latest`, the top's own mode.
"""

import asyncio
import hashlib
import os
import stat
import threading
from collections.abc import Sequence
from queue import SimpleQueue

from knarr.build.errors import BuildFailed
from knarr.build.tree import Layer, Tree
from knarr.engine.building.stubs import stubs
from knarr.engine.images import rows
from knarr.engine.images.compression import PIECE, Deflater
from knarr.engine.images.holding import Hold
from knarr.engine.images.manifest import layer_descriptor
from knarr.engine.images.rooms import Rooms
from knarr.engine.images.settled import settled, whole
from knarr.engine.images.unpacking import Keeper, child_chain, staged_new, widen
from knarr.engine.zygote_jobs import RootView
from knarr.kernel.fd import Fd, RootFd
from knarr.loop.blocking import alone, blocking, hop
from knarr.model.digest import Digest
from knarr.model.mount import Mount
from knarr.snapshots import header
from knarr.snapshots.maketar import TarOptions
from knarr.snapshots.tree import walk

_AHEAD = 4


async def layer_of(
    rooms: Rooms, hold: Hold, key: str, base: Tree, latest: int | None, mounted: Sequence[str] | None
) -> Tree:
    """`base` with one more layer: what snapshot `key`, which gives it up, has beyond it. `mounted`: a container ran on it, with
    mounts there. No time is after `latest` (ns)."""
    delta = await blocking(rooms.snapshots.delta, key)
    if delta.form != "overlay":
        raise BuildFailed("builds need the storage driver overlay2")
    left_out = () if mounted is None else await blocking(stubs, delta, mounted)
    async with staged_new(rooms) as staged:
        await settled(_take, delta.upper, staged.path, left_out, latest)
        view = RootView(mounts=(Mount("bind", staged.path, ("rbind", "ro")),))
        with await blocking(rooms.blobs.ingest, None) as ingest:
            keeper = Keeper(ingest, hold)
            job = await rooms.zygote.archive_get(view, "/", TarOptions(whiteouts=True))
            try:
                widen(job.drain)
                diff = await _compressed(job.drain, keeper)
                size = (await job.result()).size
            finally:
                job.close()
            staged.chain_id = child_chain(base.chain[-1] if base.layers else None, diff)
            hold.add(rows.layer(staged.chain_id))
            digest = await settled(keeper.commit, lasting=False)
        await blocking(rooms.snapshots.commit, staged)
    return Tree((*base.layers, Layer(diff, layer_descriptor(digest, keeper.size), size)))


def _take(upper: str, path: str, left_out: Sequence[str], latest: int | None) -> None:
    """Blocking. `upper` takes the place of the empty directory `path`, and becomes what its archive would unpack to."""
    top = os.stat(path)
    os.rename(upper, path)
    with RootFd(path) as root, Fd(root.open("/", os.O_RDONLY | os.O_DIRECTORY)) as top_fd:
        for name in sorted({*left_out, *_clamped(top_fd.fileno(), latest)}, key=len, reverse=True):
            _drop(root, name)
        os.fchown(top_fd.fileno(), top.st_uid, top.st_gid)
        os.fchmod(top_fd.fileno(), stat.S_IMODE(top.st_mode))


def _clamped(top: int, latest: int | None) -> list[str]:
    """Sets times; finds the sockets."""
    sockets = []
    for node in walk(top):
        facts = node.facts
        if stat.S_IFMT(facts.st_mode) not in header.KINDS:
            sockets.append(os.fsdecode(node.path))
        elif latest is not None and facts.st_mtime_ns > latest:
            os.utime(node.name, ns=(latest, latest), dir_fd=node.directory, follow_symlinks=False)
    return sockets


def _drop(root: RootFd, path: str) -> None:
    """The directory that it was in shall not tell."""
    directory, name = root.open_parent(path)
    with Fd(directory):
        facts = os.fstat(directory)
        if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            os.rmdir(name, dir_fd=directory)
        else:
            os.unlink(name, dir_fd=directory)
        os.utime(f"/proc/self/fd/{directory}", ns=(facts.st_atime_ns, facts.st_mtime_ns))


async def _compressed(drain: int, keeper: Keeper) -> Digest:
    """An archive into a blob; the plain archive's digest. To read and hash takes one thread, to compress another, which is not
    one of the pool's: sixteen layers at once would wait for each other there."""
    pieces: SimpleQueue[bytes] = SimpleQueue()
    room = threading.Semaphore(_AHEAD)
    both = asyncio.gather(
        hop(_hashed, drain, pieces, room), alone(_deflated, pieces, room, keeper), return_exceptions=True
    )
    diff, failure = await whole(both)
    if failure is not None:
        raise failure
    if isinstance(diff, BaseException):
        raise diff
    return diff


def _hashed(drain: int, pieces: SimpleQueue[bytes], room: threading.Semaphore) -> Digest:
    total = hashlib.sha256()
    try:
        while piece := _piece(drain):
            total.update(piece)
            room.acquire()
            pieces.put(piece)
    finally:
        pieces.put(b"")
    return Digest("sha256", total.hexdigest())


def _deflated(pieces: SimpleQueue[bytes], room: threading.Semaphore, keeper: Keeper) -> None:
    """What fails takes the rest all the same: nobody shall wait for room."""
    deflater = Deflater(keeper.write)
    piece = pieces.get()
    try:
        while piece:
            deflater.write(piece)
            room.release()
            piece = pieces.get()
        deflater.finish()
    finally:
        while piece:
            room.release()
            piece = pieces.get()


def _piece(drain: int) -> bytes:
    """As much as is compressed at a time, less at the end only: a pipe gives little at once."""
    buffer = bytearray(PIECE)
    view, filled = memoryview(buffer), 0
    while filled < PIECE and (got := os.readv(drain, [view[filled:]])):
        filled += got
    return bytes(view[:filled])
