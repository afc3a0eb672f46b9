"""The in-memory twin, for the tests of those who use the port: chains and keys in dictionaries, files in a temporary place.

Layers and snapshots are directories that are never stacked; `mounts` names a filesystem type that no kernel has.
"""

import os
import secrets
import threading
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from knarr.model.digest import Digest
from knarr.model.mount import Mount
from knarr.snapshots import tree
from knarr.snapshots.disk import checked
from knarr.snapshots.errors import NoSuchLayer, NoSuchSnapshot, SnapshotExists
from knarr.snapshots.port import Delta, StagedLayer, Usage


class Memory:
    """A `Snapshotter` that forgets; `root` is where its directories are made."""

    name = "memory"

    def __init__(self, root: str | Path) -> None:
        self._root = Path(root)
        self._root.mkdir(parents=True, exist_ok=True)
        self._layers: dict[Digest, str] = {}
        self._snapshots: dict[str, tuple[Digest, ...]] = {}
        self._uppers: dict[str, str] = {}
        self._trash: list[str] = []
        self._guard = threading.Lock()

    def _directory(self) -> str:
        path = self._root / secrets.token_hex(12)
        path.mkdir()
        return str(path)

    def layer_exists(self, chain_id: Digest) -> bool:
        """True if the layer was committed."""
        return chain_id in self._layers

    def layers(self) -> Iterator[Digest]:
        """In the order of their digests."""
        return iter(sorted(self._layers))

    def stage(self, chain_id: Digest) -> StagedLayer:
        """A directory."""
        return StagedLayer(chain_id, self._directory(), self._discard)

    def _discard(self, staged: StagedLayer) -> None:
        with self._guard:
            if self._layers.get(staged.chain_id) != staged.path and os.path.isdir(staged.path):
                self._trash.append(staged.path)

    def commit(self, staged: StagedLayer) -> None:
        """The first one stays."""
        with self._guard:
            self._layers.setdefault(staged.chain_id, staged.path)
        self._discard(staged)

    def remove_layer(self, chain_id: Digest) -> None:
        """No error if it is not there."""
        with self._guard:
            if chain_id in self._layers:
                self._trash.append(self._layers.pop(chain_id))

    def _check(self, chain: Sequence[Digest]) -> None:
        for chain_id in chain:
            if chain_id not in self._layers:
                raise NoSuchLayer(f"layer {chain_id} does not exist")

    def prepare(self, key: str, chain: Sequence[Digest], *, volatile: bool = False) -> tuple[Mount, ...]:
        """Raises SnapshotExists, NoSuchLayer."""
        self._check(chain)
        with self._guard:
            if checked(key) in self._snapshots:
                raise SnapshotExists(f"snapshot {key} already exists")
            self._snapshots[key] = tuple(chain)
            self._uppers[key] = self._directory()
        return self.mounts(key)

    def _known(self, key: str) -> str:
        if key not in self._uppers:
            raise NoSuchSnapshot(f"snapshot {key} does not exist")
        return self._uppers[key]

    def mounts(self, key: str) -> tuple[Mount, ...]:
        """One mount of type "memory"."""
        upper = self._known(key)
        self._check(self._snapshots[key])
        return (Mount("memory", upper, tuple(str(chain_id) for chain_id in self._snapshots[key])),)

    def remove(self, key: str) -> None:
        """No error if it is not there."""
        with self._guard:
            if self._snapshots.pop(checked(key), None) is not None:
                self._trash.append(self._uppers.pop(key))

    def usage(self, of: str | Digest) -> Usage:
        """Of the directory."""
        if isinstance(of, Digest):
            self._check([of])
            return Usage(*tree.measure(self._layers[of]))
        return Usage(*tree.measure(self._known(of)))

    def delta(self, key: str) -> Delta:
        """In overlay's form."""
        upper = self._known(key)
        return Delta("overlay", upper, tuple(self._layers[found] for found in reversed(self._snapshots[key])))

    def sweep(self, known: Collection[str]) -> None:
        """Removes the snapshots that are not known, and directories that nothing refers to."""
        for key in [key for key in self._snapshots if key not in known]:
            self.remove(key)
        used = {*self._layers.values(), *self._uppers.values(), *self._trash}
        self._trash += [str(path) for path in self._root.iterdir() if str(path) not in used]

    def empty_trash(self) -> int:
        """Deletes what removals left."""
        with self._guard:
            trees, self._trash = self._trash, []
        for path in trees:
            tree.remove_tree(path)
        return len(trees)
