"""Acts on the root of a container: made, entered, and left by everything of the host. Named in `plan_mounts.py`."""

import errno
import os
from collections.abc import Sequence

from knarr.kernel import mounts
from knarr.kernel.fd import RootFd
from knarr.kernel.files import read_text
from knarr.kernel.libc import AT_FDCWD
from knarr.kernel.process import CLONE_NEWNS, setns, unshare
from knarr.runtime import vacant
from knarr.runtime.acts_mounts import attribute_bits, propagate, propagation
from knarr.runtime.plan_mounts import parse_options
from knarr.runtime.state import Walk

ROOT = -1
"""The root's number among the trees."""


def take_root(walk: Walk, source: str, recursive: bool) -> None:
    """The clone of a directory that becomes the root."""
    walk.trees[ROOT] = mounts.bind_tree(source, recursive=recursive)


def isolate(walk: Walk, word: str) -> None:
    """What is mounted from here on is not seen outside."""
    mounts.mount(None, "/", None, mounts.MS_REC | propagation(word)[0])


def vacate(walk: Walk) -> None:
    """A copy of the vacant namespace, with a place for the root."""
    setns(walk.vacant, CLONE_NEWNS)
    os.close(walk.vacant)
    walk.vacant = -1
    unshare(CLONE_NEWNS)
    walk.place = vacant.PLACE


def root(walk: Walk, kind: str, source: str, words: Sequence[str], slave: bool) -> None:
    """The root, where nobody else has anything mounted in this namespace; only a slave goes on hearing of the host."""
    fd = walk.trees.pop(ROOT, -1)
    if fd < 0:
        fd = make_root(kind, source, words)
    try:
        mounts.attach_mount(fd, AT_FDCWD, walk.place or walk.run_dir)
    except PermissionError:
        mounts.attach_mount(fd, AT_FDCWD, "/")  # a user namespace's root may not get to every directory
    if kind == "bind":
        propagate(fd, "rslave" if slave else "rprivate")
    os.fchdir(fd)
    walk.root = RootFd("/", fd)


def enter_root(walk: Walk, source: str) -> None:
    """Without a mount namespace: a mount of its own, at the directory itself, so that all of it can be unmounted at once."""
    tree = mounts.bind_tree(source)
    mounts.attach_mount(tree, AT_FDCWD, source)
    propagate(tree, "rprivate")
    os.fchdir(tree)
    walk.root = RootFd("/", tree)


def make_root(kind: str, source: str, words: Sequence[str]) -> int:
    """A detached mount of a snapshot: every one is made here. overlayfs takes its layers one by one, so that their number is
    not bound."""
    if kind == "bind":
        return mounts.bind_tree(source, recursive="rbind" in words)
    options = parse_options(words)
    bits = attribute_bits(options.on)
    lowers: list[str] = []
    parameters: list[tuple[str, str | None]] = []
    for word in options.data:
        key, equals, value = word.partition("=")
        if kind == "overlay" and key == "lowerdir":
            lowers += value.split(":")
        else:
            parameters.append((key, value if equals else None))
    if kind == "overlay" and "volatile" in options.data:
        _unmark(dict(parameters).get("workdir") or "")
    try:
        return mounts.new_mount(kind, source, [("lowerdir+", lower) for lower in lowers] + parameters, bits)
    except OSError as error:
        if not lowers or error.errno != errno.EINVAL:
            raise
        return mounts.overlay_by_descriptors(lowers, parameters, bits)


def _unmark(work: str) -> None:
    """A volatile overlay keeps a mark of having been mounted, so that nobody mounts an upper that a crash may have torn
    (overlayfs.rst, "Volatile mount"): ours is thrown away after a crash, and whole after anything less."""
    try:
        os.unlink(f"{work}/work/incompat/volatile/dirty")
        os.rmdir(f"{work}/work/incompat/volatile")
        os.rmdir(f"{work}/work/incompat")
    except FileNotFoundError:
        return  # the first mount


def pivot(walk: Walk) -> None:
    """pivot_root(".", ".") stacks the old root on the new one, then takes it off (pivot_root(2))."""
    walk.close_procfs()
    os.fchdir(walk.root.fileno())
    mounts.pivot_root(".", ".")
    mounts.umount2(".", mounts.MNT_DETACH)
    os.chdir("/")


def move_root(walk: Walk) -> None:
    """Without pivot_root(2): the host's own procfs and sysfs go first, as a chroot could be left (runc, msMoveRoot)."""
    walk.close_procfs()
    home = os.readlink(f"/proc/self/fd/{walk.root.fileno()}")
    for place in _kernel_mounts(home):
        _uncover(place)
    os.fchdir(walk.root.fileno())
    mounts.move_mount(walk.root.fileno(), "", AT_FDCWD, "/", mounts.MOVE_MOUNT_F_EMPTY_PATH)
    os.chroot(".")
    os.chdir("/")


def _kernel_mounts(but_below: str) -> list[str]:
    """Where whole proc and sysfs file systems are mounted (proc_pid_mountinfo(5))."""
    found = []
    for line in read_text("/proc/self/mountinfo").splitlines():
        fields = line.split(" ")
        kind = fields[fields.index("-") + 1]
        place = _unescaped(fields[4])
        if kind in ("proc", "sysfs") and fields[3] == "/" and not f"{place}/".startswith(f"{but_below}/"):
            found.append(place)
    return found


def _unescaped(word: str) -> str:
    """mountinfo writes blanks and backslashes as octal numbers (proc_pid_mountinfo(5))."""
    for written, meant in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
        word = word.replace(written, meant)
    return word


def _uncover(place: str) -> None:
    try:
        mounts.mount(None, place, None, mounts.MS_SLAVE | mounts.MS_REC)
        mounts.umount2(place, mounts.MNT_DETACH)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EPERM):
            raise
        mounts.mount("tmpfs", place, "tmpfs")


def chroot(walk: Walk) -> None:
    """Without a mount namespace there is nothing to pivot."""
    walk.close_procfs()
    os.fchdir(walk.root.fileno())
    os.chroot(".")
    os.chdir("/")


def root_propagation(walk: Walk, word: str) -> None:
    """Of what is the root by now."""
    kind, deep = propagation(word)
    mounts.mount_setattr(AT_FDCWD, "/", deep, propagation=kind)
