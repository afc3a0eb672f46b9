"""Id-mapped mounts: a user namespace is what the kernel takes a mapping from (mount_setattr(2), MOUNT_ATTR_IDMAP).

A file's owner on disk is the mapping's inside, what is seen through the mount its outside: the container's root, which is
0 on disk and 100000 to the host, is 0 again in a user namespace of the same mapping. Needs the host's privilege.
"""

import errno
import os
from collections.abc import Callable, Sequence

from knarr.kernel import mounts, process
from knarr.kernel.libc import AT_EMPTY_PATH, AT_RECURSIVE
from knarr.kernel.sockets import socketpair
from knarr.model.errors import KnarrError
from knarr.runtime.birth import write_mappings
from knarr.runtime.failures import spoken
from knarr.runtime.plan_namespaces import IdMap


def user_namespace(uids: IdMap, gids: IdMap) -> int:
    """A descriptor of a new user namespace that nobody lives in."""
    return _made(lambda: process.unshare(process.CLONE_NEWUSER), uids, gids, ("user",))[0]


def namespaces_of(uids: IdMap, gids: IdMap, user: str) -> tuple[int, int]:
    """A user namespace and a network namespace that it owns; `user` is the path of one that exists already."""
    if not user:
        both = process.CLONE_NEWUSER | process.CLONE_NEWNET
        owner, network = _made(lambda: process.unshare(both), uids, gids, ("user", "net"))
        return owner, network
    owner = os.open(user, os.O_RDONLY | os.O_CLOEXEC)

    def step_in() -> None:
        process.setns(owner, process.CLONE_NEWUSER)
        process.unshare(process.CLONE_NEWNET)

    try:
        return owner, _made(step_in, (), (), ("net",))[0]
    except BaseException:
        os.close(owner)
        raise


def _made(enter: Callable[[], None], uids: IdMap, gids: IdMap, kinds: Sequence[str]) -> list[int]:
    """Descriptors of what a short-lived child entered.

    The child tells its number itself: /proc may be of another pid namespace than the caller.
    """
    mine, theirs = socketpair()
    pid, pidfd = process.clone3(0)
    if pid == 0:
        try:
            mine.close()
            number = os.readlink("/proc/self")
            enter()
            theirs.send(number.encode())
            theirs.recv(1)
        except OSError as error:
            theirs.send(f"cannot make a user namespace: {spoken(error)}".encode())
        finally:
            os._exit(0)
    theirs.close()
    try:
        with mine:
            number = mine.recv(4096).decode()
            if not number.isdigit():
                raise KnarrError(number or "cannot make a user namespace: its maker was lost")
            write_mappings(number, uids, gids)
            return [os.open(f"/proc/{number}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in kinds]
    finally:
        process.waitid_pidfd(pidfd)
        os.close(pidfd)


def map_tree(tree: int, namespace: int, source: str, *, recursive: bool) -> None:
    """Gives a detached mount the mapping of a user namespace. Raises OSError in runc's words."""
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    try:
        mounts.mount_setattr(tree, "", flags, attr_set=mounts.MOUNT_ATTR_IDMAP, userns_fd=namespace)
    except OSError as error:
        hint = ""
        if error.errno == errno.EINVAL:
            hint = " (maybe the filesystem used doesn't support idmap mounts on this kernel?)"
        words = f"{error.strerror}{hint}"
        raise OSError(error.errno, words, f"failed to set MOUNT_ATTR_IDMAP on {source}") from None


def mapped_trees(paths: Sequence[str], namespace: int) -> list[int]:
    """A detached, mapped clone of the mount at each path."""
    made: list[int] = []
    try:
        for path in paths:
            made.append(mounts.bind_tree(path, recursive=False))
            map_tree(made[-1], namespace, path, recursive=False)
    except BaseException:
        for tree in made:
            os.close(tree)
        raise
    return made
