"""Leases: what is fetched or prepared is held by a lease until a row refers to it.

A lease is a file with one resource a line, so it outlives a killed daemon: what an interrupted pull had fetched stays until
the lease expires. What cannot be resumed has a brief one, without a file: it ends with its daemon. The order that makes
collection safe: lease the resource, then look whether it exists or make it, then write the row, then release. Thread-safe; one
`Leases` a directory.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

Deleter = Callable[[str], int]

DAY = 24 * 60 * 60
_BRIEF = "-brief"


class Resource(NamedTuple):
    """Something that collection may delete: `kind` is "blob", "layer" or "snapshot", `name` its digest or key."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class Leases:
    """All leases under `root`. One that a dead daemon left expires `lifetime` seconds after its last addition."""

    def __init__(self, root: str | Path, *, lifetime: int = DAY) -> None:
        self._root = Path(root)
        self._root.mkdir(parents=True, exist_ok=True)
        self._lifetime = lifetime
        self._guard = threading.Lock()
        self._held: dict[str, set[Resource]] = {}
        self._touched: set[Resource] | None = None
        self._live: set[str] = set()
        for path in self._root.iterdir():
            if path.name.endswith(_BRIEF):  # an earlier version had files for them too
                path.unlink()
                continue
            self._held[path.name] = _parse(path)

    def create(self, *, brief: bool = False) -> "Lease":
        """A new, empty lease; a brief one is of no use once its daemon is dead."""
        lease = Lease(self, secrets.token_hex(16) + (_BRIEF if brief else ""))
        with self._guard:
            self._held[lease.id] = set()
            self._live.add(lease.id)
        return lease

    def held(self) -> frozenset[Resource]:
        """Everything that some lease holds."""
        with self._guard:
            return frozenset(set().union(*self._held.values()))

    def expire(self, now: float | None = None) -> None:
        """Drops the leases that an earlier daemon left and that are older than the lifetime."""
        limit = (time.time() if now is None else now) - self._lifetime
        for path in list(self._root.iterdir()):
            try:
                old = path.stat().st_mtime < limit
            except FileNotFoundError:
                continue
            if old and path.name not in self._live:
                self.release(path.name)

    def begin_collection(self) -> None:
        """From here to `end_collection` every leased resource counts as held, even if it is released meanwhile."""
        with self._guard:
            self._touched = set().union(*self._held.values())

    def end_collection(self) -> None:
        """Ends what `begin_collection` began."""
        with self._guard:
            self._touched = None

    def delete_unless_held(self, resource: Resource, delete: Deleter) -> int | None:
        """Runs `delete(name)` while no lease can take the resource; None if one has it."""
        with self._guard:
            if self._touched is not None and resource in self._touched:
                return None
            if any(resource in held for held in self._held.values()):
                return None
            return delete(resource.name)

    def hold(self, identity: str, resources: Iterable[Resource]) -> None:
        """These too, from now on."""
        with self._guard:
            held = self._held.setdefault(identity, set())
            new = [resource for resource in dict.fromkeys(resources) if resource not in held]
            if self._touched is not None:
                self._touched.update(new)
            held.update(new)
            if new and not identity.endswith(_BRIEF):
                with (self._root / identity).open("a", encoding="utf-8") as file:
                    file.write("".join(f"{resource}\n" for resource in new))

    def release(self, identity: str) -> None:
        """It holds nothing any more."""
        with self._guard:
            self._held.pop(identity, None)
            self._live.discard(identity)
            if not identity.endswith(_BRIEF):
                (self._root / identity).unlink(missing_ok=True)


class Lease:
    """One operation's hold. `with` releases it at the end; after a failure too, because a retry leases again."""

    def __init__(self, leases: Leases, identity: str) -> None:
        self._leases = leases
        self.id = identity

    def add(self, *resources: Resource) -> None:
        """Holds these from now on."""
        self._leases.hold(self.id, resources)

    def release(self) -> None:
        """Lets everything go."""
        self._leases.release(self.id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


def _parse(path: Path) -> set[Resource]:
    """A last line that a crash cut short holds nothing that exists, and is harmless."""
    resources = set()
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        kind, _, name = line.partition(" ")
        resources.add(Resource(kind, name))
    return resources
