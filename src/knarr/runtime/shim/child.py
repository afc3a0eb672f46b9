"""A process of the container as the shim sees it: born, walked to its gate, executed, reaped."""

import os
import signal
import socket
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

from knarr.kernel import process
from knarr.kernel.sockets import recv_packet, socketpair
from knarr.model.errors import KnarrError
from knarr.runtime.birth import Life, Prelude
from knarr.runtime.plan import Step
from knarr.runtime.prelude import remaining, walk_prelude
from knarr.runtime.shim.ahead import Ahead, Fds, close, pipes
from knarr.runtime.shim.loop import READ, Loop
from knarr.runtime.shim.packets import LIMIT, unpack
from knarr.runtime.shim.streams import Streams
from knarr.runtime.state import Walk
from knarr.runtime.walk import walk_to_execve
from knarr.wire.zygote import describe

Own = Callable[[int, int], None]
"""Gives the streams to a user of the host."""


class Recipe(NamedTuple):
    """How a child is born (`bear` of `runtime.birth`), and `prepare`, which in the child fills its walk in and plans.

    Planning there keeps the shim small: what it touches stays its own for the container's whole life.
    """

    bear: Callable[[Life, Prelude, Own], tuple[int, int]]
    prepare: Callable[[Walk], Sequence[Step]]
    prefix: str
    tty: bool = False
    stdin: bool = False
    explain: bool = False


class Owner:
    """Who is told about a child: the container, or an exec of it."""

    __slots__ = ()

    def walked(self, facts: dict[str, Any]) -> None:
        """It waits at its gate."""

    def failed(self, error: dict[str, Any]) -> None:
        """It will not get there; its exit follows."""

    def executed(self) -> None:
        """The program runs."""

    def exited(self, code: int) -> None:
        """It is reaped."""

    def asked(self, message: dict[str, Any]) -> None:
        """It needs something of its parent. What is raised ends it."""

    def unborn(self, message: dict[str, Any]) -> None:
        """Born ahead, it could not become what was ordered, or has made something on the way."""


class Child:
    """The init or an exec, on behalf of its owner."""

    __slots__ = ("_control", "_its", "_loop", "_owner", "executed", "pid", "pidfd", "streams")

    def __init__(self, loop: Loop, streams: Streams, owner: Owner):
        self._loop, self.streams, self._owner = loop, streams, owner
        self.pid, self.pidfd = 0, -1
        self._control: socket.socket | None = None
        self._its: Fds = (-1, -1, -1)
        self.executed = False

    def start(self, recipe: Recipe) -> None:
        """Has it born; the child walks."""
        if recipe.tty:
            self._start(recipe, (-1, -1, -1))
            return
        ours, its = pipes(stdin=recipe.stdin)
        try:
            self._start(recipe, its)
        finally:
            close(its)
        self.streams.pipes(*ours)

    def _start(self, recipe: Recipe, its: Fds) -> None:
        mine, theirs = socketpair()

        walk = Walk(theirs, its)

        def life() -> NoReturn:
            walk_to_execve(walk, remaining(walk, recipe.prepare), recipe.prefix, explain=recipe.explain)

        def prelude() -> None:
            walk_prelude(walk, recipe.prepare, recipe.prefix)

        def own(uid: int, gid: int) -> None:
            for fd in its:
                if fd >= 0:
                    os.fchown(fd, uid, gid)

        try:
            pid, pidfd = recipe.bear(life, prelude, own)
        finally:
            theirs.close()
        self._begin(pid, pidfd, mine)

    def take_up(self, ahead: Ahead, *, tty: bool, stdin: bool) -> None:
        """One that was born ahead, and walks already."""
        self._begin(ahead.pid, ahead.pidfd, ahead.control)
        if tty:
            close(ahead.ours)
            close(ahead.its)
            return
        self._its = ahead.its
        if stdin:
            self.streams.pipes(*ahead.ours)
        else:
            close((ahead.ours[0], ahead.its[0]))
            self._its = (-1, *ahead.its[1:])
            self.streams.pipes(-1, *ahead.ours[1:])

    def bear_anew(self, recipe: Recipe) -> None:
        """The one that was born ahead gives its place, and its streams, to one that is born now."""
        self._hang_up()
        self._loop.forget(self.pidfd)
        process.waitid_pidfd(self.pidfd)
        os.close(self.pidfd)
        self.pid, self.pidfd = 0, -1
        try:
            self._start(recipe, self._its)
        finally:
            self._settle()

    def _settle(self) -> None:
        """The process's ends of its streams are its own."""
        close(self._its)
        self._its = (-1, -1, -1)

    def _begin(self, pid: int, pidfd: int, control: socket.socket) -> None:
        control.setblocking(False)
        self.pid, self.pidfd, self._control = pid, pidfd, control
        self._loop.watch(control.fileno(), READ, self._speak)
        self._loop.watch(pidfd, READ, self._ended)

    def open_gate(self) -> None:
        """Lets a walked process execute."""
        if self._control is not None:
            try:
                self._control.send(b"x", socket.MSG_NOSIGNAL)
            except OSError:
                return

    def _told(self) -> bool:
        """One packet of the walk; False without one, or at its end. An event may be that of a number's former owner."""
        if self._control is None:
            return False
        try:
            data, fds = recv_packet(self._control, LIMIT)
        except BlockingIOError:
            return False
        except OSError:
            data, fds = b"", []
        if not data:
            self._hang_up()
            if not self.executed:
                self.executed = True
                self._owner.executed()
            return False
        message = unpack(data, fds)
        if "master" in message:
            self.streams.terminal(fds[0])
        elif "ready" in message:
            self._settle()
            self._owner.walked(message)
        elif "error" in message:
            self._refused(message["error"])
        elif "hooks" in message or "listener" in message:
            self._asked(message)
        else:
            self._owner.unborn(message)
        return True

    def _asked(self, message: dict[str, Any]) -> None:
        """Done, and then the walk goes on; or it ends here."""
        try:
            self._owner.asked(message)
        except (KnarrError, OSError) as error:
            self._refused(describe(error))
            process.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        else:
            self.open_gate()

    def _refused(self, error: dict[str, Any]) -> None:
        self.executed = True
        self._owner.failed(error)

    def _hang_up(self) -> None:
        if self._control is not None:
            self._loop.forget(self._control.fileno())
            self._control.close()
            self._control = None

    def _speak(self, events: int) -> None:
        self._told()

    def poll(self) -> None:
        """Takes its end in, if it came."""
        if (
            self.pidfd >= 0
            and process.waitid_pidfd(self.pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        ):
            self._ended(READ)

    def _ended(self, events: int) -> None:
        """What the walk still had to say comes before its exit."""
        pid, pidfd = self.pid, self.pidfd
        while self.pid == pid and self._told():
            continue
        if self.pid != pid:
            return
        result = process.waitid_pidfd(pidfd, os.WEXITED | os.WNOHANG)
        if result is None:
            return
        self._loop.forget(pidfd)
        os.close(pidfd)
        self.pidfd = -1
        self._settle()
        status = result.si_status
        self._owner.exited(status if result.si_code == os.CLD_EXITED else 128 + (status & 0x7F))

    def signal(self, number: int) -> None:
        """Raises ProcessLookupError after its end."""
        if self.pidfd < 0:
            raise ProcessLookupError(3, os.strerror(3))
        process.pidfd_send_signal(self.pidfd, number)
