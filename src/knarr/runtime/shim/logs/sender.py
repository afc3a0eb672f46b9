"""Messages to a receiver elsewhere: a queue in front of one socket, which never blocks the shim after its first connect.

A connection that breaks is made again every `again` seconds, to the addresses that were found at first; a message counts as sent when it is
whole with the kernel, or answered where `reply` reads answers. With `room` what finds no place is lost, as in Docker's ring;
without it, past `HIGH` bytes, the process waits.
"""

import os
import socket
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from knarr.runtime.shim.loop import BROKEN, READ, WRITE, Loop

HIGH = 1 << 20
_FIRST, _SHORTEST = 10.0, 0.05
_DATAGRAMS = ("udp", "unixgram")
Address = tuple[int, Any]


class Down(OSError):
    """The receiver cannot be reached, in Go's words."""


class Sender:
    """`holds`: whether the process waits for a receiver that is away, too. `reply(data, message)` says whether the message
    that was sent last is settled (None: more is to come; False: send it again)."""

    def __init__(
        self,
        loop: Loop,
        kind: str,
        host: str,
        port: int,
        *,
        tls: Mapping[str, Any] | None = None,
        room: int = 0,
        holds: bool = False,
        again: float = 1.0,
        retries: int = 1 << 31,
        reply: "Callable[[bytes, bytes], bool | None] | None" = None,
    ):
        self._loop, self._kind, self._host, self._port, self._tls = loop, kind, host, port, tls
        self._room, self._holds, self._again, self._retries, self._reply = (
            room,
            holds,
            max(again, _SHORTEST),
            retries,
            reply,
        )
        self._addresses: Sequence[Address] = ()
        self._queue: deque[bytes] = deque()
        self._waiting = self._sent = self._failures = 0
        self._sock: Any = None
        self._state = "down"
        self._answer = b""
        self._on_room: Callable[[], None] = _nothing
        self._on_gone: Callable[[], None] | None = None
        self._was_full = False
        self.lost = 0

    # the connection ----------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The first connection, waited for. Raises Down."""
        self._find()
        reason: OSError | None = None
        for address in self._addresses:
            sock = self._socket(address)
            sock.settimeout(_FIRST)
            try:
                sock.connect(address[1])
                self._sock = self._wrap(sock)
                if self._tls is not None:
                    self._sock.do_handshake()
            except OSError as error:
                (self._sock or sock).close()
                self._sock, reason = None, error
                continue
            self._sock.setblocking(False)
            self._state = "open"
            self._watch()
            return
        words = str(reason.strerror or reason).lower() if reason else "no such host"
        raise Down(
            getattr(reason, "errno", 0) or 111, f"dial {self._network} {self._place}: connect: {words}"
        )

    def begin_later(self) -> None:
        """The first connection, not waited for."""
        try:
            self._find()
        except Down:
            self._addresses = ()
        self._connect()

    @property
    def _network(self) -> str:
        return {"tls": "tcp"}.get(self._kind, self._kind)

    @property
    def _place(self) -> str:
        if not self._port:
            return self._host
        return f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"

    def _find(self) -> None:
        if self._kind in ("unix", "unixgram"):
            self._addresses = [(socket.AF_UNIX, self._host)]
            return
        kind = socket.SOCK_DGRAM if self._kind == "udp" else socket.SOCK_STREAM
        try:
            found = socket.getaddrinfo(self._host or "localhost", self._port, 0, kind)
        except OSError as error:
            raise Down(111, f"dial {self._network}: lookup {self._host}: {error.strerror or error}") from None
        self._addresses = [(family, address) for family, _, _, _, address in found]

    def _socket(self, address: Address) -> socket.socket:
        kind = socket.SOCK_DGRAM if self._kind in _DATAGRAMS else socket.SOCK_STREAM
        return socket.socket(address[0], kind | socket.SOCK_CLOEXEC)

    def _wrap(self, sock: socket.socket) -> Any:
        if self._tls is None:
            return sock
        from knarr.runtime.shim.logs.encrypted import encrypted

        return encrypted(sock, self._host, self._tls)

    def _connect(self) -> None:
        """Tries the next address, without waiting."""
        if not self._addresses:
            try:
                self._find()
            except Down:
                self._fail()
                return
        address = self._addresses[self._failures % len(self._addresses)]
        try:
            sock = self._socket(address)
            sock.setblocking(False)
            code = sock.connect_ex(address[1])
        except OSError:
            self._fail()
            return
        if code not in (0, 115, 11):  # EINPROGRESS, EAGAIN
            sock.close()
            self._fail()
            return
        self._sock, self._state = sock, "connecting"
        self._loop.watch(sock.fileno(), WRITE, self._ready)

    def _ready(self, events: int) -> None:
        try:
            if self._state == "connecting":
                code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    raise OSError(code, os.strerror(code))
                self._loop.forget(self._sock.fileno())
                self._sock = self._wrap(self._sock)
                self._state = "shaking" if self._tls is not None else "open"
            if self._state == "shaking":
                if not self._shake():
                    return
                self._state = "open"
            if events & (READ | BROKEN) and not self._read():
                raise OSError(104, "connection reset by peer")
            self._send()
        except OSError:
            self._fail()
            return
        self._watch()

    def _shake(self) -> bool:
        from knarr.runtime.shim.logs.encrypted import shake

        wanted = shake(self._sock)
        if wanted:
            self._loop.watch(self._sock.fileno(), wanted, self._ready)
        return not wanted

    def _read(self) -> bool:
        """What the receiver says; False at its end."""
        if self._kind in _DATAGRAMS:
            return True
        try:
            data = self._sock.recv(4096)
        except OSError as error:
            return _wants(error)
        if data and self._reply is not None:
            self._answer += data
            settled = self._reply(self._answer, self._queue[0] if self._queue else b"")
            if settled is not None:
                self._answer = b""
                if settled:
                    self._pop()
                else:
                    self._sent = 0
        return bool(data)

    def _fail(self) -> None:
        """Not now: again later, or never."""
        if self._sock is not None:
            self._loop.forget(self._sock.fileno())
            self._sock.close()
        self._sock, self._state, self._sent, self._answer = None, "down", 0, b""
        self._failures += 1
        if self._failures > self._retries and self._queue:
            self.lost += 1
            self._failures = 0
            self._pop()
        if self._on_gone is not None and not self._queue:
            self._over()
        else:
            self._loop.after(self, self._again, self._connect)
        self._tell()

    def _watch(self) -> None:
        if self._sock is None:
            return
        waits = self._reply is not None and self._queue and self._sent == len(self._queue[0])
        events = READ | (WRITE if self._queue and not waits else 0)
        if self._kind in _DATAGRAMS and not self._queue:
            self._loop.forget(self._sock.fileno())
        else:
            self._loop.watch(self._sock.fileno(), events, self._ready)

    # the queue ---------------------------------------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Whether who writes shall wait."""
        return not self._room and self._waiting > HIGH and (self._holds or self._state == "open")

    def heed(self, on_room: Callable[[], None]) -> None:
        """Whom to tell when it is not full any more."""
        self._on_room = on_room

    def push(self, message: bytes) -> None:
        """Takes a message, or loses it."""
        limit = self._room or (1 << 62 if self._holds or self._state == "open" else HIGH)
        if self._queue and self._waiting + len(message) > limit:
            self.lost += 1
            return
        self._queue.append(message)
        self._waiting += len(message)

    def flush(self) -> None:
        """Sends what it can."""
        if self._state == "open":
            try:
                self._send()
            except OSError:
                self._fail()
                return
            self._watch()
        self._was_full = self.full

    def _send(self) -> None:
        while self._queue:
            first = self._queue[0]
            if self._sent == len(first):
                return
            try:
                if self._kind in _DATAGRAMS:
                    self._send_datagram(first)
                    self._sent = len(first)
                else:
                    self._sent += self._sock.send(memoryview(first)[self._sent :])
            except OSError as error:
                if _wants(error):
                    return
                raise
            self._failures = 0
            if self._sent == len(first) and self._reply is None:
                self._pop()
        self._tell()

    def _send_datagram(self, data: bytes) -> None:
        """One that is too large goes by a sealed memfd, as journald takes it; elsewhere it is lost."""
        try:
            self._sock.send(data)
        except ConnectionRefusedError:
            if self._kind != "udp":
                raise
            self._sock.send(data)
        except OSError as error:
            if error.errno not in (90, 105):  # EMSGSIZE, ENOBUFS
                raise
            self._send_large(data)

    def _send_large(self, data: bytes) -> None:
        if self._kind != "unixgram" or "journal" not in self._host:
            self.lost += 1
            return
        from knarr.kernel.memfd import sealed
        from knarr.kernel.sockets import send_packet

        fd = sealed("journal", data)
        try:
            send_packet(self._sock, b"", [fd])
        finally:
            os.close(fd)

    def _pop(self) -> None:
        self._waiting -= len(self._queue.popleft())
        self._sent = 0
        if self._on_gone is not None and not self._queue:
            self._over()

    def _tell(self) -> None:
        if self._was_full and not self.full:
            self._was_full = False
            self._on_room()

    # the end -----------------------------------------------------------------------------------------------------------

    def close(self, on_gone: Callable[[], None], *, insist: bool = True) -> bool:
        """Sends the rest, and then tells; True: nothing is left. A receiver that is away is insisted on, or not."""
        self.flush()
        if not self._queue or (self._state == "down" and not insist):
            self.lost += len(self._queue)
            self._queue.clear()
            self._shut()
            return True
        self._on_gone = on_gone
        return False

    def _over(self) -> None:
        on_gone, self._on_gone = self._on_gone, None
        self._shut()
        if on_gone is not None:
            on_gone()

    def _shut(self) -> None:
        self._loop.cancel(self)
        if self._sock is not None:
            self._loop.forget(self._sock.fileno())
            self._sock.close()
            self._sock = None
        self._state = "over"


def _wants(error: OSError) -> bool:
    """Whether it is only too early: EAGAIN, or TLS' own words for it."""
    return isinstance(error, BlockingIOError) or type(error).__name__ in (
        "SSLWantReadError",
        "SSLWantWriteError",
    )


def _nothing() -> None:
    return None
