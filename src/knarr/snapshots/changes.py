"""What a snapshot changed, in docker diff's terms: added, changed, deleted, with the directories above each change.

Lowers are looked up as overlayfs merges them: topmost first, ended by a whiteout, a file in the way or an opaque directory.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from knarr.snapshots import tree
from knarr.snapshots.place import OPAQUE, is_whiteout
from knarr.snapshots.port import Delta

MODIFIED, ADDED, DELETED = 0, 1, 2


class Change(NamedTuple):
    """`kind` is Docker's number: 0 changed, 1 added, 2 deleted; `path` is absolute in the container."""

    kind: int
    path: str


def changes(delta: Delta) -> list[Change]:
    """In the order of their paths."""
    top = os.open(delta.upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = dict(_overlay(top, delta.lowers) if delta.form == "overlay" else _tree(top, delta.lowers))
    finally:
        os.close(top)
    for path in list(found):
        while (path := os.path.dirname(path)) and path not in found:
            found[path] = MODIFIED
    return [Change(kind, f"/{path}") for path, kind in sorted(found.items())]


def _overlay(top: int, lowers: Sequence[str]) -> Iterator[tuple[str, int]]:
    opaque: list[str] = []
    for node in tree.walk(top):
        path = os.fsdecode(node.path)
        below = _look(lowers, path)
        if is_whiteout(node.facts):
            if below is not None:
                yield path, DELETED
            continue
        yield path, ADDED if below is None else MODIFIED
        if stat.S_ISDIR(node.facts.st_mode) and below is not None and _is_opaque(node):
            opaque.append(path)
    for path in opaque:
        for name in sorted(_merged(lowers, path)):
            inner = f"{path}/{name}"
            if not _there(top, inner):
                yield inner, DELETED


def _tree(top: int, lowers: Sequence[str]) -> Iterator[tuple[str, int]]:
    waiting = [""]
    for node in tree.walk(top):
        path = os.fsdecode(node.path)
        below = _look(lowers, path)
        if below is None:
            yield path, ADDED
        elif _differs(node.facts, below):
            yield path, MODIFIED
        if below is not None and stat.S_ISDIR(node.facts.st_mode):
            waiting.append(path)
    for path in waiting:
        for name in sorted(_merged(lowers, path)):
            inner = f"{path}/{name}".lstrip("/")
            if not _there(top, inner):
                yield inner, DELETED


def _differs(one: os.stat_result, other: os.stat_result) -> bool:
    same = ("st_mode", "st_uid", "st_gid", "st_rdev")
    if any(getattr(one, field) != getattr(other, field) for field in same):
        return True
    return not stat.S_ISDIR(one.st_mode) and (one.st_size, one.st_mtime_ns) != (
        other.st_size,
        other.st_mtime_ns,
    )


def _is_opaque(node: tree.Node) -> bool:
    path = f"/proc/self/fd/{node.directory}/{os.fsdecode(node.name)}"
    return OPAQUE in os.listxattr(path, follow_symlinks=False)


def _there(top: int, path: str) -> bool:
    try:
        return not is_whiteout(os.stat(path, dir_fd=top, follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return False


def _look(lowers: Sequence[str], path: str) -> os.stat_result | None:
    """What the merged lowers have at `path`."""
    for lower in lowers:
        found, ended = _in_one(lower, path)
        if found is not None or ended:
            return found
    return None


def _in_one(lower: str, path: str) -> tuple[os.stat_result | None, bool]:
    """What one layer has at `path`, and whether the layers below it do not count."""
    current, facts = lower, None
    ended = False
    for part in path.split("/"):
        if _opaque(current):
            ended = True
        current = f"{current}/{part}"
        try:
            facts = os.lstat(current)
        except FileNotFoundError:
            return None, ended
        if is_whiteout(facts):
            return None, True
        if not stat.S_ISDIR(facts.st_mode) and current != f"{lower}/{path}":
            return None, True
    return facts, ended


def _opaque(directory: str) -> bool:
    return OPAQUE in os.listxattr(directory, follow_symlinks=False)


def _merged(lowers: Sequence[str], path: str) -> set[str]:
    """The names that the merged lowers have in directory `path`."""
    names: set[str] = set()
    gone: set[str] = set()
    for lower in lowers:
        directory = f"{lower}/{path}" if path else lower
        facts, ended = _in_one(lower, path) if path else (os.lstat(lower), False)
        if facts is not None and stat.S_ISDIR(facts.st_mode):
            hidden, shown = _listed(directory)
            names |= shown - gone
            gone |= hidden
            ended = ended or _opaque(directory)
        if ended or (facts is not None and not stat.S_ISDIR(facts.st_mode)):
            break
    return names


def _listed(directory: str) -> tuple[set[str], set[str]]:
    """The names that one layer's directory deletes, and those that it has."""
    hidden: set[str] = set()
    shown: set[str] = set()
    with os.scandir(directory) as entries:
        for entry in entries:
            (hidden if is_whiteout(entry.stat(follow_symlinks=False)) else shown).add(entry.name)
    return hidden, shown
