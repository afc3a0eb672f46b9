"""Acts on mounts. Each is named in `plan.py` and decides nothing that the plan knows.

The root is built through its RootFd, so that no link of an image and no magic link of /proc leads out; only sources, which
are the configuration's, are opened by their paths on the host.
"""

import errno
import os
import stat
from collections.abc import Sequence

from knarr.kernel import mounts
from knarr.kernel.fd import (
    PROC_SUPER_MAGIC,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_SYMLINKS,
    RootFd,
    filesystem,
    openat2,
)
from knarr.kernel.libc import AT_EMPTY_PATH, AT_RECURSIVE
from knarr.kernel.process import CLONE_NEWNS, setns
from knarr.model.errors import Invalid
from knarr.runtime.acts_procfs import selinux_is_on
from knarr.runtime.copying import copy_tree
from knarr.runtime.plan_mounts import Options, check_place
from knarr.runtime.state import Walk

_BITS = {
    "ro": mounts.MOUNT_ATTR_RDONLY,
    "nosuid": mounts.MOUNT_ATTR_NOSUID,
    "nodev": mounts.MOUNT_ATTR_NODEV,
    "noexec": mounts.MOUNT_ATTR_NOEXEC,
    "noatime": mounts.MOUNT_ATTR_NOATIME,
    "nodiratime": mounts.MOUNT_ATTR_NODIRATIME,
    "strictatime": mounts.MOUNT_ATTR_STRICTATIME,
    "relatime": mounts.MOUNT_ATTR_RELATIME,
    "nosymfollow": mounts.MOUNT_ATTR_NOSYMFOLLOW,
}
_ATIMES = frozenset(("noatime", "strictatime", "relatime"))
_TIMES = mounts.MOUNT_ATTR__ATIME | mounts.MOUNT_ATTR_NODIRATIME
_LOCKED = (
    mounts.MOUNT_ATTR_RDONLY | mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NODEV | mounts.MOUNT_ATTR_NOEXEC
)
"""The same numbers as statvfs(3)'s."""
_SWITCHES = _LOCKED | mounts.MOUNT_ATTR_NOSYMFOLLOW
_PROPAGATION = {
    "private": mounts.MS_PRIVATE,
    "slave": mounts.MS_SLAVE,
    "shared": mounts.MS_SHARED,
    "unbindable": mounts.MS_UNBINDABLE,
}
_REMOUNT = {
    "ro": mounts.MS_RDONLY,
    "nosuid": mounts.MS_NOSUID,
    "nodev": mounts.MS_NODEV,
    "noexec": mounts.MS_NOEXEC,
    "noatime": mounts.MS_NOATIME,
    "nodiratime": mounts.MS_NODIRATIME,
    "strictatime": mounts.MS_STRICTATIME,
    "relatime": mounts.MS_RELATIME,
    "nosymfollow": mounts.MS_NOSYMFOLLOW,
    "sync": mounts.MS_SYNCHRONOUS,
    "dirsync": mounts.MS_DIRSYNC,
    "lazytime": mounts.MS_LAZYTIME,
    "mand": mounts.MS_MANDLOCK,
    "iversion": mounts.MS_I_VERSION,
    "silent": mounts.MS_SILENT,
}
_SUPER_BLOCK = frozenset(("sync", "dirsync", "lazytime", "mand"))
"""What fsconfig(2) takes; `silent` would quieten the log, which is not used, and `iversion` is always on (Linux 6.2)."""
_OF_THE_KERNEL = frozenset(("proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2", "devtmpfs"))
"""For all others read-only is said to the file system itself, too: its medium may not be writable."""


def attribute_bits(words: Sequence[str]) -> int:
    """Attribute words as MOUNT_ATTR_* bits."""
    bits = 0
    for word in words:
        bits |= _BITS[word]
    return bits


def take(walk: Walk, number: int, source: str, destination: str, recursive: bool, below: str = "") -> None:
    """Clones the mount at `source` of the host, or of the mount namespace of a process ("pid:N/path"); of a volume perhaps
    only what is `below`."""
    try:
        if source.startswith("pid:"):
            pid, _, path = source[4:].partition("/")
            walk.trees[number] = _take_from(pid, path, recursive)
        else:
            walk.trees[number] = tree_below(source, below, recursive=recursive)
    except OSError as error:
        raise _unmountable(error, f"{source}/{below}" if below else source, destination) from None


