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
    """syscall(2): bytes and ctypes objects are passed as pointers, None as NULL, integers as C's int, sign-extended.

    What may be wider than 32 bits is wrapped in ctypes.c_long by the caller: doing it here for all would cost more time, and
    more pages of a forked process, than the call itself.
    """
    return check(libc.syscall(number, *arguments), path)


def encoded(text: str | None) -> bytes | None:
    """A path for C; None stays NULL."""
    return None if text is None else os.fsencode(text)
