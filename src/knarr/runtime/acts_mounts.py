"""Acts on mounts and files of the container's root. Each is named in `plan.py` and decides nothing that the plan knows.

Before the pivot only sources and the root are touched; afterwards every path goes through the container's RootFd, so that
no link of an image and no magic link of /proc leads out.
"""

import errno
import os
import stat
from collections.abc import Sequence

from knarr.kernel import mounts, terminal
from knarr.kernel.fd import RootFd
from knarr.kernel.libc import AT_EMPTY_PATH, AT_FDCWD, AT_RECURSIVE
from knarr.kernel.process import CLONE_NEWNS, setns
from knarr.runtime.plan import Options, parse_options
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
_PROPAGATION = {
    "private": mounts.MS_PRIVATE,
    "slave": mounts.MS_SLAVE,
    "shared": mounts.MS_SHARED,
    "unbindable": mounts.MS_UNBINDABLE,
}


def attribute_bits(words: Sequence[str]) -> int:
    """Attribute words as MOUNT_ATTR_* bits."""
    bits = 0
    for word in words:
        bits |= _BITS[word]
    return bits


def take(walk: Walk, number: int, source: str, destination: str, recursive: bool) -> None:
    """Clones the mount at `source` of the host, or of the mount namespace of a process ("pid:N/path")."""
    try:
        if source.startswith("pid:"):
            pid, _, path = source[4:].partition("/")
            walk.trees[number] = _take_from(pid, path, recursive)
        else:
            walk.trees[number] = mounts.bind_tree(source, recursive=recursive)
    except OSError as error:
        raise OSError(
            error.errno, error.strerror, f'error mounting "{source}" to rootfs at "{destination}"'
        ) from None


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


def isolate(walk: Walk) -> None:
    """Ends all propagation of this namespace."""
    mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)


def root(walk: Walk, kind: str, source: str, words: Sequence[str]) -> None:
    """Mounts the root on the run directory, which is nobody else's in this namespace."""
    fd = make_root(kind, source, words)
    mounts.attach_mount(fd, AT_FDCWD, walk.run_dir)
    os.fchdir(fd)
    os.close(fd)


def make_root(kind: str, source: str, words: Sequence[str]) -> int:
    """A detached mount of a snapshot. overlayfs takes its layers one by one, so that their number is not bound."""
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
    try:
        layers = [("lowerdir+", layer) for layer in lowers]
        return mounts.new_mount(kind, source or kind, [*layers, *parameters], bits)
    except OSError as error:
        if error.errno != errno.EINVAL or not lowers:
            raise
        return mounts.overlay_by_descriptors(lowers, parameters, bits)


def pivot(walk: Walk) -> None:
    """Where the working directory is becomes /, and the old root goes (pivot_root(2), "pivot_root(".", ".")")."""
    mounts.pivot_root(".", ".")
    mounts.umount2(".", mounts.MNT_DETACH)
    os.chdir("/")
    walk.root = RootFd("/")


def bind(walk: Walk, number: int, destination: str, options: Options) -> None:
    """Puts a taken tree in its place; a missing place is made, a directory for a directory and a file for a file."""
    tree = walk.trees.pop(number)
    _configure(tree, options)
    try:
        place_tree(walk.root, tree, destination)
    except OSError as error:
        raise OSError(error.errno, error.strerror, f'error mounting to rootfs at "{destination}"') from None


def place_tree(inside: RootFd, tree: int, destination: str) -> None:
    """Attaches a detached mount at a path of a root, and closes its descriptor."""
    is_directory = stat.S_ISDIR(os.fstat(tree).st_mode)
    _attach(tree, inside.mkdirs(destination) if is_directory else _file(inside, destination))


def _file(root: RootFd, path: str) -> int:
    try:
        return root.open(path, os.O_PATH)
    except FileNotFoundError:
        parent, name = root.open_parent(path, 0o755)
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=parent))
        os.close(parent)
        return root.open(path, os.O_PATH)


def _attach(tree: int, place: int) -> None:
    """Both descriptors are closed."""
    mounts.attach_mount(tree, place)
    os.close(tree)
    os.close(place)


def _configure(tree: int, options: Options) -> None:
    on, off = attribute_bits(options.on), attribute_bits(options.off)
    if on & mounts.MOUNT_ATTR__ATIME or "relatime" in options.on:
        off |= mounts.MOUNT_ATTR__ATIME
    if on or off:
        mounts.mount_setattr(
            tree, "", AT_EMPTY_PATH, attr_set=on, attr_clr=off & ~on | off & mounts.MOUNT_ATTR__ATIME
        )
    if options.recursive:
        bits = attribute_bits(options.recursive)
        mounts.mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, attr_set=bits)
    propagate(tree, options.propagation or "rprivate")


def propagate(tree: int, word: str) -> None:
    """Sets a propagation type: "rslave" on everything below, too."""
    kind = _PROPAGATION.get(word)
    deep = 0 if kind else AT_RECURSIVE
    mounts.mount_setattr(tree, "", AT_EMPTY_PATH | deep, propagation=kind or _PROPAGATION[word[1:]])


