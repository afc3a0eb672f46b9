"""Copies a tree between two directories by descriptors: nothing in either can lead out of it.

Owners, modes, times, extended attributes and hard links come along; a mount inside is not entered.
"""

import os
import stat

_CHUNK = 1 << 20


def copy_tree(source: int, target: int) -> None:
    """Everything in the directory `source`, which is readable, into the directory `target`, whose own mode stays."""
    where = os.fstat(source).st_dev
    made = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=target)
    try:
        _copy_entries(source, made, where, {}, made, "")
    finally:
        os.close(made)


def _copy_entries(source: int, target: int, device: int, links: dict[int, str], top: int, path: str) -> None:
    with os.scandir(source) as entries:
        for entry in entries:
            found = entry.stat(follow_symlinks=False)
            inside = f"{path}{entry.name}"
            if found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode):
                if found.st_ino in links:
                    os.link(
                        links[found.st_ino],
                        entry.name,
                        src_dir_fd=top,
                        dst_dir_fd=target,
                        follow_symlinks=False,
                    )
                    continue
                links[found.st_ino] = inside
            if stat.S_ISDIR(found.st_mode):
                _copy_directory(source, target, entry.name, found, device, links, top, inside)
            else:
                _copy_file(source, target, entry.name, found)
                _dress(target, entry.name, found)


def _copy_directory(
    source: int,
    target: int,
    name: str,
    found: os.stat_result,
    device: int,
    links: dict[int, str],
    top: int,
    path: str,
) -> None:
    os.mkdir(name, 0o700, dir_fd=target)
    if found.st_dev == device:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        below = os.open(name, flags, dir_fd=source)
        into = os.open(name, flags, dir_fd=target)
        try:
            _copy_attributes(below, into)
            _copy_entries(below, into, device, links, top, f"{path}/")
        finally:
            os.close(below)
            os.close(into)
    _dress(target, name, found)


def _copy_file(source: int, target: int, name: str, found: os.stat_result) -> None:
    """What is not a directory."""
    if stat.S_ISLNK(found.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        return
    if not stat.S_ISREG(found.st_mode):
        os.mknod(name, found.st_mode, found.st_rdev, dir_fd=target)
        return
    reader = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
    try:
        writer = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target)
        try:
            while os.sendfile(writer, reader, None, _CHUNK):
                continue
            _copy_attributes(reader, writer)
        finally:
            os.close(writer)
    finally:
        os.close(reader)


def _copy_attributes(source: int, target: int) -> None:
    """Those that the target takes."""
    for name in os.listxattr(source):
        try:
            os.setxattr(target, name, os.getxattr(source, name))
        except OSError:
            continue


def _dress(target: int, name: str, found: os.stat_result) -> None:
    """Owner, mode and times; the owner first, because changing it takes set-uid bits away."""
    os.chown(name, found.st_uid, found.st_gid, dir_fd=target, follow_symlinks=False)
    if not stat.S_ISLNK(found.st_mode):
        os.chmod(name, stat.S_IMODE(found.st_mode), dir_fd=target)
    os.utime(name, ns=(found.st_atime_ns, found.st_mtime_ns), dir_fd=target, follow_symlinks=False)
