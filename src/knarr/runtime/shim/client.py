"""One client that looks at a process: a stream socket that the shim writes itself.

A slow client slows the process down: past `HIGH` bytes waiting, its output is not read. A client that takes nothing for
`PATIENCE` seconds no longer does: what it misses waits in an unnamed file, up to `SPILL` bytes; past that the process
waits for it, as with Docker.
"""

import os
import socket
from collections import deque
from collections.abc import Callable

from knarr.runtime.shim.loop import BROKEN, READ, WRITE, Loop
from knarr.wire.detachkeys import Matcher
from knarr.wire.mux import head

HIGH = 1 << 20
SPILL = 256 << 20
PATIENCE = 1.0
_CHUNK = 1 << 16
_REFILL = 1 << 18


class Spill:
    """A queue of bytes in an unnamed file (O_TMPFILE)."""

    __slots__ = ("_fd", "_read", "_written")

    def __init__(self, directory: str):
        self._fd = os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        self._read = self._written = 0

    def __len__(self) -> int:
        return self._written - self._read

    def put(self, data: bytes) -> None:
        """Appends. Raises OSError when the disk is full."""
        view = memoryview(data)
        while view:
            count = os.pwrite(self._fd, view, self._written)
            self._written += count
            view = view[count:]

    def get(self) -> bytes:
        """The next bytes; an emptied file gives its space back."""
        data = os.pread(self._fd, min(_REFILL, len(self)), self._read)
        self._read += len(data)
        if not len(self):
            os.ftruncate(self._fd, 0)
            self._read = self._written = 0
        return data

    def close(self) -> None:
        """Gives the space back."""
        os.close(self._fd)


class Client:
    """`wants`: the streams (1, 2) that it sees. The owner gets `on_input(data)`, `on_end()`, `on_room()`, `on_close(detached)`."""

    __slots__ = (
        "_ended",
        "_events",
        "_finishing",
        "_framed",
        "_impatient",
        "_loop",
        "_queue",
        "_size",
        "_sock",
        "_spill",
        "_spill_dir",
        "_wants",
        "closed",
        "matcher",
        "on_close",
        "on_end",
        "on_input",
        "on_room",
        "takes_input",
    )

    def __init__(self, loop: Loop, sock: socket.socket, wants: frozenset[int], framed: bool, spill_dir: str):
        self._loop, self._sock, self._wants, self._framed = loop, sock, wants, framed
        self._spill_dir = spill_dir
        self._queue: deque[bytes] = deque()
        self._size = 0
        self._spill: Spill | None = None
        self._finishing = self._impatient = self._ended = False
        self._events = 0
        self.takes_input = False
        self.matcher: Matcher | None = None
        self.on_input: Callable[[bytes], None] = lambda data: None
        self.on_end: Callable[[], None] = lambda: None
        self.on_room: Callable[[], None] = lambda: None
        self.on_close: Callable[[Client, bool], None] = lambda client, detached: None
        self.closed = False
        sock.setblocking(False)

    def begin(self, takes_input: bool) -> None:
        """Starts to listen; input of a client that gives none is thrown away."""
        self.takes_input = takes_input
        self._watch(READ)

    def _watch(self, events: int) -> None:
        if not self.closed:
            self._events = events
            self._loop.watch(self._sock.fileno(), events, self._ready)

    @property
    def full(self) -> bool:
        """Whether the process shall wait for it."""
        return (self._size > HIGH and not self._impatient) or (
            self._spill is not None and len(self._spill) > SPILL
        )

    def send(self, stream: int, data: bytes) -> None:
        """Output of the process, framed if it was asked for."""
        if self.closed or stream not in self._wants:
            return
        pieces = [head(stream, len(data)), data] if self._framed else [data]
        if not self._queue and not self._spill:
            total = sum(map(len, pieces))
            sent = self._push(pieces)
            if sent == total or self.closed:
                return
            pieces = [b"".join(pieces)[sent:]]
        self._keep(b"".join(pieces))
        self._watch(self._events | WRITE)

    def _keep(self, data: bytes) -> None:
        if self._impatient or self._spill:
            try:
                self._spill = self._spill or Spill(self._spill_dir)
                self._spill.put(data)
            except OSError:
                self.close()
            return
        self._queue.append(data)
        self._size += len(data)
        if self._size > HIGH:
            self._loop.after(self, PATIENCE, self._lose_patience)

    def _lose_patience(self) -> None:
        self._impatient = True
        self.on_room()

    def _push(self, pieces: list[bytes]) -> int:
        try:
            return self._sock.sendmsg(pieces, [], socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return 0
        except OSError:
            self.close()
            return 0

    def _ready(self, events: int) -> None:
        if events & WRITE:
            self._drain()
        if self.closed:
            return
        if events & self._events & READ:
            self._receive()
        elif events & BROKEN:
            self.close()

    def _drain(self) -> None:
        was_full = self.full
        if not self._queue and self._spill:
            self._queue.append(self._spill.get())
            self._size = len(self._queue[0])
        sent = self._push(list(self._queue)[:32])
        if self.closed:
            return
        self._take(sent)
        if sent:
            self._loop.cancel(self)
        if self._queue or self._spill:
            if self._size > HIGH and sent and not self._impatient:
                self._loop.after(self, PATIENCE, self._lose_patience)
        else:
            self._emptied()
        if was_full and not self.full:
            self.on_room()

    def _emptied(self) -> None:
        self._impatient = False
        if self._finishing:
            self.close()
        else:
            self._watch(self._events & ~WRITE)

    def _take(self, sent: int) -> None:
        self._size -= sent
        while sent:
            first = self._queue.popleft()
            if len(first) > sent:
                self._queue.appendleft(first[sent:])
                return
            sent -= len(first)

    def _receive(self) -> None:
        try:
            data = self._sock.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not data:
            self._ended = True
            self._watch(self._events & WRITE)
            if self.takes_input:
                self.on_end()
            return
        self.input(data)

    def input(self, data: bytes) -> None:
        """What the client typed; the detach keys close it."""
        if not self.takes_input:
            return
        found = False
        if self.matcher is not None:
            data, found = self.matcher.feed(data)
        if data:
            self.on_input(data)
        if found:
            self.close(detached=True)

    def hold(self, held: bool) -> None:
        """Stops and resumes reading its input."""
        if self.takes_input and not self._ended and not self._finishing:
            self._watch(self._events & WRITE | (0 if held else READ))

    def finish(self) -> None:
        """The process is over: closes once everything is out."""
        if self.closed:
            return
        self._finishing = True
        if self._queue or self._spill:
            self._watch(WRITE)
        else:
            self.close()

    def give_back(self) -> None:
        """Nothing ran: knarrd, which still holds the socket, has the last word on it."""
        self._end(lasting=True)

    def close(self, detached: bool = False) -> None:
        """At once; what waits is dropped."""
        self._end(detached)

    def _end(self, detached: bool = False, *, lasting: bool = False) -> None:
        if self.closed:
            return
        self.closed = True
        self._loop.cancel(self)
        self._loop.forget(self._sock.fileno())
        if not lasting:
            try:
                self._sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._sock.close()
        if self._spill is not None:
            self._spill.close()
        self._queue.clear()
        self.on_close(self, detached)
