"""The C library by ctypes, and how its failures become OSError.

Scope: loading, calling convention and errno. Every wrapper in this room goes through `check`, so an error always carries
errno and, where there is one, the path.
"""

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_SYMLINK_NOFOLLOW = 0x100
AT_RECURSIVE = 0x8000


def raise_errno(path: str | None = None, other: str | None = None) -> None:
    """Raises OSError of the calling thread's errno."""
    number = ctypes.get_errno()
    if other is not None:
        raise OSError(number, os.strerror(number), path, None, other)
    if path is not None:
        raise OSError(number, os.strerror(number), path)
    raise OSError(number, os.strerror(number))


def check(result: int, path: str | None = None, other: str | None = None) -> int:
    """`result`, or OSError where it is negative."""
    if result < 0:
        raise_errno(path, other)
    return result


def syscall(number: int, *arguments: object, path: str | None = None) -> int:
    """syscall(2): integers are passed as longs, bytes and ctypes objects as pointers."""
    values = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return check(libc.syscall(ctypes.c_long(number), *values), path)


def encoded(text: str | None) -> bytes | None:
    """A path for C; None stays NULL."""
    return None if text is None else os.fsencode(text)
