"""How a process of a container is born: in new namespaces, and in joined ones that only birth can enter.

A pid namespace holds whoever is born in it, so its joining is the parent's act, taken back at once. Everything else that is
joined is a step of the walk. For single-threaded callers: nobody may be born elsewhere meanwhile.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from knarr.kernel import process
from knarr.runtime.plan import split_namespaces

CLONES = {
    "network": process.CLONE_NEWNET,
    "ipc": process.CLONE_NEWIPC,
    "uts": process.CLONE_NEWUTS,
    "cgroup": process.CLONE_NEWCGROUP,
    "mount": process.CLONE_NEWNS,
    "pid": process.CLONE_NEWPID,
}

Life = Callable[[], NoReturn]


class Namespaces(NamedTuple):
    """The kinds that are made with the process, and those that it joins, (kind, path)."""

    new: tuple[str, ...] = ()
    joined: tuple[tuple[str, str], ...] = ()


def namespaces(linux: Mapping[str, Any]) -> Namespaces:
    """Out of OCI's `linux`. Raises Invalid."""
    return Namespaces(*split_namespaces(linux.get("namespaces") or ()))


def clone_flags(kinds: Sequence[str]) -> int:
    """The CLONE_NEW* flags of namespaces made with the process. A cgroup namespace is made later, inside the cgroup."""
    flags = 0
    for kind in kinds:
        if kind != "cgroup":
            flags |= CLONES[kind]
    return flags


def bear(space: Namespaces, life: Life, *, cgroup_fd: int = -1) -> tuple[int, int]:
    """(pid, pidfd) of a child that runs `life` in its namespaces; `cgroup_fd` is the cgroup of version 2 to be born in."""
    flags = clone_flags(space.new)
    joined = dict(space.joined).get("pid")
    if joined is None:
        return _clone(flags, life, cgroup_fd)
    other = os.open(joined, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _clone_in(other, flags, life, cgroup_fd)
    finally:
        os.close(other)


def bear_beside(init_pidfd: int, life: Life, *, cgroup_fd: int = -1) -> tuple[int, int]:
    """The same for an exec: it is born in the init's pid namespace, and joins the others itself."""
    return _clone_in(init_pidfd, 0, life, cgroup_fd)


def _clone(flags: int, life: Life, cgroup_fd: int) -> tuple[int, int]:
    pid, pidfd = process.clone3(flags, cgroup_fd)
    if pid == 0:
        life()
    return pid, pidfd


def _clone_in(pid_namespace: int, flags: int, life: Life, cgroup_fd: int) -> tuple[int, int]:
    """setns(2) with CLONE_NEWPID changes only where children are born; it is taken back."""
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        process.setns(pid_namespace, process.CLONE_NEWPID)
        try:
            return _clone(flags, life, cgroup_fd)
        finally:
            process.setns(own, process.CLONE_NEWPID)
    finally:
        os.close(own)
