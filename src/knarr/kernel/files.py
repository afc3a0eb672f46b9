"""Files of the host: written whole or not at all, read small."""

import itertools
import os

from knarr.kernel.libc import check, libc

_serial = itertools.count()


def write_all(fd: int, data: "bytes | memoryview") -> None:
    """write(2) until everything is out."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def write_atomic(path: str, data: bytes, mode: int = 0o644, sync: bool = True) -> None:
    """Replaces `path` in one step: temporary file beside it, fsync, rename, fsync of the directory.

    A crash leaves the old file or the new one; a failure leaves no temporary file.
    """
    temporary = f"{path}.{os.getpid()}.{next(_serial)}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        try:
            write_all(fd, data)
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    if sync:
        sync_directory(os.path.dirname(path) or ".")


def sync_directory(path: str) -> None:
    """fsync(2) of a directory, which makes a rename in it last."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read_text(path: str, limit: int = 1 << 20) -> str:
    """A small file, such as one of /proc or a cgroup's."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = bytearray()
        while len(data) < limit and (chunk := os.read(fd, 65536)):
            data += chunk
        return data.decode(errors="replace")
    finally:
        os.close(fd)


def write_text(path: str, text: str) -> None:
    """One write(2) to an existing kernel file, such as a cgroup's or a sysctl; the error names the path."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        os.close(fd)


def syncfs(path: str) -> None:
    """syncfs(2) of the file system that `path` is on."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        check(libc.syncfs(fd), path)
    finally:
        os.close(fd)
