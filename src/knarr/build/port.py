"""What the front doors ask of the builder, and the builder of a client: the joints of the build room.

A front door (BuildKit's gRPC, POST /build, the CLI) turns its protocol into a `Wish` and lends a `Session`; the builder
loads it (Dockerfile to graph, nothing run), and exports what was loaded.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from knarr.build.context.entries import Index
from knarr.build.progress import Progress, Step
from knarr.build.pruning import Pruning, Record
from knarr.model.digest import Digest


class Contents(Protocol):
    """A store of blobs that a client lends: a local cache, an OCI layout."""

    async def size(self, digest: Digest) -> int:
        """Of a blob that is there. Raises NotFound."""
        ...

    def read(self, digest: Digest, offset: int = 0) -> AsyncIterator[bytes]:
        """Its bytes, not verified. Raises BuildFailed."""
        ...

    async def write(self, digest: Digest, size: int, chunks: AsyncIterator[bytes]) -> bool:
        """Puts a blob there, whole or not at all; False if it was there. Raises BuildFailed."""
        ...


class Typed(NamedTuple):
    """What a person did at a terminal: wrote something, or gave it another size (columns, rows)."""

    data: bytes = b""
    window: tuple[int, int] | None = None


class Console(Protocol):
    """A client's terminal."""

    async def write(self, data: bytes) -> None:
        """Shows something."""
        ...

    def typed(self) -> AsyncIterator[Typed]:
        """What a person does, until he leaves."""
        ...


class Session(Protocol):
    """What one client lends: its files, its secrets, its credentials, and a place for results."""

    id: str

    async def directory(
        self,
        name: str,
        step: Step,
        *,
        follow: Sequence[str] = (),
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        label: str = "context",
    ) -> Index:
        """The files of the client's directory `name` (`context`, `dockerfile`, or a named context's). Raises BuildFailed."""
        ...

    async def upload(self, address: str, name: str, step: Step) -> Index:
        """What the client reads from its standard input, as a file `name`; an address is read once. Raises BuildFailed."""
        ...

    async def secret(self, name: str) -> bytes | None:
        """A secret's value; None where the client has none of that name."""
        ...

    def ssh_agent(self, name: str) -> AbstractAsyncContextManager[str]:
        """The path of a socket on which the client's agent answers inside the `async with`. Raises BuildFailed."""
        ...

    def console(self, title: str) -> AbstractAsyncContextManager[Console] | None:
        """The client's terminal, for a step that failed; None where none is lent."""
        ...

    async def credentials(self, host: str) -> tuple[str, str]:
        """User and secret for a registry; empty strings for none."""
        ...

    async def send_file(
        self, exporter: int, metadata: Mapping[str, str], chunks: AsyncIterator[bytes]
    ) -> None:
        """One file (an archive) to the client, as the result of the exporter with that number."""
        ...

    async def send_tree(self, exporter: int, root: str, divided: bool) -> None:
        """The tree below `root`, into the client's directory."""
        ...

    def contents(self, store: str) -> Contents:
        """The client's store of that name (`local:DIRECTORY`). Raises BuildFailed where it has none."""
        ...


class Sessions(Protocol):
    """The sessions of the living clients."""

    async def get(self, name: str) -> Session:
        """Waits a few seconds for one that is still on its way. Raises NoSuchSession."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSpec:
    """Where a cache comes from or goes to: `type` inline, registry, local."""

    type: str
    attrs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporter:
    """Where a result goes: `type` moby, image, oci, docker, local, tar."""

    type: str
    attrs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What shall be built. `attrs` are the Dockerfile frontend's options by BuildKit's names (`filename`, `target`,
    `build-arg:X`, `context:NAME`, `platform`, `no-cache`, …); `inputs` are results of other builds. `only`: images of this
    engine whose layers alone may serve as cached steps, with what their own caches tell; None: all that there is.
    `granted`: see build.entitlements."""

    ref: str
    session: str
    attrs: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, "Loaded"] = field(default_factory=dict)
    cache_from: Sequence[CacheSpec] = ()
    granted: frozenset[str] = frozenset()
    only: Sequence[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a build made, for its record: `attest` gives (predicate type, predicate) by platform, `""` where there is one without a
    name, and is called when the build has been answered; `documents` are the manifests and configurations that were given away,
    by digest."""

    attest: Callable[[], Mapping[str, Sequence[tuple[str, bytes]]]] = dict
    documents: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """BuildKit's exporter response (`containerimage.digest` …), of all exporters and of each; and what is kept in the build's record."""

    response: Mapping[str, str]
    each: Sequence[Mapping[str, str]] = ()
    told: Told = field(default_factory=Told)


class Records(Protocol):
    """The records of builds that are over, and the blobs that they name."""

    async def put(
        self, ref: str, completed: int, record: bytes, blobs: Sequence[bytes], documents: Sequence[bytes]
    ) -> None:
        """Keeps a record and what it names: blobs of its own, and documents that images may have as well. Old records go."""
        ...

    async def add(self, ref: str, record: bytes, blob: bytes) -> None:
        """Replaces a record that is there by the same with one more blob."""
        ...

    async def all(self, ref: str = "") -> Sequence[tuple[bytes, bool]]:
        """Every record, or the one of that name, and whether it is pinned; the newest first."""
        ...

    async def pin(self, ref: str, pinned: bool) -> bool:
        """A pinned one is kept for as long as it is; False if there is none of that name."""
        ...

    async def remove(self, ref: str) -> bool:
        """False if there is none of that name."""
        ...

    async def size(self, digest: str) -> int:
        """Of a blob. Raises NotFound."""
        ...

    async def read(self, digest: str, offset: int, size: int) -> bytes:
        """A piece of a blob. Raises NotFound."""
        ...


class Loaded(Protocol):
    """A build that was read and not run: its results by platform (`""` where only one was asked for)."""

    @property
    def metadata(self) -> Mapping[str, bytes]:
        """What BuildKit's frontend returns beside the results, as `containerimage.config`; or a subrequest's answer."""
        ...

    @property
    def platforms(self) -> Sequence[str]:
        """The results' names; empty if there is nothing to build, as after a subrequest."""
        ...


class Cache(Protocol):
    """What is kept of builds."""

    async def usage(self, filters: Sequence[str], unused: int) -> Sequence[Record]:
        """What there is, and was not used for `unused` nanoseconds. Raises Invalid."""
        ...

    async def prune(self, wish: Pruning) -> Sequence[Record]:
        """What is gone. Raises Invalid."""
        ...


class Builder(Protocol):
    """The builder, as a front door sees it."""

    async def load(self, wish: Wish, sessions: Sessions, progress: Progress) -> Loaded:
        """Reads the Dockerfile and makes the graph. Raises BuildFailed."""
        ...

    async def solve(self, loaded: Loaded, sessions: Sessions, progress: Progress) -> None:
        """Runs what the results need and is not cached. Raises BuildFailed."""
        ...

    async def export(
        self,
        loaded: Loaded,
        exporters: Sequence[Exporter],
        cache_to: Sequence[CacheSpec],
        session: str,
        sessions: Sessions,
        progress: Progress,
    ) -> Exported:
        """Solves, and gives the results away. Raises BuildFailed."""
        ...
