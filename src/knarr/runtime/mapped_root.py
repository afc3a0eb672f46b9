"""A container's root whose files take the ids of a user namespace, while on disk they keep their own.

Each layer is an id-mapped clone, the writable one too, so that layers are shared with containers of any mapping and of none.
An overlay makes its own files with the ids of whoever mounted it (overlayfs.rst, "Permission model"): so that is the
container's root, with the host's capabilities. Needs the host's privilege; for single-threaded callers.
"""

import errno
import os
import socket
from collections.abc import Callable, Sequence

from knarr.kernel import mounts, process
from knarr.kernel.libc import AT_FDCWD
from knarr.kernel.sockets import recv_packet, send_packet, socketpair
from knarr.model.errors import Invalid, KnarrError
from knarr.runtime.failures import spoken
from knarr.runtime.idmap import map_tree, mapped_trees

Parameters = list[tuple[str, str | None]]


def make(
    kind: str, source: str, words: Sequence[str], namespace: int, root: tuple[int, int], place: str
) -> int:
    """A detached mount. `root` are the container root's ids outside, `place` a directory that is nobody else's."""
    if kind == "bind":
        tree = mounts.bind_tree(source, recursive="rbind" in words)
        map_tree(tree, namespace, source, recursive="rbind" in words)
        return tree
    if kind != "overlay":
        raise Invalid(f"cannot map the ids of a root of type {kind}")
    lowers, snapshot, parameters = _overlay(words)
    trees = mapped_trees([*lowers, snapshot], namespace)
    try:
        return _as_user(*root, lambda: _merge(trees, parameters, place))
    finally:
        for tree in trees:
            os.close(tree)


def _overlay(words: Sequence[str]) -> tuple[list[str], str, Parameters]:
    """(lower directories, the directory of upper and work, the rest)."""
    lowers: list[str] = []
    parameters: Parameters = []
    places = {}
    for word in words:
        key, equals, value = word.partition("=")
        if key == "lowerdir":
            lowers += value.split(":")
        elif key in ("upperdir", "workdir"):
            places[key] = value
        elif word not in ("rw", "idmap"):
            parameters.append((key, value if equals else None))
    snapshot = os.path.dirname(places.get("upperdir", ""))
    if not snapshot or os.path.dirname(places.get("workdir", "")) != snapshot:
        raise Invalid("cannot map the ids of an overlay whose upper and work directories are not siblings")
    parameters += [(key, os.path.basename(value)) for key, value in places.items()]
    return lowers, snapshot, parameters


def _create(lowers: Sequence[str], snapshot: str, parameters: Parameters) -> int:
    """One parameter a layer where the kernel takes that (since 6.5): a value has at most 255 bytes."""
    placed: Parameters = [
        (key, f"{snapshot}/{value}" if key in ("upperdir", "workdir") else value) for key, value in parameters
    ]
    try:
        return mounts.new_mount("overlay", "overlay", [*(("lowerdir+", lower) for lower in lowers), *placed])
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return mounts.new_mount("overlay", "overlay", [("lowerdir", ":".join(lowers)), *placed])


def _merge(trees: Sequence[int], parameters: Parameters, place: str) -> int:
    try:
        return _by_numbers(trees, parameters)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return by_paths(trees, parameters, place)


def _by_numbers(trees: Sequence[int], parameters: Parameters) -> int:
    """Layers that are mounted nowhere, which kernels take since 6.15."""
    numbers = [str(tree) for tree in trees]
    before = os.open(".", os.O_PATH | os.O_CLOEXEC)
    try:
        os.chdir("/proc/self/fd")
        return _create(numbers[:-1], numbers[-1], parameters)
    finally:
        os.fchdir(before)
        os.close(before)


def by_paths(trees: Sequence[int], parameters: Parameters, place: str) -> int:
    """For older kernels: a child mounts the layers in a mount namespace of its own, and gives the overlay back."""

    def make_there() -> int:
        process.unshare(process.CLONE_NEWNS)
        mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
        mounts.mount("tmpfs", place, "tmpfs", 0, "mode=755")
        os.chdir(place)
        names = [str(number) for number in range(len(trees))]
        for name, tree in zip(names, trees, strict=True):
            os.mkdir(name, 0o755)
            mounts.attach_mount(tree, AT_FDCWD, name)
        return _create(names[:-1], names[-1], parameters)

    return _in_child(make_there)


def _in_child(work: Callable[[], int]) -> int:
    """What the child opened."""
    mine, theirs = socketpair()
    pid, pidfd = process.clone3(0)
    if pid == 0:
        _tell(theirs, work)
    theirs.close()
    with mine:
        said, fds = recv_packet(mine)
    process.waitid_pidfd(pidfd)
    os.close(pidfd)
    if not fds:
        raise KnarrError(f"cannot make the root: {said.decode() or 'its maker was lost'}")
    return fds[0]


def _tell(line: socket.socket, work: Callable[[], int]) -> None:
    try:
        send_packet(line, b"made", [work()])
    except OSError as error:
        send_packet(line, spoken(error).encode())
    finally:
        os._exit(0)


def _as_user(uid: int, gid: int, work: Callable[[], int]) -> int:
    """Files are made with these ids, and no capability goes for it (capabilities(7), SECBIT_NO_SETUID_FIXUP)."""
    process.prctl(process.PR_SET_SECUREBITS, process.SECBIT_NO_SETUID_FIXUP)
    try:
        process.setfsids(uid, gid)
        return work()
    finally:
        process.setfsids(os.geteuid(), os.getegid())
        process.prctl(process.PR_SET_SECUREBITS, 0)
