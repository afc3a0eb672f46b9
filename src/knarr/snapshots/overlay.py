"""The overlay driver ("overlay2"): overlayfs over shared layers (Documentation/filesystems/overlayfs.rst).

`mounts` gives one overlay mount with absolute paths. Its `lowerdir` may be longer than mount(2)'s page: the caller splits it
at ":" and gives fsconfig(2) one `lowerdir+` each; the root's path is refused if it holds a character that would need escapes.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from knarr.model.digest import Digest
from knarr.model.errors import Invalid
from knarr.model.mount import Mount
from knarr.snapshots import tree
from knarr.snapshots.disk import Disk
from knarr.snapshots.port import Delta, Usage

# redirect_dir and metacopy would make an upper directory that cannot be read without its lowers; index would pin the
# upper to its first lowers (overlayfs.rst, "Changes to underlying filesystems").
_OPTIONS = ("index=off", "redirect_dir=off")
MAX_LAYERS = 500


class Overlay(Disk):
    """A `Snapshotter` in the directory `root`."""

    name = "overlay2"

    def __init__(self, root: str | Path) -> None:
        absolute = os.path.abspath(root)
        if any(character in absolute for character in ":,\\\n"):
            raise Invalid(f"cannot keep layers in {absolute}: overlayfs takes no ':', ',' or '\\' in paths")
        super().__init__(absolute)
        self._empty = f"{absolute}/empty"
        os.makedirs(self._empty, mode=0o755, exist_ok=True)

    def prepare(self, key: str, chain: Sequence[Digest], *, volatile: bool = False) -> tuple[Mount, ...]:
        """An upper and a work directory. The merged root has the upper's mode and owner: it takes the topmost layer's."""
        if len(chain) > MAX_LAYERS:
            raise Invalid(f"max depth exceeded: overlayfs takes {MAX_LAYERS} layers, not {len(chain)}")
        lowers = self.lowers(chain) or (self._empty,)
        made = self.scratch()
        try:
            _make_upper(made, os.stat(lowers[0]))
            if volatile:
                os.close(os.open(f"{made}/volatile", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
            path = self.publish(made, key, chain)
        except BaseException:
            self.discard(made)
            raise
        return (_mount(path, lowers, volatile=volatile),)

    def mounts(self, key: str) -> tuple[Mount, ...]:
        """One overlay mount."""
        path = self.snapshot_path(key)
        lowers = self.lowers(self.chain(key)) or (self._empty,)
        return (_mount(path, lowers, volatile=os.path.exists(f"{path}/volatile")),)

    def usage(self, of: str | Digest) -> Usage:
        """The upper's, or the layer's."""
        if isinstance(of, Digest):
            return self.layer_usage(of)
        return Usage(*tree.measure(f"{self.snapshot_path(of)}/upper"))

    def delta(self, key: str) -> Delta:
        """The upper directory holds exactly the changes."""
        lowers = self.lowers(self.chain(key))
        return Delta("overlay", f"{self.snapshot_path(key)}/upper", lowers)


def _mount(path: str, lowers: Sequence[str], *, volatile: bool) -> Mount:
    """umount(2) of an overlay syncs the whole filesystem of its upper, 10 ms and more, unless it is volatile."""
    options = (f"lowerdir={':'.join(lowers)}", f"upperdir={path}/upper", f"workdir={path}/work", *_OPTIONS)
    return Mount("overlay", "overlay", (*options, "volatile") if volatile else options)


def _make_upper(made: str, root: os.stat_result) -> None:
    upper = f"{made}/upper"
    os.mkdir(upper, 0o755)
    os.mkdir(f"{made}/work", 0o700)
    if (root.st_uid, root.st_gid) != (os.geteuid(), os.getegid()):
        os.chown(upper, root.st_uid, root.st_gid)
    os.chmod(upper, root.st_mode & 0o7777)
