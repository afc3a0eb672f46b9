"""A cgroup's directory with those below it, which a container may make and remove at any time (cgroups(7))."""

import errno
import os

from knarr.kernel.files import read_text

_GONE = (errno.ENOENT, errno.ENODEV)


def pids_below(directory: str) -> list[int]:
    """Every process in `directory` and below; none where it is missing."""
    found: set[int] = set()
    for where, _, _ in os.walk(directory):
        try:
            found.update(int(word) for word in read_text(f"{where}/cgroup.procs", 16 << 20).split())
        except OSError as error:
            # A threaded cgroup's processes are listed by the domain above it (cgroup-v2.rst, "Threads").
            if error.errno not in (*_GONE, errno.EOPNOTSUPP):
                raise
    return sorted(found - {0})


def remove_tree(directory: str) -> None:
    """Removes it, cgroups below first. A missing one is no error. Raises OSError EBUSY while a process is inside."""
    try:
        _remove(directory)
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
            raise
        below = [where for where, _, _ in os.walk(directory, topdown=False)]
        if len(below) < 2:
            raise
        for where in below:
            _remove(where)


def _remove(directory: str) -> None:
    try:
        os.rmdir(directory)
    except OSError as error:
        if error.errno not in _GONE:
            raise