def tree_below(source: str, below: str = "", *, recursive: bool = True) -> int:
    """A clone of `source`, or of a path in it that is found without leaving it, whatever links a container put there."""
    if not below:
        return mounts.bind_tree(source, recursive=recursive)
    with RootFd(source) as inside:
        place = inside.open(below, os.O_PATH)
        try:
            return mounts.bind_tree("", dirfd=place, recursive=recursive)
        finally:
            os.close(place)


def take_own(walk: Walk, number: int, source: str, destination: str, recursive: bool) -> None:
    """The same for what is in the new root already."""
    try:
        place = walk.root.open(source, os.O_PATH)
        walk.trees[number] = mounts.bind_tree("", dirfd=place, recursive=recursive)
        os.close(place)
    except OSError as error:
        raise _unmountable(error, source, destination) from None


def _unmountable(error: OSError, source: str, destination: str) -> OSError:
    return OSError(error.errno, error.strerror, f'error mounting "{source}" to rootfs at "{destination}"')


def _take_from(pid: str, path: str, recursive: bool) -> int:
    own = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    other = os.open(f"/proc/{int(pid)}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    setns(other, CLONE_NEWNS)
    try:
        return mounts.bind_tree(f"/{path}", recursive=recursive)
    finally:
        setns(own, CLONE_NEWNS)
        os.close(own)
        os.close(other)


def take_cgroups(walk: Walk) -> None:
    """Version 1: a clone of the container's directory in each hierarchy. Version 2 needs none: it is mounted anew."""
    if walk.cgroup is None or walk.cgroup.version == 2:
        return
    by_directory: dict[str, list[str]] = {}
    for name, directory in walk.cgroup.paths().items():
        by_directory.setdefault(directory, []).append(name.removeprefix("name="))
    for directory, names in by_directory.items():
        walk.cgroup_trees.append((tuple(names), mounts.bind_tree(directory, recursive=False)))


def bind(walk: Walk, number: int, destination: str, options: Options) -> None:
    """Puts a taken tree in its place; a missing place is made, a directory for a directory and a file for a file."""
    tree = walk.trees.pop(number)
    try:
        _configure(walk, tree, options)
        place = _place(walk, destination, "bind", stat.S_ISDIR(os.fstat(tree).st_mode))
        if destination == "/proc" and filesystem(tree) != PROC_SUPER_MAGIC:
            raise Invalid(f'"{destination}" cannot be mounted because it is not of type proc')
        attach(tree, place)
    except OSError as error:
        raise OSError(error.errno, error.strerror, f'error mounting to rootfs at "{destination}"') from None


def _place(walk: Walk, path: str, kind: str, directory: bool = True) -> int:
    """Opens where something is to be mounted; a missing one is made.

    A path without links is what the plan has judged. Any other is judged where it led to: a link may have come into the way
    at any moment (CVE-2019-19921, CVE-2021-30465), and what counts is the descriptor that the mount will be put on.
    """
    flags = os.O_PATH | (os.O_DIRECTORY if directory else 0)
    try:
        return openat2(walk.root.fileno(), path, flags, 0, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS)
    except FileNotFoundError:
        ordinary = True
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        ordinary = False
    if kind in ("proc", "sysfs") and not ordinary:
        raise Invalid(f'filesystem "{kind}" must be mounted on ordinary directory')
    place = walk.root.mkdirs(path) if directory else make_file(walk.root, path)
    try:
        _check_resolved(walk, place, path, kind)
    except Invalid:
        os.close(place)
        raise
    return place


def _check_resolved(walk: Walk, place: int, path: str, kind: str) -> None:
    base = os.readlink(f"/proc/self/fd/{walk.root.fileno()}").rstrip("/")
    resolved = os.readlink(f"/proc/self/fd/{place}").removeprefix(base) or "/"
    if resolved != path and kind in ("proc", "sysfs"):
        raise Invalid(f'filesystem "{kind}" must be mounted on ordinary directory')
    check_place(resolved, kind)
    if resolved == "/proc" and path != "/proc" and kind == "bind":
        raise Invalid(f'"{path}" cannot be mounted because it leads to /proc')


def place_tree(inside: RootFd, tree: int, destination: str) -> None:
    """Attaches a detached mount at a path of a root, and closes its descriptor."""
    is_directory = stat.S_ISDIR(os.fstat(tree).st_mode)
    attach(tree, inside.mkdirs(destination) if is_directory else make_file(inside, destination))


def make_file(root: RootFd, path: str) -> int:
    """What is at `path`, or an empty file made there, where a link that leads nowhere leads to."""
    try:
        return root.open(path, os.O_PATH)
    except FileNotFoundError:
        path = root.resolve(path)
        parent, name = root.open_parent(path, 0o755)
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=parent))
        os.close(parent)
        return root.open(path, os.O_PATH)


