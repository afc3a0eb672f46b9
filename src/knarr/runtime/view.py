"""A process steps into a container's root to read or write its files: of a running one, or of one that is stopped.

Afterwards "/" is the container's root and nothing of the host can be reached by a path: nor by a device that the container
has made there, for the mounts are seen in a namespace of one's own, without devices. Single-threaded callers only.
"""

import os
from collections.abc import Mapping
from typing import Any

from knarr.kernel import mounts
from knarr.kernel.fd import RootFd
from knarr.kernel.libc import AT_EMPTY_PATH, AT_FDCWD, AT_RECURSIVE
from knarr.kernel.process import CLONE_NEWNS, CLONE_NEWUSER, setns, unshare
from knarr.model.errors import Conflict
from knarr.runtime.acts_mounts import place_tree, tree_below
from knarr.runtime.acts_root import make_root
from knarr.runtime.birth import become_root
from knarr.runtime.seal import seal_imports


def enter(view: Mapping[str, Any]) -> None:
    """`view` is wire.zygote's."""
    seal_imports()
    if view.get("pid"):
        _enter_process(int(view["pid"]), bare=bool(view.get("bare")))
        return
    unshare(CLONE_NEWNS)
    mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
    trees = [(tree_below(source, below), place) for source, place, below in view.get("binds") or ()]
    ((kind, source, options),) = view["mounts"]
    root = make_root(kind, source, options)
    mounts.attach_mount(root, AT_FDCWD, view["place"])
    os.fchdir(root)
    os.close(root)
    os.chroot(".")
    with RootFd("/") as inside:
        for tree, place in trees:
            place_tree(inside, tree, place)
    _without_devices()


def _without_devices() -> None:
    """No control group of the container's stands between this process and what a node names; opening some is an act."""
    mounts.mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, attr_set=mounts.MOUNT_ATTR_NODEV)


def _enter_process(pid: int, *, bare: bool) -> None:
    """With its user namespace, if that is another: owners are then what the container calls them. `bare`: the root alone,
    without what is mounted in it; its clone is made in the container's own namespace, where no mount is locked to another."""
    owner = f"/proc/{pid}/ns/user"
    apart = os.stat(owner).st_ino != os.stat("/proc/self/ns/user").st_ino
    fds = [os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in (f"/proc/{pid}/ns/mnt", owner)]
    if os.path.samestat(os.fstat(fds[0]), os.stat("/proc/self/ns/mnt")):
        raise Conflict("the container is not running")  # a process of the host has its number
    setns(fds[0], CLONE_NEWNS)
    root = mounts.bind_tree("/", recursive=False) if bare else -1
    unshare(CLONE_NEWNS)
    _without_devices()
    if bare:
        mounts.mount_setattr(root, "", AT_EMPTY_PATH, attr_set=mounts.MOUNT_ATTR_NODEV)
    if apart:
        setns(fds[1], CLONE_NEWUSER)
        become_root()
    if bare:
        os.fchdir(root)
        os.close(root)
        os.chroot(".")
    for fd in fds:
        os.close(fd)
    os.chdir("/")
