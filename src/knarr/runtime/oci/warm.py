"""A warm knarr-oci: everything is loaded, the heap is frozen, and one forked child always waits for the next caller.

    caller ── {"argv", "cwd", "env", "pid"} + [stdin, stdout, stderr, …] ──▶ child ── does it
    caller ── one byte a signal ──▶ child ── {"exit": n} ──▶ caller

The child is not the caller's: what is made belongs to the zygote's namespaces, limits and reaper. Only the zygote's own user
and root may ask.
"""

import gc
import json
import os
import select
import signal
import socket
import sys
from typing import NoReturn

from knarr.kernel import process
from knarr.kernel.sockets import peer, recv_packet, send_packet
from knarr.runtime.oci import cgroups, front, making, manual
from knarr.runtime.oci.forerunner import Forerunner, arrange, memory, populate
from knarr.runtime.oci.rehearsal import rehearse

LOADED = (making, manual)
_VERBS = (
    "create",
    "delete",
    "exec",
    "kill",
    "list",
    "pause",
    "ps",
    "resume",
    "run",
    "start",
    "state",
    "update",
)
_TAKEN, _LONG = b"t", 15


def serve(path: str) -> None:
    """Until SIGTERM or SIGINT. The socket's file is ours, and goes with us."""
    os.setsid()
    os.umask(0o022)
    process.set_name("knarr-oci-zygo")
    process.reset_signals()
    process.set_child_subreaper()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    door = _listen(path)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _end)
    for name in _VERBS:
        __import__(f"knarr.runtime.oci.verbs.{name}")
    cgroups.host_hierarchy()
    rehearse()
    taken, take = os.pipe()
    gc.collect()
    gc.disable()
    gc.freeze()
    me, ranges = os.getpid(), memory()
    try:
        while True:
            pid = os.fork()
            if pid == 0:
                os.close(taken)
                _live(door, take, me, ranges)
            _until_taken(pid, taken, door)
    except SystemExit:
        os.unlink(path)


def _listen(path: str) -> socket.socket:
    door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    mask = os.umask(0o177)
    try:
        door.bind(path)
    finally:
        os.umask(mask)
    door.listen(64)
    return door


def _end(number: int, frame: object) -> NoReturn:
    raise SystemExit(0)


def _until_taken(pid: int, taken: int, door: socket.socket) -> None:
    """Until the child that waits has a caller, or was killed; and then until the next is needed, for the first may have use of
    the machine: it has ended, or somebody else calls, or it takes long."""
    try:
        child = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    poll = select.poll()
    poll.register(taken, select.POLLIN)
    poll.register(child, select.POLLIN)
    try:
        if taken in dict(poll.poll()):
            os.read(taken, 1)
            poll.modify(taken, 0)
            poll.register(door.fileno(), select.POLLIN)
            poll.poll(_LONG)
    finally:
        os.close(child)


def _live(door: socket.socket, take: int, zygote: int, ranges: list[tuple[int, int, int]]) -> NoReturn:
    """A child's whole life. While it waits it dies with the zygote."""
    code = 1
    try:
        process.prctl(process.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == zygote:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            forerunner = Forerunner.send_ahead(ranges)
            populate(ranges)
            line, _ = door.accept()
            process.prctl(process.PR_SET_PDEATHSIG, 0)
            os.write(take, _TAKEN)
            os.close(take)
            door.close()
            code = _serve(line, forerunner)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def _serve(line: socket.socket, forerunner: Forerunner) -> int:
    _, uid, _ = peer(line)
    data, fds = recv_packet(line)
    if not data or uid not in (0, os.geteuid()):
        return 1
    request = json.loads(data)
    line, _ = arrange(line, fds)
    os.chdir(request["cwd"])
    code = front.answer(
        request["argv"],
        request["env"],
        pid=request["pid"],
        orders=line.fileno(),
        forerunner=forerunner,
    )
    sys.stdout.flush()
    send_packet(line, json.dumps({"exit": code}).encode())
    return 0
