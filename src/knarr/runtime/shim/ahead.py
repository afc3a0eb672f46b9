"""An init that is born before anybody asked for it: in a pid namespace of its own, its pages touched, waiting for an order.

It takes the order itself, hands it on to its shim, makes its cgroup and plans, so that no fork and hardly a page fault lies
between an order and a program, and the shim touches little. An init that could not have been born ahead (it shares a pid
namespace, has a user namespace, or is born into a cgroup of version 2) says so: the shim has it born then.
"""

import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from knarr.kernel import process
from knarr.kernel.cgroups import hierarchy
from knarr.kernel.cgroups.open import open_cgroup
from knarr.kernel.sockets import recv_packet, socketpair
from knarr.model.errors import KnarrError
from knarr.runtime import defaults, failures, vacant
from knarr.runtime.birth import clone_flags
from knarr.runtime.hooks import base_state
from knarr.runtime.plan import Step, plan_init
from knarr.runtime.plan_namespaces import Namespaces, namespaces
from knarr.runtime.plan_vacant import vacated
from knarr.runtime.seal import seal_imports
from knarr.runtime.shim.packets import LIMIT, send, unpack
from knarr.runtime.shim.rehearsal import of_an_init
from knarr.runtime.state import Walk
from knarr.runtime.walk import walk_to_execve

TAKEN, END = b"t", b"e"
"""What the init tells the zygote: it has taken an order and the next may be born; or there are no more orders."""

_hierarchy: list[hierarchy.Hierarchy] = []
_vacant: list[int] = []

_BORN_WITH = ("namespaces", "uidMappings", "gidMappings", "timeOffsets")


Fds = tuple[int, int, int]


def host_hierarchy() -> hierarchy.Hierarchy:
    """The host's cgroup mounts; the zygote looks before it forks."""
    if not _hierarchy:
        _hierarchy.append(hierarchy.find())
    return _hierarchy[0]


def vacant_namespace() -> int:
    """`vacant`'s; the zygote has it made before it forks."""
    if not _vacant:
        _vacant.append(vacant.make())
    return _vacant[0]


class Ahead:
    """The shim's side: `ours` are its ends of the init's standard streams, `its` those of the init. While `take` is open
    the zygote gives way."""

    __slots__ = ("control", "its", "ours", "pid", "pidfd", "take")

    def __init__(self, pid: int, pidfd: int, control: socket.socket, ours: Fds, its: Fds, take: int):
        self.pid, self.pidfd, self.control, self.ours, self.its = pid, pidfd, control, ours, its
        self.take = take

    def give_up(self) -> None:
        """Nobody needs it."""
        self.control.close()
        close((*self.ours, *self.its))
        process.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        process.waitid_pidfd(self.pidfd)
        os.close(self.pidfd)


def bear_ahead(orders: socket.socket, take: int) -> Ahead:
    """`orders` is where it takes one order from, `take` the pipe on which it tells the zygote so."""
    control, its_control = socketpair()
    ours, its = pipes(stdin=True)
    pid, pidfd = process.clone3(process.CLONE_NEWPID)
    if pid == 0:
        control.close()
        close(ours)
        _live(orders, take, its_control, its)
    its_control.close()
    return Ahead(pid, pidfd, control, ours, its, take)


def close(fds: Sequence[int]) -> None:
    """Those that there are."""
    for fd in fds:
        if fd >= 0:
            os.close(fd)


def pipes(*, stdin: bool) -> tuple[Fds, Fds]:
    """(the shim's ends, the process's ends), -1 for a standard input that is /dev/null."""
    read, write = os.pipe() if stdin else (-1, -1)
    out, out_end = os.pipe()
    err, err_end = os.pipe()
    return (write, out, err), (read, out_end, err_end)


def _live(orders: socket.socket, take: int, control: socket.socket, its: Fds) -> NoReturn:
    """The init's life. Without its shim it ends: by the signal, and if that is gone already, by the closed socket."""
    try:
        process.prctl(process.PR_SET_PDEATHSIG, signal.SIGKILL)
        seal_imports()
        of_an_init(host_hierarchy())
        if not _alone(control):
            _take(orders, take, control, its)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(0)


