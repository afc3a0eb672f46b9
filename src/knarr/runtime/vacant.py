"""A mount namespace with nothing of the host in it but /proc, made once; a container's is a copy of it.

A copy of the host's would have all that is mounted there, as much as containers run, and `pivot_root` would take it all away
again. Single-threaded callers only.
"""

import os
from typing import NoReturn

from knarr.kernel import mounts, process
from knarr.kernel.libc import AT_FDCWD

PLACE = "/root"
"""Where in it a root is put before the pivot."""


def make() -> int:
    """A descriptor of it, -1 where it cannot be made: then there is only the host's. A child makes it, and is gone."""
    source, sink = os.pipe()
    parked, wait = os.pipe()
    pid, pidfd = process.clone3(0)
    if pid == 0:
        os.close(wait)
        _furnish(sink, parked)
    for fd in (sink, parked):
        os.close(fd)
    try:
        return os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC) if os.read(source, 1) else -1
    finally:
        for fd in (source, wait, pidfd):
            os.close(fd)


def _furnish(sink: int, parked: int) -> NoReturn:
    """pivot_root(2) needs a root that is mounted on something: so the tmpfs stands on what the host's root stood on."""
    try:
        process.unshare(process.CLONE_NEWNS)
        mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
        procfs = mounts.bind_tree("/proc", recursive=False)
        root = mounts.new_mount("tmpfs", "tmpfs", [("mode", "755")])
        mounts.attach_mount(root, AT_FDCWD, "/")
        os.fchdir(root)
        for name in ("proc", PLACE[1:]):
            os.mkdir(name, 0o755)
        mounts.pivot_root(".", ".")
        mounts.umount2(".", mounts.MNT_DETACH)
        mounts.attach_mount(procfs, AT_FDCWD, "/proc")
        mounts.mount_setattr(AT_FDCWD, "/", 0, attr_set=mounts.MOUNT_ATTR_RDONLY)
        os.write(sink, b"x")
        os.close(sink)
        os.read(parked, 1)
    finally:
        os._exit(0)
