"""A process of the container as the shim sees it: cloned, walked to its gate, executed, reaped."""

import json
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

from knarr.kernel import process
from knarr.kernel.sockets import recv_packet, socketpair
from knarr.runtime.birth import Life
from knarr.runtime.plan import Step
from knarr.runtime.shim.loop import READ, Loop
from knarr.runtime.shim.streams import Streams
from knarr.runtime.state import Walk
from knarr.runtime.walk import walk_to_execve


class Recipe(NamedTuple):
    """How a child is born (`bear` of `runtime.birth`), and `prepare`, which in the child fills its walk in and plans.

    Planning there keeps the shim small: what it touches stays its own for the container's whole life.
    """

    bear: Callable[[Life], tuple[int, int]]
    prepare: Callable[[Walk], Sequence[Step]]
    prefix: str
    tty: bool = False
    stdin: bool = False
    explain: bool = False


class Child:
    """The init (`exec_id` None) or an exec. `on_ready(facts)`, `on_failed(error)`, `on_executed()`, `on_exit(status)`."""

    def __init__(self, loop: Loop, streams: Streams, exec_id: str | None = None):
        self._loop, self.streams, self.exec_id = loop, streams, exec_id
        self.pid, self.pidfd = 0, -1
        self._control: socket.socket | None = None
        self.executed = False
        self.on_ready: Callable[[dict[str, Any]], None] = lambda facts: None
        self.on_failed: Callable[[dict[str, Any]], None] = lambda error: None
        self.on_executed: Callable[[], None] = lambda: None
        self.on_exit: Callable[[int], None] = lambda status: None

    def start(self, recipe: Recipe) -> None:
        """Clones; the child walks."""
        mine, theirs = socketpair()
        ours, its = ((-1, -1, -1), (-1, -1, -1)) if recipe.tty else _pipes(recipe.stdin)

        def life() -> NoReturn:
            walk_to_execve(Walk(theirs, its), recipe.prepare, recipe.prefix, explain=recipe.explain)

        pid, pidfd = recipe.bear(life)
        theirs.close()
        for fd in its:
            if fd >= 0:
                os.close(fd)
        self.pid, self.pidfd, self._control = pid, pidfd, mine
        if not recipe.tty:
            self.streams.pipes(*ours)
        self._loop.watch(mine.fileno(), READ, self._speak)
        self._loop.watch(pidfd, READ, self._ended)

    def open_gate(self) -> None:
        """Lets a walked process execute."""
        if self._control is not None:
            try:
                self._control.send(b"x", socket.MSG_NOSIGNAL)
            except OSError:
                return

    def _told(self) -> bool:
        """One packet of the walk; False at its end."""
        if self._control is None:
            return False
        try:
            data, fds = recv_packet(self._control)
        except OSError:
            data, fds = b"", []
        if not data:
            self._loop.forget(self._control.fileno())
            self._control.close()
            self._control = None
            if not self.executed:
                self.executed = True
                self.on_executed()
            return False
        message = json.loads(data)
        if "master" in message:
            self.streams.terminal(fds[0])
        elif "ready" in message:
            self.on_ready(message)
        else:
            self.executed = True
            self.on_failed(message["error"])
        return True

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
        while self._told():
            continue
        self._loop.forget(self.pidfd)
        result = process.waitid_pidfd(self.pidfd)
        os.close(self.pidfd)
        self.pidfd = -1
        if result is None:
            return
        status = result.si_status
        self.on_exit(status if result.si_code == os.CLD_EXITED else 128 + (status & 0x7F))

    def signal(self, number: int) -> None:
        """Raises ProcessLookupError after its end."""
        if self.pidfd < 0:
            raise ProcessLookupError(3, os.strerror(3))
        process.pidfd_send_signal(self.pidfd, number)


def _pipes(stdin: bool) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """(the shim's ends, the process's ends), -1 for a standard input that is /dev/null."""
    read, write = os.pipe() if stdin else (-1, -1)
    out, out_end = os.pipe()
    err, err_end = os.pipe()
    return (write, out, err), (read, out_end, err_end)