def attach(tree: int, place: int) -> None:
    """Both descriptors are closed."""
    mounts.attach_mount(tree, place)
    os.close(tree)
    os.close(place)


def _configure(walk: Walk, tree: int, options: Options) -> None:
    """Settings of one mount, then of everything below, then who hears of it."""
    if options.on or options.off:
        _set_all(tree, options, locked=walk.space.own_user)
    _set(tree, AT_RECURSIVE, options.recursive, options.recursive_off)
    for word in options.propagation:
        propagate(tree, word)


def _set_all(tree: int, options: Options, *, locked: bool) -> None:
    """As "mount -o bind,…" and runc: of a bind that asks for anything, what it does not ask for is off.

    The access time stays unless it is named. In a user namespace what the host has set stays (mount_namespaces(7)).
    """
    on, clear = attribute_bits(options.on), _SWITCHES
    named = not _ATIMES.isdisjoint(options.on) or "nodiratime" in options.on
    if named:
        clear |= _TIMES
    if locked:
        flags = os.fstatvfs(tree).f_flag
        host = flags & _LOCKED
        if host & attribute_bits(options.off) or (named and on & _TIMES != _times(flags)):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        on |= host
    mounts.mount_setattr(
        tree, "", AT_EMPTY_PATH, attr_set=on, attr_clr=clear & ~on | clear & mounts.MOUNT_ATTR__ATIME
    )


def _times(flags: int) -> int:
    """statvfs(3) flags of the access time as MOUNT_ATTR_* bits."""
    kind = mounts.MOUNT_ATTR_NOATIME if flags & os.ST_NOATIME else 0
    if not kind and not flags & os.ST_RELATIME:
        kind = mounts.MOUNT_ATTR_STRICTATIME
    return kind | (mounts.MOUNT_ATTR_NODIRATIME if flags & os.ST_NODIRATIME else 0)


def _set(tree: int, deep: int, on: Sequence[str], off: Sequence[str]) -> None:
    """mount_setattr(2); the access time is one field of several bits, cleared whenever it is set."""
    if not on and not off:
        return
    to_set, to_clear = attribute_bits(on), attribute_bits(off)
    if not _ATIMES.isdisjoint(on) or not _ATIMES.isdisjoint(off):
        to_clear |= mounts.MOUNT_ATTR__ATIME
    mounts.mount_setattr(tree, "", AT_EMPTY_PATH | deep, attr_set=to_set, attr_clr=to_clear)


def propagation(word: str) -> tuple[int, int]:
    """The MS_* of a word, and AT_RECURSIVE where it is for everything below."""
    kind = _PROPAGATION.get(word)
    return (kind, 0) if kind else (_PROPAGATION[word[1:]], AT_RECURSIVE)


def propagate(tree: int, word: str) -> None:
    """Sets a propagation type: "rslave" on everything below, too."""
    kind, deep = propagation(word)
    mounts.mount_setattr(tree, "", AT_EMPTY_PATH | deep, propagation=kind)


