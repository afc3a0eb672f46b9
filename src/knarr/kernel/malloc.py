"""glibc's allocator, told to be small (mallopt(3), malloc_trim(3)). Elsewhere nothing happens."""

from knarr.kernel.libc import libc

_M_ARENA_MAX = -8


def one_arena() -> None:
    """All threads take from one heap; by default each has one of its own, whose pages stay when it is done. Call it first."""
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_ARENA_MAX, 1)


def trim() -> None:
    """Gives pages that are free back to the kernel."""
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
