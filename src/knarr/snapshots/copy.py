"""The copy driver ("vfs"): every snapshot is a whole copy of its layers, for filesystems that overlayfs cannot use.

Layers are kept as the overlay driver keeps them (0:0 devices and the opaque attribute), and copied base first. Slow and
large, and it works wherever there are directories.
"""

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from knarr.model.digest import Digest
from knarr.model.mount import Mount
from knarr.snapshots import tree
from knarr.snapshots.disk import Disk
from knarr.snapshots.place import OPAQUE, is_whiteout
from knarr.snapshots.port import Delta, Usage


class Copy(Disk):
    """A `Snapshotter` in the directory `root`."""

    name = "vfs"

    def __init__(self, root: str | Path) -> None:
        super().__init__(os.path.abspath(root))

    def prepare(self, key: str, chain: Sequence[Digest], *, volatile: bool = False) -> tuple[Mount, ...]:
        """Copies every layer; what fails half-way goes into the trash."""
        lowers = self.lowers(chain)
        made = self.scratch()
        try:
            os.mkdir(f"{made}/tree", 0o755)
            for lower in reversed(lowers):
                apply(lower, f"{made}/tree")
            self.publish(made, key, chain)
        except BaseException:
            self.discard(made)
            raise
        return self.mounts(key)

    def mounts(self, key: str) -> tuple[Mount, ...]:
        """A bind mount of the copy."""
        return (Mount("bind", f"{self.snapshot_path(key)}/tree", ("rbind", "rw")),)

    def usage(self, of: str | Digest) -> Usage:
        """The whole copy's, or the layer's."""
        if isinstance(of, Digest):
            return self.layer_usage(of)
        return Usage(*tree.measure(f"{self.snapshot_path(of)}/tree"))

    def delta(self, key: str) -> Delta:
        """The whole tree, to be compared."""
        lowers = self.lowers(self.chain(key))
        return Delta("tree", f"{self.snapshot_path(key)}/tree", lowers)


def apply(layer: str, target: str) -> None:
    """Lays a layer's tree over the tree `target`.

    Each directory of the layer is made, or made a real directory, before what is in it: so no path below `target` leads
    through a link.
    """
    top = os.open(layer, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    linked: dict[tuple[int, int], str] = {}
    directories = [(target, os.fstat(top))]
    try:
        _attributes(f"/proc/self/fd/{top}/.", target, os.fstat(top))
        for node in tree.walk(top):
            path = os.path.join(target, os.fsdecode(node.path))
            source = f"/proc/self/fd/{node.directory}/{os.fsdecode(node.name)}"
            if stat.S_ISDIR(node.facts.st_mode):
                _directory(source, path, node.facts)
                directories.append((path, node.facts))
            elif is_whiteout(node.facts):
                tree.remove_tree(path)
            else:
                _file(source, path, node.facts, linked)
        for path, facts in reversed(directories):
            os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    finally:
        os.close(top)


def _directory(source: str, path: str, facts: os.stat_result) -> None:
    opaque = OPAQUE in os.listxattr(source) and os.getxattr(source, OPAQUE) == b"y"
    if opaque or not _is_directory(path):
        tree.remove_tree(path)
        os.mkdir(path)
    _attributes(source, path, facts)


def _is_directory(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return False


def _file(source: str, path: str, facts: os.stat_result, linked: dict[tuple[int, int], str]) -> None:
    tree.remove_tree(path)
    identity = (facts.st_dev, facts.st_ino)
    if identity in linked:
        os.link(linked[identity], path, follow_symlinks=False)
        return
    if facts.st_nlink > 1:
        linked[identity] = path
    if stat.S_ISREG(facts.st_mode):
        _content(source, path)
    elif stat.S_ISLNK(facts.st_mode):
        os.symlink(os.readlink(source), path)
    else:
        os.mknod(path, facts.st_mode, facts.st_rdev)
    _attributes(source, path, facts)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns), follow_symlinks=False)


def _content(source: str, path: str) -> None:
    """copy_file_range(2) shares the blocks where the filesystem can."""
    with open(source, "rb", buffering=0) as reader, open(path, "xb", buffering=0) as writer:
        try:
            while os.copy_file_range(reader.fileno(), writer.fileno(), 1 << 30):
                pass
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            while os.sendfile(writer.fileno(), reader.fileno(), None, 1 << 30):
                pass


def _attributes(source: str, path: str, facts: os.stat_result) -> None:
    os.chown(path, facts.st_uid, facts.st_gid, follow_symlinks=False)
    if not stat.S_ISLNK(facts.st_mode):
        os.chmod(path, stat.S_IMODE(facts.st_mode))
    for key in os.listxattr(source, follow_symlinks=False):
        if not key.startswith("trusted.overlay."):
            os.setxattr(path, key, os.getxattr(source, key, follow_symlinks=False), follow_symlinks=False)