def mount(walk: Walk, destination: str, kind: str, source: str, options: Options, label: str) -> None:
    """A new file system. A tmpfs without a mode takes the one of the directory that it covers, as runc does."""
    known = kind != "tmpfs" or walk.root.exists(destination)
    place = _place(walk, destination, kind)
    try:
        tree = _new(walk, place if known else -1, kind, source, options, label)
    except OSError as error:
        raise _unmountable(error, source, destination) from None
    attach(tree, place)


def _new(walk: Walk, covered: int, kind: str, source: str, options: Options, label: str) -> int:
    """A detached mount of a new file system."""
    parameters: list[tuple[str, str | None]] = []
    lowers: list[str] = []
    for word in options.data:
        key, equals, value = word.partition("=")
        if kind == "overlay" and key == "lowerdir":
            lowers += value.split(":")
        else:
            parameters.append((key, value if equals else None))
    parameters = [("lowerdir+", lower) for lower in lowers] + parameters
    parameters += [(word, None) for word in options.flags if word in _SUPER_BLOCK]
    if "ro" in options.on and kind not in _OF_THE_KERNEL:
        parameters.append(("ro", None))
    if kind == "tmpfs" and covered >= 0 and not any(key == "mode" for key, _ in parameters):
        parameters.append(("mode", f"{stat.S_IMODE(os.fstat(covered).st_mode):o}"))
    if label and selinux_is_on():
        parameters.append(("context", label))
    bits = attribute_bits(options.on + options.recursive)
    tree = mounts.new_mount(kind, source, parameters, bits)
    for word in options.propagation:
        propagate(tree, word)
    return tree


def copy_up(walk: Walk, destination: str, kind: str, source: str, options: Options, label: str) -> None:
    """A tmpfs that begins with what the directory below it holds."""
    place = _place(walk, destination, kind)
    read_only = "ro" in options.on
    tree = _new(walk, place, kind, source, options._replace(on=tuple(set(options.on) - {"ro"})), label)
    beneath = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place)
    copy_tree(beneath, tree)
    os.close(beneath)
    if read_only:
        _set(tree, 0, ("ro",), ())
    attach(tree, place)


def remount(walk: Walk, destination: str, kind: str, source: str, options: Options) -> None:
    """mount -o remount of what is mounted there already; for a bind its flags, otherwise the file system's own."""
    place = _place(walk, destination, kind)
    flags = mounts.MS_REMOUNT | (mounts.MS_BIND if kind == "bind" else 0)
    for word in options.on + options.flags:
        flags |= _REMOUNT[word]
    try:
        mounts.mount(source, f"/proc/self/fd/{place}", kind, flags, ",".join(options.data) or None)
    except OSError as error:
        raise _unmountable(error, source, destination) from None
    for word in options.propagation:
        propagate(place, word)
    os.close(place)


def close_mount(walk: Walk, destination: str) -> None:
    """Read-only from here on."""
    place = walk.root.open(destination, os.O_PATH)
    _set(place, 0, ("ro",), ())
    os.close(place)


def cgroup_mount(walk: Walk, destination: str, options: Options) -> None:
    """/sys/fs/cgroup: the unified hierarchy, or on version 1 a tmpfs with the taken directories in it."""
    bits = attribute_bits(options.on)
    place = _place(walk, destination, "cgroup")
    if walk.cgroup is None or walk.cgroup.version == 2:
        attach(mounts.new_mount("cgroup2", "cgroup", [], bits), place)
        return
    tree = mounts.new_mount("tmpfs", "tmpfs", [("mode", "755")], bits & ~mounts.MOUNT_ATTR_RDONLY)
    base = os.dup(tree)
    attach(tree, place)
    for names, hierarchy in walk.cgroup_trees:
        joined = ",".join(names)
        os.mkdir(joined, 0o755, dir_fd=base)
        for name in names if len(names) > 1 else ():
            os.symlink(joined, name, dir_fd=base)
        mounts.mount_setattr(hierarchy, "", AT_EMPTY_PATH, attr_set=bits)
        mounts.attach_mount(hierarchy, base, joined)
        os.close(hierarchy)
    for word in options.propagation:
        propagate(base, word)
    mounts.mount_setattr(base, "", AT_EMPTY_PATH, attr_set=bits)
    os.close(base)
    walk.cgroup_trees.clear()
