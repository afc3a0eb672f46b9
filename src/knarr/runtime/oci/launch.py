"""The parent's side of a birth: what the walk asks for is answered, what it tells is passed on, until it stands at its gate.

Nobody stays: after `create` the init is a child of the caller's reaper and waits at a door (records.py), after `run` and
`exec` the gate is opened here.
"""

import json
import os
import select
import socket
from collections.abc import Callable
from typing import Any

from knarr.kernel import process
from knarr.kernel.sockets import recv_packet
from knarr.model.errors import KnarrError, Unavailable
from knarr.runtime.failures import spoken
from knarr.runtime.hooks import state_of
from knarr.runtime.idmap import map_tree, user_namespace
from knarr.runtime.listener import hand_over
from knarr.runtime.oci.container import Container
from knarr.runtime.oci.log import Log
from knarr.runtime.oci.session import Session
from knarr.runtime.oci.streams import Inherited, Pipes, Streams, Terminal, connect, give
from knarr.wire.zygote import revive

BIRTH, WALK = "nsexec container setup", "child process in init()"
READY, EXEC_READY = "init: closing the pipe to signal completion", "setns_init: about to exec"
"""What --debug says on the way, in the words that people look for in runc's."""


class Child:
    """A process on its way, at its gate, or executed."""

    def __init__(self, line: socket.socket, pid: int, pidfd: int):
        self._line, self.pid, self.pidfd = line, pid, pidfd
        self._promised = False
        self.on_master: Callable[[int], None] = os.close
        self.on_hooks: Callable[[list[str]], None] = lambda moments: None
        self.on_listener: Callable[[int], None] = lambda number: None
        self.on_map: Callable[[list[Any], int], None] = lambda wish, tree: os.close(tree)

    def reach_gate(self, log: Log) -> None:
        """Answers the walk until it is ready. Raises what went wrong in it."""
        while True:
            message, fds = self._hear()
            if "ready" in message:
                for line in message.get("debug") or ():
                    log.debug(line)
                for line in message["warnings"]:
                    log.warning(line)
                return
            if "master" in message:
                self.on_master(fds[0])
            elif "hooks" in message:
                self.on_hooks(message["hooks"])
                self._nod()
            elif "listener" in message:
                self.on_listener(message["listener"])
                self._nod()
            elif "map" in message:
                self.on_map(message["map"], fds[0])
                self._nod()

    def go(self) -> None:
        """To one that was born early: its cgroup is there."""
        self._nod()

    def _nod(self) -> None:
        """One that has failed meanwhile is still to be heard."""
        try:
            self._line.send(b"x", socket.MSG_NOSIGNAL)
        except (BrokenPipeError, ConnectionResetError):
            return

    def _hear(self) -> tuple[dict[str, Any], list[int]]:
        data, fds = _receive(self._line)
        if not data:
            raise Unavailable(f"the process was ended ({self._fate()})")
        message: dict[str, Any] = json.loads(data)
        if "error" in message:
            raise revive(message["error"])
        return message, fds

    def _fate(self) -> str:
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        poll.poll(1000)
        result = process.waitid_pidfd(self.pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if result is None:
            return "it does not answer"
        return (
            f"exit code {result.si_status}"
            if result.si_code == os.CLD_EXITED
            else f"signal {result.si_status}"
        )

    def promise_gate(self) -> None:
        """Opens it before it is reached: nobody has a word to say in between."""
        self._nod()
        self._promised = True

    def open_gate(self) -> None:
        """Returns when it has executed, or ended. Raises what went wrong after the gate."""
        if not self._promised:
            self.promise_gate()
        hear_end(self._line)

    def kill(self) -> None:
        """Ends it and takes it in."""
        try:
            process.pidfd_send_signal(self.pidfd, 9)
        except ProcessLookupError:
            pass
        try:
            process.waitid_pidfd(self.pidfd)
        except ChildProcessError:
            return


def affinity(pid: int, cpus: int) -> str:
    """What is logged of a process that begins on these processors, a bit each."""
    return f"nsexec[{pid}]: affinity: {cpus:#x}"


def hand_listener(container: Container | None, child: Child, number: int) -> None:
    """A walk's seccomp listener goes to the agent that the configuration names."""
    assert container is not None
    profile = (container.config.get("linux") or {}).get("seccomp") or {}
    state = state_of(container.base_state(), container.status(), child.pid)
    hand_over(child.pidfd, number, child.pid, profile, state)


def map_tree_of(child: Child, wish: list[Any], tree: int) -> None:
    """A detached mount of the child's root gets the mapping that is asked for, or that of the child's user namespace."""
    source, uids, gids, recursive = wish
    try:
        if uids or gids:
            namespace = user_namespace(*(tuple(map(tuple, each)) for each in (uids, gids)))
        else:
            namespace = os.open(f"/proc/{child.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        try:
            map_tree(tree, namespace, source, recursive=recursive)
        finally:
            os.close(namespace)
    except OSError as error:
        raise Unavailable(spoken(error)) from None
    finally:
        os.close(tree)


def _receive(line: socket.socket) -> tuple[bytes, list[int]]:
    """Whoever ends without reading what we said resets the line; what it said itself comes after that (net/unix/af_unix.c)."""
    try:
        return recv_packet(line)
    except ConnectionResetError:
        return recv_packet(line)


def hear_end(line: socket.socket) -> None:
    """End of file on a walk's line: it has executed. Raises what it told instead."""
    data, _ = _receive(line)
    if data and "error" in (message := json.loads(data)):
        raise revive(message["error"])


class Plug:
    """What a process is plugged into, decided before its birth: descriptors for the walk, streams for us."""

    def __init__(self, session: Session, *, terminal: bool, detach: bool):
        call = session.call
        self._check(session.call.program, terminal, detach, call.text("console-socket"))
        self._console: socket.socket | None = None
        self.stdio = (-1, -1, -1) if terminal else (0, 1, 2)
        self.streams: Streams = Inherited()
        if terminal and detach:
            self._console = connect(call.text("console-socket"))
        elif terminal:
            self.streams = Terminal()
        elif not detach and any(os.isatty(fd) for fd in range(3)):
            self.streams = Pipes()
            zero, one, two = self.streams.theirs
            self.stdio = (zero, one, two)

    @staticmethod
    def _check(program: str, terminal: bool, detach: bool, console: str) -> None:
        if detach and terminal and not console:
            raise KnarrError(f"cannot allocate tty if {program} will detach without setting console socket")
        if (not detach or not terminal) and console:
            raise KnarrError(f"cannot use console socket if {program} will not detach or allocate tty")

    def own(self, uid: int, gid: int) -> None:
        """Pipes become the root's of another user namespace; what is the caller's own stays so."""
        if isinstance(self.streams, Pipes):
            for fd in self.stdio:
                os.fchown(fd, uid, gid)

    def born(self) -> None:
        """The process has its descriptors."""
        if isinstance(self.streams, Pipes):
            self.streams.born()

    def master(self, fd: int) -> None:
        """The terminal's other end goes where it was asked to."""
        if isinstance(self.streams, Terminal):
            self.streams.take(fd)
            return
        if self._console is not None:
            give(self._console, "/dev/ptmx", fd)
            self._console.close()
            self._console = None
        os.close(fd)


def passed_on(session: Session, environment: list[str]) -> tuple[int, list[str]]:
    """(how many descriptors above 2 the program keeps, its environment): those of systemd's activation, then --preserve-fds.

    Raises KnarrError where one of them is not open.
    """
    listening = 0
    if session.environment.get("LISTEN_PID") == str(session.pid):
        listening = int(session.environment.get("LISTEN_FDS") or 0)
    if listening:
        environment = [*environment, f"LISTEN_FDS={listening}", "LISTEN_PID=1"]
    asked = session.call.number("preserve-fds")
    for number in range(asked):
        try:
            os.fstat(3 + listening + number)
        except OSError:
            raise KnarrError(
                f"unable to stat preserved-fd {number} (of {asked}): no such file or directory"
            ) from None
    for fd in range(3, 3 + listening + asked):
        os.set_inheritable(fd, True)
    return listening + asked, environment


def hand_pidfd(session: Session, pidfd: int) -> None:
    """--pidfd-socket"""
    path = session.call.text("pidfd-socket")
    if path:
        with connect(path) as line:
            give(line, "pidfd", pidfd)


def write_pid(path: str, pid: int) -> None:
    """--pid-file: there whole, or not at all."""
    directory, name = os.path.split(path)
    temporary = f"{directory}/.{name}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        os.write(fd, str(pid).encode())
    finally:
        os.close(fd)
    os.rename(temporary, path)
