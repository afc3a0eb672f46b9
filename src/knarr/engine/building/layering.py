"""A step's changes become a layer: the upper directory itself is the layer's tree, and is archived once for its digest and its blob.

Written anew from the archive, each file would be made twice. So what an archive would not have is taken out of the directory
first: stubs of mounts, sockets, times after `latest`, the top's own mode.
"""

import hashlib
import os
import stat
from collections.abc import Sequence

from knarr.build.errors import BuildFailed
from knarr.build.tree import Layer, Tree
from knarr.engine.building.stubs import stubs
from knarr.engine.images import rows
from knarr.engine.images.compression import Deflater
from knarr.engine.images.holding import Hold
from knarr.engine.images.manifest import layer_descriptor
from knarr.engine.images.rooms import Rooms
from knarr.engine.images.settled import settled
from knarr.engine.images.unpacking import Keeper, child_chain, staged_new
from knarr.engine.zygote_jobs import RootView
from knarr.kernel.fd import Fd, RootFd
from knarr.loop.blocking import blocking
from knarr.model.digest import Digest
from knarr.model.mount import Mount
from knarr.snapshots import header
from knarr.snapshots.maketar import TarOptions
from knarr.snapshots.tree import walk

_PIECE = 1 << 20


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
                diff = await settled(_compressed, job.drain, keeper)
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
        for name in sorted({*left_out, *_sockets(top_fd.fileno())}, key=len, reverse=True):
            _drop(root, name)
        os.fchown(top_fd.fileno(), top.st_uid, top.st_gid)
        os.fchmod(top_fd.fileno(), stat.S_IMODE(top.st_mode))
        if latest is not None:
            _clamp(top_fd.fileno(), latest)


def _sockets(top: int) -> list[str]:
    return [
        os.fsdecode(node.path) for node in walk(top) if stat.S_IFMT(node.facts.st_mode) not in header.KINDS
    ]


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


def _clamp(top: int, latest: int) -> None:
    for node in walk(top):
        if node.facts.st_mtime_ns > latest:
            os.utime(node.name, ns=(latest, latest), dir_fd=node.directory, follow_symlinks=False)


def _compressed(drain: int, keeper: Keeper) -> Digest:
    """Blocking. An archive into a blob; the plain archive's digest."""
    total, deflater = hashlib.sha256(), Deflater(keeper.write)
    while data := os.read(drain, _PIECE):
        total.update(data)
        deflater.write(data)
    deflater.finish()
    return Digest("sha256", total.hexdigest())
