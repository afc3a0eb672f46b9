"""Acts on files of the container's root: nodes, links, the terminal, and what is closed to it. Named in `plan.py`.

What the image or a process of the container may have put in a place is looked at before it is used.
"""

import errno
import os
import stat

from knarr.kernel import mounts, terminal
from knarr.kernel.fd import (
    DEVPTS_SUPER_MAGIC,
    PROC_SUPER_MAGIC,
    RESOLVE_BENEATH,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
    filesystem,
    openat2,
)
from knarr.kernel.libc import AT_EMPTY_PATH, AT_FDCWD, AT_RECURSIVE
from knarr.model.errors import Invalid
from knarr.runtime.acts_mounts import attach, make_file
from knarr.runtime.state import Walk

_FORMS = {"b": stat.S_IFBLK, "p": stat.S_IFIFO, "c": stat.S_IFCHR}
NULL = os.makedev(1, 3)


def device(walk: Walk, path: str, kind: str, major: int, minor: int, mode: int, uid: int, gid: int) -> None:
    """mknod(2). What is already there stays, if it is that device."""
    parent, name = walk.root.open_parent(path, 0o755)
    try:
        os.mknod(name, mode | _FORMS[kind], os.makedev(major, minor), dir_fd=parent)
        if uid or gid:
            os.chown(name, uid, gid, dir_fd=parent, follow_symlinks=False)
    except FileExistsError:
        _same_device(os.stat(name, dir_fd=parent, follow_symlinks=False), path, kind, major, minor)
    except PermissionError:
        device_bind(walk, path, kind, major, minor, mode, uid, gid)
    finally:
        os.close(parent)


def _same_device(found: os.stat_result, path: str, kind: str, major: int, minor: int) -> None:
    wanted = 0 if kind == "p" else os.makedev(major, minor)
    if stat.S_IFMT(found.st_mode) != _FORMS[kind] or (kind != "p" and found.st_rdev != wanted):
        raise Invalid(f"{path} exists in the container, but it is not the device {kind} {major}:{minor}")


def device_bind(
    walk: Walk, path: str, kind: str, major: int, minor: int, mode: int, uid: int, gid: int
) -> None:
    """In a user namespace nobody makes nodes: the host's is bound; its mode and owner are the host's."""
    if kind == "p":
        parent, name = walk.root.open_parent(path, 0o755)
        os.mkfifo(name, mode, dir_fd=parent)
        os.close(parent)
        return
    try:
        tree = mounts.bind_tree(path, recursive=False)
    except FileNotFoundError:
        raise Invalid(f"device {path} is not on the host, and cannot be made in a user namespace") from None
    _same_device(os.fstat(tree), path, kind, major, minor)
    attach(tree, make_file(walk.root, path))


def link(walk: Walk, target: str, path: str) -> None:
    """symlink(2); what is already there stays, but for a ptmx, which must be the container's own."""
    parent, name = walk.root.open_parent(path, 0o755)
    try:
        os.symlink(target, name, dir_fd=parent)
    except FileExistsError:
        if name == "ptmx":
            os.unlink(name, dir_fd=parent)
            os.symlink(target, name, dir_fd=parent)
    finally:
        os.close(parent)


def open_terminal(walk: Walk) -> None:
    """A terminal of the container's devpts; the master goes to the shim, which answers for it from now on."""
    directory = walk.root.open("/dev/pts", os.O_PATH | os.O_DIRECTORY)
    if filesystem(directory) != DEVPTS_SUPER_MAGIC:
        raise Invalid("ptmx handle is not on a real devpts mount: /dev/pts")
    flags = os.O_RDWR | os.O_NOCTTY
    master = openat2(directory, "ptmx", flags, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV)
    os.close(directory)
    terminal.unlock(master)
    walk.slave = terminal.peer(master)
    width, height = walk.console_size
    if width and height:
        terminal.set_size(master, width, height)
    walk.tell({"master": True}, [master])
    os.close(master)


def console(walk: Walk) -> None:
    """/dev/console is the terminal. A link there is refused: it could lead into /proc (CVE-2025-52565)."""
    parent, name = walk.root.open_parent("/dev/console", 0o755)
    resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
    try:
        place = openat2(parent, name, os.O_PATH, 0, resolve)
    except FileNotFoundError:
        place = openat2(parent, name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666, resolve)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise Invalid("/dev/console of the container is a symbolic link") from None
    finally:
        os.close(parent)
    if filesystem(place) == PROC_SUPER_MAGIC:
        raise Invalid("/dev/console of the container is a file of procfs")
    attach(mounts.bind_tree("", dirfd=walk.slave, recursive=False), place)


def null(walk: Walk) -> int:
    """A handle of the container's /dev/null, which must be one (CVE-2025-31133); the walk keeps it."""
    if walk.null < 0:
        walk.null = walk.root.open("/dev/null", os.O_PATH)
        _check_null(walk.null)
    return walk.null


def _check_null(fd: int) -> None:
    found = os.fstat(fd)
    if not stat.S_ISCHR(found.st_mode) or found.st_rdev != NULL:
        raise Invalid("container's /dev/null is invalid")


def open_null(walk: Walk) -> int:
    """The container's /dev/null, to be read and written."""
    null(walk)
    opened = walk.root.open("/dev/null", os.O_RDWR | os.O_NOCTTY)
    _check_null(opened)
    return opened


def readonly(walk: Walk, path: str) -> None:
    """A path that must not be written; a missing one is no error."""
    try:
        place = walk.root.open(path, os.O_PATH)
    except (FileNotFoundError, NotADirectoryError):
        return
    tree = mounts.bind_tree("", dirfd=place)
    mounts.mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, attr_set=mounts.MOUNT_ATTR_RDONLY)
    attach(tree, place)


def mask(walk: Walk, path: str) -> None:
    """Directories are covered by one empty read-only tmpfs, a file by /dev/null; a missing one is no error."""
    try:
        place = walk.root.open(path, os.O_PATH)
    except (FileNotFoundError, NotADirectoryError):
        return
    if not stat.S_ISDIR(os.fstat(place).st_mode):
        attach(mounts.bind_tree("", dirfd=null(walk), recursive=False), place)
    elif walk.blank >= 0:
        attach(mounts.bind_tree("", dirfd=walk.blank, recursive=False), place)
    else:
        limits: list[tuple[str, str | None]] = [("nr_blocks", "1"), ("nr_inodes", "1")]
        tree = mounts.new_mount("tmpfs", "tmpfs", limits, mounts.MOUNT_ATTR_RDONLY)
        walk.blank = os.dup(tree)
        attach(tree, place)


def readonly_root(walk: Walk) -> None:
    """The root alone: what is mounted on it keeps its own mode."""
    mounts.mount_setattr(AT_FDCWD, "/", 0, attr_set=mounts.MOUNT_ATTR_RDONLY)
