"""The input and output of one process: pipes or a terminal's master on one side, log and clients on the other.

Everything that is read is logged first and then given to each client. Input that the process does not take waits here, and
past `HIGH` bytes the clients that give it wait. Output is not read while a client, or the log, is full.
"""

import os
from collections import deque
from collections.abc import Callable
from typing import Any

from knarr.kernel.terminal import read_master, set_size
from knarr.runtime.shim.client import Client
from knarr.runtime.shim.loop import BROKEN, READ, WRITE, Loop

Log = Any
"""A driver: see `log`. It is called for every read, so that nothing stands between."""

STDOUT, STDERR = 1, 2
HIGH = 1 << 18
_CHUNK = 1 << 16
_ROUNDS = 8
_LEFT = 64  # reads: more than the largest pipe holds, should a stranger go on writing into it


class Streams:
    """One process's. `stdin` is -1 when it has none; with a terminal `stdin` and the one output are the master."""

    __slots__ = (
        "_ending",
        "_input",
        "_log",
        "_loop",
        "_outputs",
        "_paused",
        "_stdin",
        "_stdin_once",
        "_waiting",
        "clients",
        "leaving",
        "master",
        "on_gone",
    )

    def __init__(self, loop: Loop, log: Log | None, stdin_once: bool):
        self._loop, self._log, self._stdin_once = loop, log, stdin_once
        self._outputs: dict[int, int] = {}
        self._paused = False
        self._stdin = -1
        self._input: deque[bytes] = deque()
        self._waiting = 0
        self._ending = False
        self.clients: list[Client] = []
        self.leaving: Log | None = None
        """A log that still has something to send after the process's end; `on_gone` is called when it has no more."""
        self.on_gone: Callable[[], None] = _nothing
        self.master = -1
        if log is not None:
            log.heed(self._resume)

    def pipes(self, stdin: int, stdout: int, stderr: int) -> None:
        """The shim's ends of the process's pipes."""
        self._stdin = stdin
        if stdin >= 0:
            os.set_blocking(stdin, False)
        for fd, stream in ((stdout, STDOUT), (stderr, STDERR)):
            os.set_blocking(fd, False)
            self._outputs[fd] = stream
        self._resume()

    def terminal(self, master: int) -> None:
        """The process's terminal."""
        os.set_blocking(master, False)
        self.master = self._stdin = master
        self._outputs[master] = STDOUT
        self._resume()

    def resize(self, width: int, height: int) -> None:
        """TIOCSWINSZ, which signals SIGWINCH."""
        if self.master >= 0:
            set_size(self.master, width, height)

    def add(self, client: Client, takes_input: bool, tail: bytes) -> None:
        """A client joins; `tail` is what was read of its input before it came here."""
        client.on_input, client.on_end = self._take_input, lambda: self._client_ended(client)
        client.on_room = self._resume
        chained = client.on_close

        def closed(gone: Client, detached: bool) -> None:
            if gone in self.clients:
                self.clients.remove(gone)
            if gone.takes_input and self._stdin_once and self.master < 0:
                self._end_input()
            self._resume()
            chained(gone, detached)

        client.on_close = closed
        self.clients.append(client)
        client.begin(takes_input)
        if tail:
            client.input(tail)

    def _client_ended(self, client: Client) -> None:
        """As Docker: the end of input is passed on, or else the client is done (moby, stream/attach.go)."""
        if self._stdin_once and self.master < 0:
            self._end_input()
        else:
            client.finish()

    def _end_input(self) -> None:
        self._ending = True
        if not self._input:
            self._close_input()

    def _close_input(self) -> None:
        if self._stdin >= 0 and self._stdin != self.master:
            self._loop.forget(self._stdin)
            os.close(self._stdin)
        self._stdin = -1
        self._input.clear()
        self._waiting = 0

    def _take_input(self, data: bytes) -> None:
        if self._stdin < 0 or self._ending:
            return
        self._input.append(data)
        self._waiting += len(data)
        self._flush_input()
        if self._waiting > HIGH:
            for client in self.clients:
                client.hold(True)

    def _flush_input(self) -> None:
        while self._input and self._stdin >= 0:
            first = self._input.popleft()
            try:
                count = os.write(self._stdin, first)
            except BlockingIOError:
                count = 0
            except OSError:
                self._close_input()
                return
            self._waiting -= count
            if count < len(first):
                self._input.appendleft(first[count:])
                break
        self._watch_input()
        if not self._input and self._ending:
            self._close_input()

    def _watch_input(self) -> None:
        if self._stdin < 0:
            return
        if self._stdin == self.master:
            self._resume()
        elif self._input:
            self._loop.watch(self._stdin, WRITE, lambda events: self._drained())
        else:
            self._loop.forget(self._stdin)

    def _drained(self) -> None:
        held = self._waiting > HIGH
        self._flush_input()
        if held and self._waiting <= HIGH:
            for client in list(self.clients):
                client.hold(False)

    def _resume(self) -> None:
        """Watches the outputs again, unless a client or the log is full."""
        self._paused = self._full()
        for fd in list(self._outputs):
            events = 0 if self._paused else READ
            if fd == self.master and self._input:
                events |= WRITE
            if events:
                self._loop.watch(fd, events, self._watcher(fd))
            else:
                self._loop.forget(fd)

    def _watcher(self, fd: int) -> Callable[[int], None]:
        return lambda events: self._ready(fd, events)

    def _ready(self, fd: int, events: int) -> None:
        if fd == self.master and events & WRITE:
            self._drained()
        if events & (READ | BROKEN):
            for _ in range(_ROUNDS):
                if not self._read(fd):
                    return
                if self._full():
                    self._resume()
                    return

    def _full(self) -> bool:
        return (self._log is not None and self._log.full) or any(client.full for client in self.clients)

    def _read(self, fd: int) -> bool:
        """One read for log and clients; False when there is nothing (more) to read."""
        try:
            data = os.read(fd, _CHUNK) if fd != self.master else read_master(fd, _CHUNK)
        except BlockingIOError:
            return False
        stream = self._outputs[fd]
        if not data:
            self._close_output(fd)
            return False
        if self._log is not None:
            self._log.write(stream, data)
        for client in list(self.clients):
            client.send(stream, data)
        return True

    def _close_output(self, fd: int) -> None:
        self._loop.forget(fd)
        del self._outputs[fd]
        if fd == self.master:
            self._stdin = self.master = -1
            self._input.clear()
        os.close(fd)

    def finish(self, *, let_go: bool = True) -> None:
        """The process is over: takes what it left in its pipes, ends the log, lets the clients go when they have it all."""
        for fd in list(self._outputs):
            for _ in range(_LEFT):
                if not self._read(fd):
                    break
            if fd in self._outputs:
                self._close_output(fd)
        self._close_input()
        log, self._log = self._log, None
        if log is not None:
            log.finish()
            if not log.close(self._gone):
                self.leaving = log
        if let_go:
            self.let_go()

    def _gone(self) -> None:
        self.leaving = None
        self.on_gone()

    def let_go(self) -> None:
        """The clients may go once they have everything."""
        for client in list(self.clients):
            client.finish()

    def give_back(self) -> None:
        """Nothing ran: ends without a word to the clients."""
        for client in list(self.clients):
            client.give_back()
        self.finish()


def _nothing() -> None:
    return None
