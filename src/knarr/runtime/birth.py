"""How a process of a container is born: in new namespaces, and in joined ones that only birth can enter.

A pid namespace holds whoever is born in it, so its joining is the parent's act, taken back at once; other kinds are joined
by the walk. With a user or a new time namespace an intermediate child does all: it acts ahead with the host's privileges,
joins, enters, and bears its parent's child (CLONE_PARENT). For single-threaded callers.
"""

import json
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from knarr.kernel import process
from knarr.kernel.files import write_text
from knarr.kernel.sockets import recv_packet, send_packet, socketpair
from knarr.model.errors import Invalid, KnarrError
from knarr.runtime.failures import spoken
from knarr.runtime.plan_namespaces import IdMap, Namespaces, is_same, outside, parse_map
from knarr.runtime.seal import seal_imports
from knarr.wire.zygote import describe, revive

CLONES = {
    "network": process.CLONE_NEWNET,
    "ipc": process.CLONE_NEWIPC,
    "uts": process.CLONE_NEWUTS,
    "cgroup": process.CLONE_NEWCGROUP,
    "mount": process.CLONE_NEWNS,
    "pid": process.CLONE_NEWPID,
    "user": process.CLONE_NEWUSER,
    "time": process.CLONE_NEWTIME,
}
LINKS = {"network": "net", "mount": "mnt"}
"""Where the kernel's file in /proc/PID/ns has another name."""

Life = Callable[[], NoReturn]
Prelude = Callable[[], None]
Admit = Callable[[int, int, int], None]


def clone_flags(kinds: Sequence[str]) -> int:
    """The CLONE_NEW* flags of namespaces made with the process. A cgroup namespace is made later, inside the cgroup."""
    flags = 0
    for kind in kinds:
        if kind != "cgroup":
            flags |= CLONES[kind]
    return flags


def join_flags(space: Namespaces) -> int:
    """What an exec joins of the init's by setns(2) with a pidfd. A user namespace that is its own already is refused there."""
    own = {*space.new, *(kind for kind, _ in space.joined)}
    flags = process.CLONE_NEWCGROUP
    for kind, flag in CLONES.items():
        if kind not in ("user", "time") or kind in own:
            flags |= flag
    return flags


def bear(
    space: Namespaces,
    life: Life,
    *,
    cgroup_fd: int = -1,
    prelude: Prelude = lambda: None,
    admit: Admit = lambda pid, uid, gid: None,
) -> tuple[int, int]:
    """(pid, pidfd) of a child that runs `life` in its namespaces; `cgroup_fd` is the cgroup of version 2 to be born in.

    Where `space.apart`, `cgroup_fd` is of no use: `prelude` runs in the intermediate child with the caller's privileges, and
    what it opens `life` inherits; then `admit(pid, uid, gid)` runs in the caller, with the ids of the container's root,
    before `life` begins. Raises what either raised.
    """
    if space.apart:
        return _bear_apart(space, life, prelude, admit)
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


# the caller of an intermediate child ------------------------------------------------------------------------------------


def _bear_apart(space: Namespaces, life: Life, prelude: Prelude, admit: Admit) -> tuple[int, int]:
    mine, theirs = socketpair()
    helper, pidfd = process.clone3(0)
    if helper == 0:
        mine.close()
        _enter(space, life, prelude, theirs)
    theirs.close()
    try:
        with mine:
            return _attend(space, helper, mine, admit)
    finally:
        process.waitid_pidfd(pidfd)
        os.close(pidfd)


def _attend(space: Namespaces, helper: int, line: socket.socket, admit: Admit) -> tuple[int, int]:
    """Does for the intermediate child what needs to be outside, until it tells of the one that it bore."""
    while "pid" not in (message := _hear(line)):
        if message["want"] == "mappings":
            write_mappings(helper, space.uids, space.gids)
        else:
            _write_offsets(helper, space)
        line.send(b"x")
    pid = message["pid"]
    pidfd = process.pidfd_open(pid)
    try:
        admit(pid, message["uid"], message["gid"])
        line.send(b"x")
    except BaseException:
        line.close()
        process.waitid_pidfd(pidfd)
        os.close(pidfd)
        raise
    return pid, pidfd


def _hear(line: socket.socket) -> dict[str, Any]:
    data, _ = recv_packet(line)
    if not data:
        raise KnarrError("the container's init was lost before it was born")
    message: dict[str, Any] = json.loads(data)
    if "error" in message:
        raise revive(message["error"])
    return message


def write_mappings(pid: int | str, uids: IdMap, gids: IdMap) -> None:
    """The maps of a process's new user namespace. Without privilege over the parent's, setgroups(2) goes first."""
    for name, mapping in (("uid_map", uids), ("gid_map", gids)):
        if not mapping:
            continue
        if name == "gid_map" and os.geteuid() != 0:
            write_text(f"/proc/{pid}/setgroups", "deny")
        text = "".join(f"{inside} {other} {count}\n" for inside, other, count in mapping)
        try:
            write_text(f"/proc/{pid}/{name}", text)
        except OSError as error:
            raise KnarrError(f"failed to update /proc/{pid}/{name}: {spoken(error)}") from None


