"""What a step's mounts leave in its root: empty files and directories that were made only to be mounted over. Blocking."""

import os
from collections.abc import Iterable

from knarr.engine.views import BOUND
from knarr.snapshots.changes import ADDED, Change, changes
from knarr.snapshots.port import Delta

_MADE = ("/dev", "/proc", "/sys", "/dev/shm", "/dev/pts", "/dev/mqueue", "/dev/console")


def stubs(delta: Delta, mounted: Iterable[str]) -> tuple[str, ...]:
    """Paths below the root that a layer shall not have. A directory is one only if nothing is in it."""
    found = {each.path: each for each in changes(delta)}
    names = {*BOUND, *_MADE, *(path.rstrip("/") for path in mounted)}
    left_out: set[str] = set()
    for name in sorted(names, key=len, reverse=True):
        path = name
        while path.strip("/") and _stub(path, found, left_out, delta):
            left_out.add(path)
            path = os.path.dirname(path)
    return tuple(sorted(path[1:] for path in left_out))


def _stub(path: str, found: dict[str, Change], left_out: set[str], delta: Delta) -> bool:
    change = found.get(path)
    if change is None or change.kind != ADDED:
        return False
    full = f"{delta.upper}{path}"
    if os.path.isdir(full) and not os.path.islink(full):
        return all(f"{path}/{name}" in left_out for name in os.listdir(full))
    return os.path.isfile(full) and os.path.getsize(full) == 0
