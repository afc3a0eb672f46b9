"""A process steps into a container's root to read or write its files: of a running one, or of one that is stopped.

Afterwards "/" is the container's root and nothing of the host can be reached by a path. Single-threaded callers only.
"""

import os
from collections.abc import Mapping
from typing import Any

from knarr.kernel import mounts
from knarr.kernel.fd import RootFd
from knarr.kernel.libc import AT_FDCWD
from knarr.kernel.process import CLONE_NEWNS, setns, unshare
from knarr.runtime.acts_mounts import make_root, place_tree
from knarr.runtime.seal import seal_imports


def enter(view: Mapping[str, Any]) -> None:
    """`view` is wire.zygote's."""
    seal_imports()
    if view.get("pid"):
        fd = os.open(f"/proc/{int(view['pid'])}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        setns(fd, CLONE_NEWNS)
        os.close(fd)
        os.chdir("/")
        return
    unshare(CLONE_NEWNS)
    mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
    trees = [(mounts.bind_tree(source), destination) for source, destination in view.get("binds") or ()]
    ((kind, source, options),) = view["mounts"]
    root = make_root(kind, source, options)
    mounts.attach_mount(root, AT_FDCWD, view["place"])
    os.fchdir(root)
    os.close(root)
    os.chroot(".")
    with RootFd("/") as inside:
        for tree, destination in trees:
            place_tree(inside, tree, destination)
