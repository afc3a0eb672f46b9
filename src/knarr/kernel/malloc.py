"""A process's memory, told to be small: glibc's allocator (mallopt(3), malloc_trim(3); elsewhere nothing happens), and pages
of programs that only starting needed (madvise(2))."""

import ctypes

from knarr.kernel.libc import check, libc

_M_ARENA_MAX = -8
_MADV_DONTNEED = 4
_FIXED = (b"r-xp", b"r--p")


def one_arena() -> None:
    """All threads take from one heap; by default each has one of its own, whose pages stay when it is done. Call it first."""
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_ARENA_MAX, 1)


def trim() -> None:
    """Gives pages that are free back to the kernel."""
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def forget_code() -> None:
    """Unmaps the pages of executable code and of constants: those that are used again come back from the page cache, by
    themselves.

    Only private mappings of files that were never written to, by relocations least of all, may be let go: such have no page
    of their own, in memory or swapped out (proc_pid_smaps(5)).
    """
    found: list[tuple[int, int]] = []
    place = (0, 0)
    with open("/proc/self/smaps", "rb") as lines:
        for line in lines:
            fields = line.split(None, 5)
            if not fields[0].endswith(b":"):
                kept = fields[1] in _FIXED and len(fields) == 6 and fields[5].startswith(b"/")
                place = _ends(fields[0]) if kept else (0, 0)
            elif fields[0] in (b"Anonymous:", b"Swap:") and fields[1] != b"0":
                place = (0, 0)
            elif fields[0] == b"VmFlags:" and place[1]:
                found.append(place)
    for begin, end in found:
        check(libc.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), _MADV_DONTNEED))


def _ends(words: bytes) -> tuple[int, int]:
    begin, end = words.split(b"-")
    return int(begin, 16), int(end, 16)
