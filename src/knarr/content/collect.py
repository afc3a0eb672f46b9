"""Mark and sweep: what no root reaches and no lease holds is deleted.

The caller gives the roots (a function, called after the leases were read, so that nothing slips between a lease and its row)
and the references of each resource (a manifest names its blobs, an image its layers).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from knarr.content.leases import Leases, Resource


class Kind(NamedTuple):
    """How one kind of resource is listed and deleted; `delete` returns the bytes freed."""

    walk: Callable[[], Iterable[str]]
    delete: Callable[[str], int]


class Collected(NamedTuple):
    """What was deleted, and the bytes it took."""

    removed: tuple[Resource, ...]
    freed: int


def mark(
    roots: Iterable[Resource], references: Callable[[Resource], Iterable[Resource]]
) -> frozenset[Resource]:
    """Every resource that the roots reach."""
    reached: set[Resource] = set()
    waiting = list(roots)
    while waiting:
        resource = waiting.pop()
        if resource not in reached:
            reached.add(resource)
            waiting.extend(references(resource))
    return frozenset(reached)


def collect(
    leases: Leases,
    roots: Callable[[], Iterable[Resource]],
    references: Callable[[Resource], Iterable[Resource]],
    kinds: Mapping[str, Kind],
) -> Collected:
    """Deletes the unreachable resources of `kinds`. One collection at a time, while anything else goes on."""
    leases.begin_collection()
    try:
        reached = mark([*leases.held(), *roots()], references)
        return _sweep(leases, reached, kinds)
    finally:
        leases.end_collection()


def _sweep(leases: Leases, reached: frozenset[Resource], kinds: Mapping[str, Kind]) -> Collected:
    removed: list[Resource] = []
    freed = 0
    for name, kind in kinds.items():
        for resource in [Resource(name, found) for found in kind.walk()]:
            if resource in reached:
                continue
            size = leases.delete_unless_held(resource, kind.delete)
            if size is not None:
                removed.append(resource)
                freed += size
    return Collected(tuple(removed), freed)
