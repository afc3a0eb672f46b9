"""mount(2), the new mount API (fsopen(2) and friends), pivot_root(2).

The new API takes descriptors, so a mount never depends on a path that an image could have changed, and an overlay may have
up to 500 lower layers where one page of options of mount(2) holds some 80.
"""

import ctypes
import errno
import os

from knarr.kernel import numbers
from knarr.kernel.libc import AT_EMPTY_PATH, AT_FDCWD, AT_RECURSIVE, check, encoded, libc, syscall

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_SYNCHRONOUS = 16
MS_REMOUNT = 32
MS_MANDLOCK = 64
MS_DIRSYNC = 128
MS_NOSYMFOLLOW = 256
MS_NOATIME = 1024
MS_NODIRATIME = 2048
MS_BIND = 4096
MS_MOVE = 8192
MS_REC = 16384
MS_SILENT = 32768
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MS_I_VERSION = 1 << 23
MS_STRICTATIME = 1 << 24
MS_LAZYTIME = 1 << 25

MNT_FORCE = 1
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 0x04
MOVE_MOUNT_T_SYMLINKS = 0x10
MOVE_MOUNT_T_EMPTY_PATH = 0x40
FSOPEN_CLOEXEC = 1
FSMOUNT_CLOEXEC = 1
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_SET_BINARY = 2
FSCONFIG_SET_PATH = 3
FSCONFIG_SET_FD = 5
FSCONFIG_CMD_CREATE = 6
FSCONFIG_CMD_RECONFIGURE = 7

MOUNT_ATTR_RDONLY = 0x01
MOUNT_ATTR_NOSUID = 0x02
MOUNT_ATTR_NODEV = 0x04
MOUNT_ATTR_NOEXEC = 0x08
MOUNT_ATTR__ATIME = 0x70
MOUNT_ATTR_RELATIME = 0x00
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_IDMAP = 0x100000
MOUNT_ATTR_NOSYMFOLLOW = 0x200000


def mount(
    source: str | None, target: str, fstype: str | None = None, flags: int = 0, data: str | None = None
) -> None:
    """mount(2)"""
    check(
        libc.mount(encoded(source), encoded(target), encoded(fstype), ctypes.c_ulong(flags), encoded(data)),
        source,
        target,
    )


def umount2(target: str, flags: int = 0) -> None:
    """umount2(2)"""
    check(libc.umount2(encoded(target), flags), target)


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2)"""
    syscall(numbers.PIVOT_ROOT, encoded(new_root), encoded(put_old), path=new_root)


def open_tree(dirfd: int, path: str, flags: int) -> int:
    """open_tree(2); with OPEN_TREE_CLONE a detached bind mount (AT_RECURSIVE for a recursive one)."""
    return syscall(numbers.OPEN_TREE, dirfd, encoded(path), flags | OPEN_TREE_CLOEXEC, path=path)


def move_mount(from_fd: int, from_path: str, to_fd: int, to_path: str, flags: int) -> None:
    """move_mount(2)"""
    syscall(numbers.MOVE_MOUNT, from_fd, encoded(from_path), to_fd, encoded(to_path), flags, path=to_path)


def fsopen(fstype: str) -> int:
    """fsopen(2)"""
    return syscall(numbers.FSOPEN, encoded(fstype), FSOPEN_CLOEXEC, path=fstype)


def fsconfig(fd: int, command: int, key: str | None = None, value: "str | None" = None, aux: int = 0) -> None:
    """fsconfig(2); the kernel's own words for a failure are in the error's text (see `fs_messages`)."""
    try:
        syscall(numbers.FSCONFIG, fd, command, encoded(key), encoded(value), aux, path=value or key)
    except OSError as error:
        said = fs_messages(fd)
        if said:
            raise OSError(error.errno, f"{error.strerror} ({said})", error.filename) from None
        raise


def fs_messages(fd: int) -> str:
    """What the kernel logged on a file system context: "e overlay: …" lines joined (fsopen(2), "Message retrieval")."""
    lines = []
    while True:
        try:
            lines.append(os.read(fd, 4096).decode(errors="replace").strip())
        except OSError:
            return "; ".join(line.partition(" ")[2] or line for line in lines)


def fsmount(fd: int, attributes: int = 0) -> int:
    """fsmount(2): a detached mount."""
    return syscall(numbers.FSMOUNT, fd, FSMOUNT_CLOEXEC, attributes)


def mount_setattr(
    dirfd: int,
    path: str,
    flags: int,
    *,
    attr_set: int = 0,
    attr_clr: int = 0,
    propagation: int = 0,
    userns_fd: int = 0,
) -> None:
    """mount_setattr(2)"""
    attributes = (ctypes.c_uint64 * 4)(attr_set, attr_clr, propagation, userns_fd)
    syscall(numbers.MOUNT_SETATTR, dirfd, encoded(path), flags, attributes, 32, path=path)


def new_mount(
    fstype: str, source: str, parameters: "list[tuple[str, str | None]]", attributes: int = 0
) -> int:
    """A detached mount of a new file system: fsopen, fsconfig for each (key, value or None for a flag), fsmount."""
    fd = fsopen(fstype)
    try:
        if source:
            fsconfig(fd, FSCONFIG_SET_STRING, "source", source)
        for key, value in parameters:
            fsconfig(fd, FSCONFIG_SET_FLAG if value is None else FSCONFIG_SET_STRING, key, value)
        fsconfig(fd, FSCONFIG_CMD_CREATE)
        return fsmount(fd, attributes)
    finally:
        os.close(fd)


def overlay_by_descriptors(
    lowers: "list[str]", parameters: "list[tuple[str, str | None]]", attributes: int = 0
) -> int:
    """A detached overlay for kernels without `lowerdir+` (before 6.5), and for paths that are too long for fsconfig(2).

    A value may have 255 bytes, for all layers together: so descriptors are opened on the directories, and their numbers
    are the paths, relative to /proc/self/fd. For single-threaded callers: the working directory is there meanwhile.
    """
    opened = [os.open(".", os.O_PATH | os.O_CLOEXEC)]

    def number(path: str) -> str:
        opened.append(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        return str(opened[-1])

    try:
        short: list[tuple[str, str | None]] = [("lowerdir", ":".join(map(number, lowers)))]
        short += [
            (key, number(value) if key in ("upperdir", "workdir") and value else value)
            for key, value in parameters
        ]
        os.chdir("/proc/self/fd")
        return new_mount("overlay", "overlay", short, attributes)
    finally:
        os.fchdir(opened[0])
        for fd in opened:
            os.close(fd)


def bind_tree(path: str, *, dirfd: int = AT_FDCWD, recursive: bool = True) -> int:
    """A detached bind mount of `path`; "" with `dirfd` means the descriptor itself."""
    flags = OPEN_TREE_CLONE | (AT_RECURSIVE if recursive else 0) | (0 if path else AT_EMPTY_PATH)
    return open_tree(dirfd, path, flags)


def attach_mount(mount_fd: int, dirfd: int, path: str = "") -> None:
    """Puts a detached mount on `path` below `dirfd`, or on `dirfd` itself."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | (0 if path else MOVE_MOUNT_T_EMPTY_PATH)
    move_mount(mount_fd, "", dirfd, path, flags)


def is_mount_error(error: OSError) -> bool:
    """Whether umount2 found nothing mounted (EINVAL) or nothing at all (ENOENT)."""
    return error.errno in (errno.EINVAL, errno.ENOENT)
