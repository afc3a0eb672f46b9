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
    """The directories under `root`, which are made if they are missing."""

    def __init__(self, root: str | Path) -> None:
        self._layers, self._snapshots, self._staging, self._trash = (
            Path(root) / name for name in ("layers", "snapshots", "staging", "trash")
        )
        for directory in (self._layers, self._snapshots, self._staging, self._trash):
            directory.mkdir(parents=True, exist_ok=True, mode=0o711)
        self._emptying = threading.Lock()

    def layer_path(self, chain_id: Digest) -> Path:
        """The layer's tree, whether it exists or not."""
        return self._layers / chain_id.hex / "diff"

    def layer_exists(self, chain_id: Digest) -> bool:
        return self.layer_path(chain_id).is_dir()

    def layers(self) -> Iterator[Digest]:
        for path in sorted(self._layers.iterdir()):
            yield Digest(_ALGORITHMS[len(path.name)], path.name)

    def stage(self, chain_id: Digest) -> StagedLayer:
        diff = self.scratch() / "diff"
        diff.mkdir(mode=0o755)
        return StagedLayer(chain_id, str(diff), self._discard_layer)

    def commit(self, staged: StagedLayer) -> None:
        """Renaming onto a layer fails because it is not empty: the loser of a race keeps what is there."""
        made = Path(staged.path).parent
        try:
            made.rename(self._layers / staged.chain_id.hex)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            self.discard(made)

    def _discard_layer(self, staged: StagedLayer) -> None:
        self.discard(Path(staged.path).parent)

    def remove_layer(self, chain_id: Digest) -> None:
        self.discard(self._layers / chain_id.hex)

    def lowers(self, chain: Sequence[Digest]) -> tuple[str, ...]:
        """The layers' trees, topmost first. Raises NoSuchLayer."""
        for chain_id in chain:
            if not self.layer_exists(chain_id):
                raise NoSuchLayer(f"layer {chain_id} does not exist")
        return tuple(str(self.layer_path(chain_id)) for chain_id in reversed(chain))

    def scratch(self) -> Path:
        """A new, empty directory in `staging`."""
        path = self._staging / secrets.token_hex(12)
        path.mkdir(mode=0o711)
        return path

    def snapshot_path(self, key: str) -> Path:
        """Raises NoSuchSnapshot."""
        path = self._snapshots / checked(key)
        if not path.is_dir():
            raise NoSuchSnapshot(f"snapshot {key} does not exist")
        return path

    def publish(self, made: Path, key: str, chain: Sequence[Digest]) -> None:
        """`made`, from `scratch`, becomes the snapshot. Raises SnapshotExists."""
        (made / "chain").write_text("".join(f"{chain_id}\n" for chain_id in chain), encoding="ascii")
        try:
            made.rename(self._snapshots / checked(key))
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            raise SnapshotExists(f"snapshot {key} already exists") from None

    def chain(self, key: str) -> tuple[Digest, ...]:
        """The layers below the snapshot, base first."""
        text = (self.snapshot_path(key) / "chain").read_text(encoding="ascii")
        return tuple(Digest.parse(line) for line in text.splitlines())

    def remove(self, key: str) -> None:
        self.discard(self._snapshots / checked(key))

    def discard(self, path: Path) -> None:
        """Into the trash; no error if it is not there."""
        try:
            path.rename(self._trash / secrets.token_hex(12))
        except FileNotFoundError:
            pass

    def layer_usage(self, chain_id: Digest) -> Usage:
        """Raises NoSuchLayer."""
        try:
            return Usage(*tree.measure(str(self.layer_path(chain_id))))
        except FileNotFoundError:
            raise NoSuchLayer(f"layer {chain_id} does not exist") from None

    def sweep(self, known: Collection[str]) -> None:
        for path in list(self._staging.iterdir()):
            self.discard(path)
        for path in list(self._snapshots.iterdir()):
            if path.name not in known:
                self.discard(path)
        for path in list(self._layers.iterdir()):
            if len(path.name) not in _ALGORITHMS or not (path / "diff").is_dir():
                self.discard(path)

    def empty_trash(self) -> int:
        with self._emptying:
            trees = list(self._trash.iterdir())
            for path in trees:
                tree.remove_tree(os.fspath(path))
        return len(trees)


def checked(key: str) -> str:
    """Raises Invalid for what cannot be a file's name."""
    if not _KEY.match(key):
        raise Invalid(f"invalid snapshot key {key!r}")
    return key
