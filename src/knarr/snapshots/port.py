"""The port that storage drivers implement: read-only layers by chain id, writable snapshots by key.

A layer is staged (an empty directory that the caller fills, `untar` with whiteouts), then committed by one rename; layers are
shared by every image and container that has the chain id. A snapshot is a writable view on a chain of layers; the caller
performs the mounts that it is told of. Removal renames into a trash, which `empty_trash` deletes later. Every method blocks
and is thread-safe for different keys. `tests/suites/snapshotter.py` is the suite of all drivers.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from knarr.model.digest import Digest
from knarr.model.mount import Mount


class Usage(NamedTuple):
    """Bytes on disk (whole blocks, each hard link once) and inodes."""

    size: int
    inodes: int


class Delta(NamedTuple):
    """Where a snapshot's changes are: `upper` over `lowers`, topmost first.

    `form` is "overlay" (upper holds only changes; 0:0 devices and trusted.overlay.opaque delete) or "tree" (upper is the
    whole tree). `changes.py` lists them, `maketar` with whiteouts makes a layer of an overlay's `upper`.
    """

    form: str
    upper: str
    lowers: tuple[str, ...]


class StagedLayer:
    """An empty directory to fill. Leaving its `with` block without `commit` discards it."""

    def __init__(self, chain_id: Digest, path: str, discard: Callable[["StagedLayer"], None]) -> None:
        self.chain_id = chain_id
        self.path = path
        self._discard = discard

    def discard(self) -> None:
        """Removes it; harmless after a commit."""
        self._discard(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.discard()


class Snapshotter(Protocol):
    """Twelve methods and a name (Docker's word for the driver: "overlay2", "vfs")."""

    name: str

    def layer_exists(self, chain_id: Digest) -> bool:
        """True if the layer is here, whole."""

    def layers(self) -> Iterator[Digest]:
        """The chain ids of all layers."""

    def stage(self, chain_id: Digest) -> StagedLayer:
        """A directory for the layer's files: any number of callers may stage one chain id at the same time."""

    def commit(self, staged: StagedLayer) -> None:
        """The staged directory becomes the layer; if another was first, it is discarded."""

    def remove_layer(self, chain_id: Digest) -> None:
        """No error if it is not there. The caller knows that nothing uses it."""

    def prepare(self, key: str, chain: Sequence[Digest], *, volatile: bool = False) -> tuple[Mount, ...]:
        """A writable snapshot on the layers, base first. Raises SnapshotExists, NoSuchLayer.

        `volatile`: its files need not survive a crash of the machine (a container that is removed when it ends), so
        nothing is synced.
        """

    def mounts(self, key: str) -> tuple[Mount, ...]:
        """What `prepare` returned, again. Raises NoSuchSnapshot."""

    def remove(self, key: str) -> None:
        """No error if it is not there. Its mounts must be gone."""

    def usage(self, of: str | Digest) -> Usage:
        """What the snapshot with this key, or the layer with this chain id, takes itself, without what lies below."""

    def delta(self, key: str) -> Delta:
        """Where the snapshot's own changes are. Raises NoSuchSnapshot."""

    def sweep(self, known: Collection[str]) -> None:
        """At start, alone: removes half-made layers and snapshots, and snapshots whose key is not known."""

    def empty_trash(self) -> int:
        """Deletes what removals left; the number of trees. May run beside everything else."""
