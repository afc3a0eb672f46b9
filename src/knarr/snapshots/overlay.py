"""The overlay driver ("overlay2"): overlayfs over shared layers (Documentation/filesystems/overlayfs.rst).

`mounts` gives one overlay mount with absolute paths. Its `lowerdir` may be longer than mount(2)'s page: the caller splits it
at ":" and gives fsconfig(2) one `lowerdir+` each; the root's path is refused if it holds a character that would need escapes.
"""

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from knarr.model.digest import Digest
from knarr.model.errors import Invalid
from knarr.model.mount import Mount
from knarr.snapshots import tree
from knarr.snapshots.disk import Disk
from knarr.snapshots.port import Delta, StagedLayer, Usage

# redirect_dir and metacopy would make an upper directory that cannot be read without its lowers; index would pin the
# upper to its first lowers (overlayfs.rst, "Changes to underlying filesystems").
_OPTIONS = ("index=off", "redirect_dir=off")
MAX_LAYERS = 500


class Overlay:
    """A `Snapshotter` in the directory `root`."""

    name = "overlay2"

    def __init__(self, root: str | Path) -> None:
        absolute = os.path.abspath(root)
        if any(character in absolute for character in ":,\\\n"):
            raise Invalid(f"cannot keep layers in {absolute}: overlayfs takes no ':', ',' or '\\' in paths")
        self._disk = Disk(absolute)
        self._empty = f"{absolute}/empty"
        os.makedirs(self._empty, mode=0o755, exist_ok=True)

    def layer_exists(self, chain_id: Digest) -> bool:
        """True if the layer is here, whole."""
        return self._disk.layer_exists(chain_id)

    def layers(self) -> Iterator[Digest]:
        """The chain ids of all layers."""
        return self._disk.layers()

    def stage(self, chain_id: Digest) -> StagedLayer:
        """An empty directory for the layer's files."""
        return self._disk.stage(chain_id)

    def commit(self, staged: StagedLayer) -> None:
        """The staged directory becomes the layer, unless another was first."""
        self._disk.commit(staged)

    def remove_layer(self, chain_id: Digest) -> None:
        """Into the trash."""
        self._disk.remove_layer(chain_id)

    def prepare(self, key: str, chain: Sequence[Digest], *, volatile: bool = False) -> tuple[Mount, ...]:
        """An upper and a work directory. The merged root has the upper's mode and owner: it takes the topmost layer's."""
        if len(chain) > MAX_LAYERS:
            raise Invalid(f"max depth exceeded: overlayfs takes {MAX_LAYERS} layers, not {len(chain)}")
        lowers = self._disk.lowers(chain) or (self._empty,)
        made = self._disk.scratch()
        try:
            _make_upper(made, os.stat(lowers[0]))
            if volatile:
                os.close(os.open(f"{made}/volatile", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
            path = self._disk.publish(made, key, chain)
        except BaseException:
            self._disk.discard(made)
            raise
        return (_mount(path, lowers, volatile=volatile),)

    def mounts(self, key: str) -> tuple[Mount, ...]:
        """One overlay mount."""
        path = self._disk.snapshot_path(key)
        lowers = self._disk.lowers(self._disk.chain(key)) or (self._empty,)
        volatile = os.path.exists(f"{path}/volatile")
        if volatile:
            # A volatile mount leaves this mark so that nobody mounts an upper that a crash may have torn; ours is
            # thrown away after a crash, and is whole after anything less (overlayfs.rst, "Volatile mount").
            tree.remove_tree(f"{path}/work/work/incompat")
        return (_mount(path, lowers, volatile=volatile),)

    def remove(self, key: str) -> None:
        """Into the trash."""
        self._disk.remove(key)

    def usage(self, of: str | Digest) -> Usage:
        """The upper's, or the layer's."""
        if isinstance(of, Digest):
            return self._disk.layer_usage(of)
        return Usage(*tree.measure(f"{self._disk.snapshot_path(of)}/upper"))

    def delta(self, key: str) -> Delta:
        """The upper directory holds exactly the changes."""
        lowers = self._disk.lowers(self._disk.chain(key))
        return Delta("overlay", f"{self._disk.snapshot_path(key)}/upper", lowers)

    def sweep(self, known: Collection[str]) -> None:
        """Removes what a killed daemon left half-made, and the snapshots that are not known."""
        self._disk.sweep(known)

    def empty_trash(self) -> int:
        """Deletes what removals left."""
        return self._disk.empty_trash()


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
