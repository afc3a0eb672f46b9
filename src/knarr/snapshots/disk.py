"""What the drivers that keep trees in directories share: layers, staging, trash and recovery.

    ROOT/layers/<hex>/diff        a layer, in overlayfs's form
    ROOT/snapshots/<key>/         a snapshot: `chain` (one chain id a line, base first) and what its driver adds
    ROOT/staging/<random>/        half-made; nothing else refers to it
    ROOT/trash/<random>/          removed, not yet deleted

Everything appears by one rename out of `staging` and disappears by one rename into `trash`.
"""

import errno
import os
import re
import secrets
import threading
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from knarr.model.digest import Digest
from knarr.model.errors import Invalid
from knarr.snapshots import tree
from knarr.snapshots.errors import NoSuchLayer, NoSuchSnapshot, SnapshotExists
from knarr.snapshots.port import StagedLayer, Usage

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}\Z")
_ALGORITHMS = {64: "sha256", 128: "sha512"}


class Disk:
    """What such drivers are made from: the directories under `root`, which are made if they are missing. Paths are strings: every start comes by here."""

    def __init__(self, root: str | Path) -> None:
        self._layers, self._snapshots, self._staging, self._trash = (
            f"{root}/{name}" for name in ("layers", "snapshots", "staging", "trash")
        )
        for directory in (self._layers, self._snapshots, self._staging, self._trash):
            os.makedirs(directory, mode=0o711, exist_ok=True)
        self._emptying = threading.Lock()

    def layer_path(self, chain_id: Digest) -> str:
        """The layer's tree, whether it exists or not."""
        return f"{self._layers}/{chain_id.hex}/diff"

    def layer_exists(self, chain_id: Digest) -> bool:
        """True if the layer is here, whole."""
        return os.path.isdir(self.layer_path(chain_id))

    def layers(self) -> Iterator[Digest]:
        """The chain ids of all layers."""
        for name in sorted(os.listdir(self._layers)):
            yield Digest(_ALGORITHMS[len(name)], name)

    def stage(self, chain_id: Digest) -> StagedLayer:
        """An empty directory for the layer's files."""
        diff = f"{self.scratch()}/diff"
        os.mkdir(diff, 0o755)
        return StagedLayer(chain_id, diff, self._discard_layer)

    def commit(self, staged: StagedLayer) -> None:
        """Renaming onto a layer fails because it is not empty: the loser of a race keeps what is there."""
        made = os.path.dirname(staged.path)
        try:
            os.rename(made, f"{self._layers}/{staged.chain_id.hex}")
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            self.discard(made)

    def _discard_layer(self, staged: StagedLayer) -> None:
        self.discard(os.path.dirname(staged.path))

    def remove_layer(self, chain_id: Digest) -> None:
        """Into the trash."""
        self.discard(f"{self._layers}/{chain_id.hex}")

    def lowers(self, chain: Sequence[Digest]) -> tuple[str, ...]:
        """The layers' trees, topmost first. Raises NoSuchLayer."""
        for chain_id in chain:
            if not self.layer_exists(chain_id):
                raise NoSuchLayer(f"layer {chain_id} does not exist")
        return tuple(self.layer_path(chain_id) for chain_id in reversed(chain))

    def scratch(self) -> str:
        """A new, empty directory in `staging`."""
        path = f"{self._staging}/{secrets.token_hex(12)}"
        os.mkdir(path, 0o711)
        return path

    def snapshot_path(self, key: str) -> str:
        """Raises NoSuchSnapshot."""
        path = f"{self._snapshots}/{checked(key)}"
        if not os.path.isdir(path):
            raise NoSuchSnapshot(f"snapshot {key} does not exist")
        return path

    def publish(self, made: str, key: str, chain: Sequence[Digest]) -> str:
        """`made`, from `scratch`, becomes the snapshot: its path. Raises SnapshotExists."""
        with open(f"{made}/chain", "w", encoding="ascii") as file:
            file.write("".join(f"{chain_id}\n" for chain_id in chain))
        path = f"{self._snapshots}/{checked(key)}"
        try:
            os.rename(made, path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            raise SnapshotExists(f"snapshot {key} already exists") from None
        return path

    def chain(self, key: str) -> tuple[Digest, ...]:
        """The layers below the snapshot, base first."""
        with open(f"{self.snapshot_path(key)}/chain", encoding="ascii") as file:
            return tuple(Digest.parse(line) for line in file.read().splitlines())

    def remove(self, key: str) -> None:
        """Into the trash."""
        self.discard(f"{self._snapshots}/{checked(key)}")

    def discard(self, path: str) -> None:
        """Into the trash; no error if it is not there."""
        try:
            os.rename(path, f"{self._trash}/{secrets.token_hex(12)}")
        except FileNotFoundError:
            pass

    def layer_usage(self, chain_id: Digest) -> Usage:
        """Raises NoSuchLayer."""
        try:
            return Usage(*tree.measure(self.layer_path(chain_id)))
        except FileNotFoundError:
            raise NoSuchLayer(f"layer {chain_id} does not exist") from None

    def sweep(self, known: Collection[str]) -> None:
        """Removes what a killed daemon left half-made, and the snapshots that are not known."""
        for name in os.listdir(self._staging):
            self.discard(f"{self._staging}/{name}")
        for name in os.listdir(self._snapshots):
            if name not in known:
                self.discard(f"{self._snapshots}/{name}")
        for name in os.listdir(self._layers):
            if len(name) not in _ALGORITHMS or not os.path.isdir(f"{self._layers}/{name}/diff"):
                self.discard(f"{self._layers}/{name}")

    def empty_trash(self) -> int:
        """Deletes what removals left."""
        with self._emptying:
            names = os.listdir(self._trash)
            for name in names:
                tree.remove_tree(f"{self._trash}/{name}")
        return len(names)


def checked(key: str) -> str:
    """Raises Invalid for what cannot be a file's name."""
    if not _KEY.match(key):
        raise Invalid(f"invalid snapshot key {key!r}")
    return key