def _write_offsets(pid: int, space: Namespaces) -> None:
    text = "".join(f"{clock} {seconds} {nanoseconds}\n" for clock, seconds, nanoseconds in space.offsets)
    try:
        write_text(f"/proc/{pid}/timens_offsets", text)
    except OSError as error:
        raise KnarrError(f"failed to update /proc/{pid}/timens_offsets: {spoken(error)}") from None


# the intermediate child -------------------------------------------------------------------------------------------------


def _enter(space: Namespaces, life: Life, prelude: Prelude, line: socket.socket) -> NoReturn:
    """Its whole life; that of the one that it bears begins with the caller's word."""
    pid = -1
    try:
        prelude()
        seal_imports()
        uid, gid = _step_in(space, line)
        rest = clone_flags([kind for kind in space.new if kind not in ("user", "time")])
        pid, _ = process.clone3(rest | process.CLONE_PARENT)
        if pid:
            send_packet(line, json.dumps({"pid": pid, "uid": uid, "gid": gid}).encode())
    except BaseException as error:
        if pid != 0:
            send_packet(line, json.dumps({"error": describe(error)}).encode())
    finally:
        if pid != 0:
            os._exit(0)
    if line.recv(1) != b"x":
        os._exit(0)
    line.close()
    life()


def _step_in(space: Namespaces, line: socket.socket) -> tuple[int, int]:
    """Order as runc's: what the caller may join, then the user namespace, then what only its root may. Root's ids outside."""
    waiting = [(kind, _open(kind, path)) for kind, path in space.joined]
    if space.own_user:
        waiting = _join([each for each in waiting if each[0] != "user"], may_fail=True) + [
            each for each in waiting if each[0] == "user"
        ]
    uids, gids = space.uids, space.gids
    if "user" in space.new:
        _try("unshare user namespace", process.unshare, process.CLONE_NEWUSER)
        _ask(line, "mappings")
    elif space.own_user:
        _join([each for each in waiting if each[0] == "user"])
        waiting = [each for each in waiting if each[0] != "user"]
        uids, gids = _joined_maps(space)
    if space.own_user:
        become_root()
    _join(waiting)
    if "time" in space.new:
        _try("unshare time namespace", process.unshare, process.CLONE_NEWTIME)
        if space.offsets:
            _ask(line, "offsets")
    return outside(uids, 0) or 0, outside(gids, 0) or 0


def _joined_maps(space: Namespaces) -> tuple[IdMap, IdMap]:
    """From inside a map is read in the parent's numbers (user_namespaces(7))."""
    uids, gids = (parse_map(_read(f"/proc/self/{name}_map")) for name in ("uid", "gid"))
    if (space.uids or space.gids) and not (is_same(space.uids, uids) and is_same(space.gids, gids)):
        raise Invalid(
            "user namespaces enabled, but both namespace path and non-matching mapping specified -- you may only provide one"
        )
    return uids, gids


def root_ids(pid: int) -> tuple[int, int]:
    """What the host calls the root of a process's user namespace."""
    maps = [parse_map(_read(f"/proc/{pid}/{name}_map")) for name in ("uid", "gid")]
    return outside(maps[0], 0) or 0, outside(maps[1], 0) or 0


def become_root() -> None:
    """Root of the user namespace that was just entered, without the groups of before; not dumpable, as a change resets that."""
    try:
        process.setgroups([])
    except PermissionError:
        pass  # "deny" in /proc/self/setgroups; that is not read here, for /proc may be the container's
    _try("become root in user namespace", os.setresgid, 0, 0, 0)
    _try("become root in user namespace", os.setresuid, 0, 0, 0)
    process.prctl(process.PR_SET_DUMPABLE, 0)


def _ask(line: socket.socket, want: str) -> None:
    send_packet(line, json.dumps({"want": want}).encode())
    if line.recv(1) != b"x":
        os._exit(0)


def _open(kind: str, path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise KnarrError(f"failed to open {path}: {spoken(OSError(error.errno, error.strerror))}") from None


def _join(waiting: Sequence[tuple[str, int]], *, may_fail: bool = False) -> list[tuple[str, int]]:
    """Those that may not be joined yet."""
    left = []
    for kind, fd in waiting:
        try:
            process.setns(fd, CLONES[kind])
            os.close(fd)
        except OSError as error:
            if not may_fail or not isinstance(error, PermissionError):
                raise KnarrError(f"failed to setns into {kind} namespace: {spoken(error)}") from None
            left.append((kind, fd))
    return left


def _try(what: str, call: Callable[..., None], *arguments: int) -> None:
    try:
        call(*arguments)
    except OSError as error:
        raise KnarrError(f"failed to {what}: {spoken(error)}") from None


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read()
