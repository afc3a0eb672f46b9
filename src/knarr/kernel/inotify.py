"""inotify(7): a descriptor that becomes readable when something below a watched directory changes."""

import os

from knarr.kernel.libc import check, encoded, libc

IN_MODIFY = 0x2
IN_MOVED_TO = 0x80
IN_CREATE = 0x100
_IN_NONBLOCK = os.O_NONBLOCK
_IN_CLOEXEC = os.O_CLOEXEC


def inotify_init() -> int:
    """inotify_init1(2), not blocking, close-on-exec; the caller closes it."""
    return check(libc.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC))


def inotify_add_watch(fd: int, path: str, mask: int) -> int:
    """inotify_add_watch(2)"""
    return check(libc.inotify_add_watch(fd, encoded(path), mask), path)
