"""Receivers of logs: sockets that keep what they are sent, and fluentd's forward protocol read by msgspec, which is not ours."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

_SECONDS = 60.0


def until(condition: Callable[[], object], seconds: float = _SECONDS) -> None:
    """Waits for a condition; fails the test if it never comes."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.02)


class Receiver:
    """Listens; `data` is what came, of stream sockets joined, `packets` of datagrams each. `address` may be a path."""

    def __init__(
        self,
        address: "tuple[str, int] | Path",
        kind: int = socket.SOCK_STREAM,
        context: ssl.SSLContext | None = None,
    ):
        family = socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET
        self.sock = socket.socket(family, kind)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind(str(address) if isinstance(address, Path) else address)
        self.context, self.data, self.packets = context, b"", [b""][:0]
        self._living: list[socket.socket] = []
        if kind == socket.SOCK_STREAM:
            self.sock.listen()
        work = self._accept if kind == socket.SOCK_STREAM else self._datagrams
        threading.Thread(target=work, daemon=True).start()

    @property
    def port(self) -> int:
        number: int = self.sock.getsockname()[1]
        return number

    def _datagrams(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self.packets.append(self.sock.recv(1 << 20))

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.sock.accept()
                self._living.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self.context is not None:
                connection = self.context.wrap_socket(connection, server_side=True)
                self._living.append(connection)
            while data := connection.recv(1 << 16):
                self.take(connection, data)

    def take(self, connection: socket.socket, data: bytes) -> None:
        """What arrived."""
        self.data += data

    def lines(self) -> list[str]:
        """What came, as text."""
        return (self.data or b"".join(self.packets)).decode().splitlines()

    def close(self) -> None:
        """Away with it and its connections."""
        for each in (self.sock, *self._living):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


class Fluent(Receiver):
    """A forward server; `messages` are [tag, time, record, option]. It acknowledges chunks, but the first `deaf` of them."""

    def __init__(self, address: "tuple[str, int] | Path", deaf: int = 0):
        self.messages: list[list[Any]] = []
        self.deaf = deaf
        super().__init__(address)

    def take(self, connection: socket.socket, data: bytes) -> None:
        self.data += data
        while self.data:
            message, length = _first(self.data)
            if not length:
                return
            self.data = self.data[length:]
            self.messages.append(message)
            chunk = message[3].get("chunk") if len(message) > 3 else None
            if chunk and self.deaf:
                self.deaf -= 1
                connection.shutdown(socket.SHUT_RDWR)
                return
            if chunk:
                connection.sendall(msgspec.msgpack.encode({"ack": chunk}))

    def records(self) -> list[dict[str, Any]]:
        """Of all messages."""
        return [message[2] for message in self.messages]


def _first(data: bytes) -> tuple[list[Any], int]:
    """The first message and its length, 0 while it is not whole."""
    decoder = msgspec.msgpack.Decoder(ext_hook=lambda code, value: (code, bytes(value)))
    length = data.find(b"\x94", 1)
    while True:
        end = length if length > 0 else len(data)
        try:
            found: list[Any] = decoder.decode(data[:end])
        except (msgspec.DecodeError, UnicodeDecodeError):
            if end == len(data):
                return [], 0
            length = data.find(b"\x94", length + 1)
            continue
        return found, end