def mount(walk: Walk, destination: str, kind: str, source: str, options: Options) -> None:
    """A new file system. A tmpfs without a mode takes the one of the directory that it covers, as runc does."""
    place = walk.root.mkdirs(destination)
    parameters: list[tuple[str, str | None]] = []
    for word in options.data:
        key, equals, value = word.partition("=")
        parameters.append((key, value if equals else None))
    if kind == "tmpfs" and not any(key == "mode" for key, _ in parameters):
        parameters.append(("mode", f"{stat.S_IMODE(os.fstat(place).st_mode):o}"))
    tree = mounts.new_mount(kind, source, parameters, attribute_bits(options.on + options.recursive))
    if options.propagation:
        propagate(tree, options.propagation)
    _attach(tree, place)


def cgroup_mount(walk: Walk, destination: str, options: Options) -> None:
    """/sys/fs/cgroup: the unified hierarchy, or on version 1 a tmpfs with the taken directories in it."""
    bits = attribute_bits(options.on)
    if walk.cgroup is None or walk.cgroup.version == 2:
        _attach(mounts.new_mount("cgroup2", "cgroup", [], bits), walk.root.mkdirs(destination))
        return
    tree = mounts.new_mount("tmpfs", "tmpfs", [("mode", "755")], bits & ~mounts.MOUNT_ATTR_RDONLY)
    _attach(tree, walk.root.mkdirs(destination))
    base = walk.root.open(destination, os.O_PATH | os.O_DIRECTORY)
    for names, hierarchy in walk.cgroup_trees:
        joined = ",".join(names)
        os.mkdir(joined, 0o755, dir_fd=base)
        for name in names if len(names) > 1 else ():
            os.symlink(joined, name, dir_fd=base)
        mounts.mount_setattr(hierarchy, "", AT_EMPTY_PATH, attr_set=bits)
        mounts.attach_mount(hierarchy, base, joined)
        os.close(hierarchy)
    mounts.mount_setattr(base, "", AT_EMPTY_PATH, attr_set=bits)
    os.close(base)
    walk.cgroup_trees.clear()


def device(walk: Walk, path: str, kind: str, major: int, minor: int, mode: int, uid: int, gid: int) -> None:
    """mknod(2); what is already there stays."""
    parent, name = walk.root.open_parent(path, 0o755)
    form = {"b": stat.S_IFBLK, "p": stat.S_IFIFO}.get(kind, stat.S_IFCHR)
    try:
        os.mknod(name, mode | form, os.makedev(major, minor), dir_fd=parent)
        if uid or gid:
            os.chown(name, uid, gid, dir_fd=parent, follow_symlinks=False)
    except FileExistsError:
        pass
    finally:
        os.close(parent)


def link(walk: Walk, target: str, path: str) -> None:
    """symlink(2); what is already there stays."""
    parent, name = walk.root.open_parent(path, 0o755)
    try:
        os.symlink(target, name, dir_fd=parent)
    except FileExistsError:
        pass
    finally:
        os.close(parent)


def console(walk: Walk) -> None:
    """/dev/console is the terminal."""
    _attach(mounts.bind_tree("", dirfd=walk.slave, recursive=False), _file(walk.root, "/dev/console"))


def open_terminal(walk: Walk) -> None:
    """A terminal of the container's devpts; the master goes to the shim, which answers for it from now on."""
    master, _ = terminal.open_ptmx("/dev/pts/ptmx")
    walk.slave = terminal.peer(master)
    width, height = walk.console_size
    if width and height:
        terminal.set_size(master, width, height)
    walk.tell({"master": True}, [master])
    os.close(master)


def readonly(walk: Walk, path: str) -> None:
    """A path that must not be written; a missing one is no error."""
    try:
        place = walk.root.open(path, os.O_PATH)
    except (FileNotFoundError, NotADirectoryError):
        return
    tree = mounts.bind_tree("", dirfd=place)
    mounts.mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, attr_set=mounts.MOUNT_ATTR_RDONLY)
    _attach(tree, place)


def mask(walk: Walk, path: str) -> None:
    """A directory is covered by an empty read-only tmpfs, a file by /dev/null; a missing one is no error."""
    try:
        place = walk.root.open(path, os.O_PATH)
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISDIR(os.fstat(place).st_mode):
        tree = mounts.new_mount(
            "tmpfs", "tmpfs", [("nr_blocks", "1"), ("nr_inodes", "1")], mounts.MOUNT_ATTR_RDONLY
        )
    else:
        null = walk.root.open("/dev/null", os.O_PATH)
        tree = mounts.bind_tree("", dirfd=null, recursive=False)
        os.close(null)
    _attach(tree, place)


def readonly_root(walk: Walk) -> None:
    """The root alone: what is mounted on it keeps its own mode."""
    mounts.mount_setattr(AT_FDCWD, "/", 0, attr_set=mounts.MOUNT_ATTR_RDONLY)
