"""A process's memory, told to be small: glibc's allocator (mallopt(3), malloc_trim(3); elsewhere nothing happens), and pages
of programs that only starting needed (madvise(2))."""

import ctypes

from knarr.kernel.files import read_text
from knarr.kernel.libc import check, libc

_M_ARENA_MAX = -8
_MADV_DONTNEED = 4


def one_arena() -> None:
    """All threads take from one heap; by default each has one of its own, whose pages stay when it is done. Call it first."""
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_ARENA_MAX, 1)


def trim() -> None:
    """Gives pages that are free back to the kernel."""
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def forget_code() -> None:
    """Unmaps the pages of executable code: those that are run again come back from the page cache, by themselves.

    Only mappings that were never written to (no relocations) may be let go: code is one, the data beside it is not.
    """
    for line in read_text("/proc/self/maps").splitlines():
        fields = line.split(None, 5)
        if len(fields) == 6 and fields[1] == "r-xp" and fields[5].startswith("/"):
            begin, end = (int(number, 16) for number in fields[0].split("-"))
            check(
                libc.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), _MADV_DONTNEED), fields[5]
            )
