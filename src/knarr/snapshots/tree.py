"""Walking, measuring and deleting trees that somebody hostile may have made. Standard library only.

Nothing is followed: each directory is opened below its parent's descriptor. Depth costs neither descriptors nor recursion:
levels past `_HELD` are left by "..", and the inode found there must be the one that was entered.
"""

import errno
import os
import stat
from collections.abc import Collection, Iterator
from typing import NamedTuple

_HELD = 64
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Node(NamedTuple):
    """One file: `name` in the open `directory` (valid until the next step), `path` from the walk's top."""

    directory: int
    name: bytes
    path: bytes
    facts: os.stat_result


class _Level(NamedTuple):
    identity: tuple[int, int]
    path: bytes
    names: Iterator[bytes]


def names(directory: int) -> list[bytes]:
    """The directory's entries in the order of their bytes."""
    return sorted(os.fsencode(name) for name in os.listdir(directory))


def walk(top: int, closed: Collection[bytes] = ()) -> Iterator[Node]:
    """Everything below the directory `top`, parents first, names in order, but nothing below the paths `closed`. What vanishes
    meanwhile is left out."""
    current = os.dup(top)
    levels: list[_Level] = []
    held: list[int] = []
    try:
        levels.append(_level(current, b""))
        while levels:
            name = next(levels[-1].names, None)
            if name is None:
                levels.pop()
                current = _leave(current, levels, held)
                continue
            facts = _facts(current, name)
            if facts is None:
                continue
            path = levels[-1].path + name
            yield Node(current, name, path, facts)
            if stat.S_ISDIR(facts.st_mode) and path not in closed:
                current = _enter(current, name, path, levels, held)
    finally:
        for descriptor in {*held, current}:
            if descriptor >= 0:
                os.close(descriptor)


def _identity(facts: os.stat_result) -> tuple[int, int]:
    return facts.st_dev, facts.st_ino


def _facts(directory: int, name: bytes) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _enter(current: int, name: bytes, path: bytes, levels: list[_Level], held: list[int]) -> int:
    """The new current directory, or the old one if the name stopped being a directory."""
    try:
        inner = os.open(name, _DIRECTORY, dir_fd=current)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return current
        raise
    try:
        levels.append(_level(inner, path + b"/"))
    except BaseException:
        os.close(inner)
        raise
    if len(held) < _HELD:
        held.append(current)
    else:
        os.close(current)
    return inner


def _level(directory: int, path: bytes) -> _Level:
    return _Level(_identity(os.fstat(directory)), path, iter(names(directory)))


def _leave(current: int, levels: list[_Level], held: list[int]) -> int:
    """Back to the parent: by its held descriptor, or by ".." and a look at who that is."""
    if not levels:
        os.close(current)
        return -1
    if held and len(levels) <= len(held):
        os.close(current)
        return held.pop()
    outer = os.open(b"..", _DIRECTORY, dir_fd=current)
    if _identity(os.fstat(outer)) != levels[-1].identity:
        os.close(outer)
        raise OSError(errno.ESTALE, "the tree was moved while it was read", os.fsdecode(levels[-1].path))
    os.close(current)
    return outer


class Measure(NamedTuple):
    """Bytes in whole blocks, each hard link once, and the number of inodes."""

    size: int
    inodes: int


def measure(path: str) -> Measure:
    """What the tree takes on disk, its top directory included."""
    top = os.open(path, _DIRECTORY)
    try:
        size, inodes = os.fstat(top).st_blocks * 512, 1
        linked: set[tuple[int, int]] = set()
        for node in walk(top):
            facts = node.facts
            if facts.st_nlink > 1 and not stat.S_ISDIR(facts.st_mode):
                if _identity(facts) in linked:
                    continue
                linked.add(_identity(facts))
            size += facts.st_blocks * 512
            inodes += 1
    finally:
        os.close(top)
    return Measure(size, inodes)


def remove_tree(path: str) -> None:
    """Deletes the tree, however deep: what lies deeper than `_HELD` levels is moved up first. Gone already is no error."""
    try:
        top = os.open(path, _DIRECTORY)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        os.unlink(path)
        return
    try:
        for name in names(top):
            remove_below(top, name)
        os.rmdir(path)
    finally:
        os.close(top)


def discard_tree(path: str) -> None:
    """As `remove_tree`; what cannot be deleted now is left for the next sweep."""
    try:
        remove_tree(path)
    except OSError:
        return


def remove_below(directory: int, name: bytes) -> None:
    """Deletes one entry of the open directory, whatever it is, with everything below it."""
    waiting = [name]
    while waiting:
        _remove(directory, waiting.pop(), directory, waiting, 0)


def _remove(directory: int, name: bytes, top: int, moved: list[bytes], depth: int) -> None:
    try:
        os.unlink(name, dir_fd=directory)
        return
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        inner = os.open(name, _DIRECTORY, dir_fd=directory)
    try:
        for child in names(inner):
            if depth < _HELD:
                _remove(inner, child, top, moved, depth + 1)
            else:
                moved.append(f".{os.urandom(12).hex()}".encode())
                os.rename(child, moved[-1], src_dir_fd=inner, dst_dir_fd=top)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=directory)
