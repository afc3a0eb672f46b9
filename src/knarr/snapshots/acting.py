"""What a build does to a tree beside unpacking archives: directories, files, links, removals. Standard library and kernel only.

Every path is resolved under the root's descriptor (openat2 RESOLVE_IN_ROOT): links and ".." end inside. A directory that is
there already keeps its mode, owner and times. Times are nanoseconds, None leaves them.
"""

import os
import posixpath
import stat
from binascii import a2b_base64
from collections.abc import Callable
from typing import Any

from knarr.kernel.fd import Fd, RootFd
from knarr.model.patterns import match
from knarr.snapshots.errors import NoSuchPath, NotADirectory
from knarr.snapshots.tree import remove_below


def make_directory(
    root: RootFd, path: str, mode: int, parents: bool, owner: tuple[int, int], mtime: int | None
) -> dict[str, Any]:
    """Raises NoSuchPath without `parents`. `created`: whether it was not there."""
    where = root.resolve(path)
    if not parents and not root.exists(posixpath.dirname(where)):
        raise NoSuchPath(f"{posixpath.dirname(path)}: no such file or directory")
    return {"created": _make_all(root, where, mode, owner, mtime)}


def _make_all(root: RootFd, path: str, mode: int, owner: tuple[int, int], mtime: int | None) -> bool:
    """What is missing of `path`, without links, each with the mode and the owner; whether the last was."""
    created = False
    walked = ""
    for part in (each for each in path.split("/") if each):
        walked = f"{walked}/{part}"
        parent, name = root.open_parent(walked)
        with Fd(parent) as directory:
            try:
                os.mkdir(name, mode, dir_fd=directory.fileno())
            except FileExistsError:
                created = False
                continue
            created = True
            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory.fileno())
        with Fd(fd) as made:
            _own(made.fileno(), mode, owner, mtime)
    if not stat.S_ISDIR(root.stat(path or "/").st_mode):
        raise NotADirectory(f"mkdir {path}: not a directory")
    return created


def _own(fd: int, mode: int, owner: tuple[int, int], mtime: int | None) -> None:
    os.fchown(fd, *owner)
    os.fchmod(fd, mode)
    if mtime is not None:
        os.utime(fd, ns=(mtime, mtime))


def make_file(
    root: RootFd, path: str, mode: int, data: str, owner: tuple[int, int], mtime: int | None
) -> dict[str, Any]:
    """`data` in base64; a file that is there is written over, a last link followed."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    with Fd(root.open(root.resolve(path), flags, mode)) as fd:
        left = memoryview(a2b_base64(data))
        while left:
            left = left[os.write(fd.fileno(), left) :]
        _own(fd.fileno(), mode, owner, mtime)
    return {}


def make_link(
    root: RootFd, target: str, path: str, owner: tuple[int, int], mtime: int | None
) -> dict[str, Any]:
    """A symbolic link."""
    parent, name = root.open_parent(path)
    with Fd(parent) as directory:
        os.symlink(target, name, dir_fd=directory.fileno())
        os.chown(name, *owner, dir_fd=directory.fileno(), follow_symlinks=False)
        if mtime is not None:
            os.utime(name, ns=(mtime, mtime), dir_fd=directory.fileno(), follow_symlinks=False)
    return {}


def remove(root: RootFd, path: str, missing: bool, wildcard: bool) -> dict[str, Any]:
    """A file or a tree; with `wildcard` all whose last name matches. Raises NoSuchPath unless `missing` may be."""
    head, _, pattern = path.rstrip("/").rpartition("/")
    if pattern in ("", ".", ".."):
        raise NoSuchPath(f"{path}: cannot be removed")
    try:
        fd = root.open(head or "/", os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        if missing:
            return {}
        raise NoSuchPath(f"{path}: no such file or directory") from None
    with Fd(fd) as directory:
        names = [pattern]
        if wildcard:
            names = [name for name in os.listdir(directory.fileno()) if match(pattern, name)]
        for name in names:
            _remove(directory.fileno(), name, path, missing=missing)
    return {}


def _remove(directory: int, name: str, path: str, *, missing: bool) -> None:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        if not missing:
            raise NoSuchPath(f"{path}: no such file or directory") from None
        return
    remove_below(directory, os.fsencode(name))


def place(
    root: RootFd,
    dest: str,
    name: str,
    tree: bool,
    contents: bool,
    mode: int,
    owner: tuple[int, int],
    mtime: int | None,
) -> dict[str, Any]:
    """Where a copy called `name` ends (`tree`: it is a directory, with `contents` only what is in it); makes what is missing.

    `directory` and `name` say where. What was made has `mode` and `owner`, whatever the source's are.
    """
    if dest.endswith("/"):
        _make_all(root, root.resolve(dest), mode, owner, mtime)
    where = root.resolve(dest)
    there = _kind(root, where)
    if (tree and not contents and there is not None) or (not tree and there == stat.S_IFDIR):
        where = root.resolve(f"{where.rstrip('/')}/{name}")
    if tree:
        if there not in (None, stat.S_IFDIR):
            raise NotADirectory(f"cannot copy to non-directory: {dest}")
        _make_all(root, where, mode, owner, mtime)
        return {"directory": where, "name": "."}
    parent, _, last = where.rpartition("/")
    _make_all(root, parent, mode, owner, mtime)
    if _kind(root, where) == stat.S_IFDIR:
        raise NotADirectory(f"cannot replace to directory {where} with file")
    return {"directory": parent or "/", "name": last}


def _kind(root: RootFd, path: str) -> int | None:
    try:
        return stat.S_IFMT(root.stat(path or "/").st_mode)
    except FileNotFoundError:
        return None


ACTS: dict[str, Callable[..., dict[str, Any]]] = {
    "mkdir": make_directory,
    "mkfile": make_file,
    "symlink": make_link,
    "rm": remove,
    "place": place,
}


def act(root: str, kind: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """One act in `root`; `owner` comes as a list."""
    if "owner" in arguments:
        arguments = {**arguments, "owner": tuple(arguments["owner"])}
    umask = os.umask(0)
    try:
        with RootFd(root) as descriptor:
            return ACTS[kind](descriptor, **arguments)
    finally:
        os.umask(umask)
