"""The cgroups that shims made, when no shim is left to remove them. Blocking."""

import contextlib
import errno
import logging
import os
import time

from knarr.kernel.cgroups.hierarchy import Hierarchy
from knarr.kernel.cgroups.open import open_cgroup

log = logging.getLogger(__name__)
_PATIENCE = 10.0


def end_cgroup(path: str, hierarchy: Hierarchy) -> None:
    """Kills what is in it and removes it. A killed process leaves its cgroup a little later (cgroups(7))."""
    cgroup = open_cgroup(path, hierarchy)
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            cgroup.kill()
            cgroup.remove()
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                log.warning("cannot remove cgroup %s: %s", path, error)
                return
            time.sleep(0.002)
        else:
            return


def children(path: str, hierarchy: Hierarchy) -> set[str]:
    """The names of the cgroups directly below `path`, in any hierarchy."""
    names = set()
    for mount in hierarchy.mount_points():
        with contextlib.suppress(FileNotFoundError), os.scandir(f"{mount}{path}") as entries:
            names |= {entry.name for entry in entries if entry.is_dir(follow_symlinks=False)}
    return names


def remove_empty(path: str, hierarchy: Hierarchy) -> None:
    """The parent of a daemon's cgroups goes when nothing is in it."""
    for mount in hierarchy.mount_points():
        with contextlib.suppress(OSError):
            os.rmdir(f"{mount}{path}")