def _take(orders: socket.socket, take: int, control: socket.socket, its: Fds) -> None:
    """One order, or the end. The plan is large, and only the init's; what is no order for a container is the shim's."""
    packet, fds = recv_packet(orders, LIMIT)
    os.write(take, TAKEN if packet else END)
    if packet:
        request = unpack(packet, fds)
        order = request.get("order")
        plan = order.pop("plan") if order else ""
        send(control, request, fds)
        if order:
            _walk({**order, "plan": plan}, Walk(control, its))


def _alone(control: socket.socket) -> bool:
    poll = select.poll()
    poll.register(control, 0)
    return bool(poll.poll(0))


def _walk(order: Mapping[str, Any], walk: Walk) -> NoReturn:
    if order.get("terminal"):
        walk.stdio = (-1, -1, -1)
    elif not order.get("stdin"):
        walk.stdio = (-1, *walk.stdio[1:])

    def prepare(walk: Walk) -> Sequence[Step]:
        bundle, rootfs = read_plan(order)
        linux = bundle.get("linux") or {}
        made = make_cgroup(order, linux)
        space = namespaces(linux)
        if not _steps_in(space):
            born_with = {name: linux[name] for name in _BORN_WITH if name in linux}
            send(walk.control, {"made": made, "bear": born_with, "plan": order["plan"]})
            os._exit(0)
        if order.get("explain"):
            walk.tell({"made": made})
        steps = fill(order, walk, bundle, rootfs)
        walk.vacant = vacant_namespace()
        if walk.vacant >= 0:
            steps = vacated(steps)
        later = ("pid", "mount") if any(step.act == "vacate" for step in steps) else ("pid",)
        process.unshare(clone_flags([kind for kind in space.new if kind not in later]))
        return steps

    walk_to_execve(walk, prepare, failures.RUN, explain=bool(order.get("explain")))


def _steps_in(space: Namespaces) -> bool:
    """Whether a process that has its pid namespace already can make and join the others itself."""
    return host_hierarchy().version == 1 and "pid" in space.new and not space.apart


def read_plan(order: Mapping[str, Any]) -> tuple[dict[str, Any], list[list[Any]]]:
    """The OCI configuration, and the root's mounts."""
    plan = json.loads(order["plan"])
    return plan["bundle"], plan["rootfs"]["mounts"]


def make_cgroup(order: Mapping[str, Any], linux: Mapping[str, Any]) -> list[dict[str, Any]]:
    """With its limits; the step for --explain. An order that says nothing of devices gets the usual ones and no other."""
    resources = linux.get("resources") or {}
    if not resources.get("devices"):
        resources = {**resources, "devices": defaults.device_rules()}
    began, at = time.monotonic_ns(), time.time_ns()
    try:
        cgroup = open_cgroup(order["cgroup"], host_hierarchy())
        cgroup.create()
        cgroup.apply(resources)
    except OSError as error:
        sentence = f"unable to apply cgroup configuration: {failures.spoken(error)}: unknown"
        raise KnarrError(f"{failures.RUN}{sentence}") from None
    return [
        {
            "name": f"cgroup {cgroup.path}",
            "reason": "its limits and its accounts",
            "at": at,
            "duration": time.monotonic_ns() - began,
            "objects": {"cgroup": cgroup.path},
        }
    ]


def fill(
    order: Mapping[str, Any], walk: Walk, bundle: Mapping[str, Any], rootfs: Sequence[Sequence[Any]]
) -> Sequence[Step]:
    """What the walk needs, and its steps."""
    walk.load(bundle["process"])
    walk.cgroup = open_cgroup(order["cgroup"], host_hierarchy())
    walk.filter = read_filter(order)
    walk.run_dir = order["run_dir"]
    walk.space = namespaces(bundle.get("linux") or {})
    walk.state = base_state(order, bundle.get("annotations") or {})
    return plan_init(bundle, rootfs, seccomp=bool(walk.filter))


def read_filter(order: Mapping[str, Any]) -> bytes:
    """The compiled seccomp program; b"" without one."""
    if not order.get("seccomp"):
        return b""
    fd = os.open(order["seccomp"], os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, os.fstat(fd).st_size)
    finally:
        os.close(fd)
