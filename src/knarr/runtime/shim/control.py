"""The shim's own socket: who may ask, one packet at a time, and telling everyone what happened (shapes: wire.shim).

A connection that does not read its answers is dropped: nobody may stop a shim.
"""

import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

from knarr.kernel.sockets import recv_packet, send_packet
from knarr.runtime.shim.loop import READ, Loop
from knarr.runtime.shim.packets import LIMIT, pack, unpack
from knarr.wire.zygote import describe


class Request:
    """One request of a peer; who serves it takes over the descriptors or closes them. With id 0 nobody waits for an answer."""

    __slots__ = ("_connection", "_number", "early", "fds", "fields")

    def __init__(self, connection: "Connection", fields: Mapping[str, Any], fds: list[int]):
        self._connection, self._number = connection, fields["id"]
        self.fields, self.fds, self.early = fields, fds, False

    def answer(self, facts: Mapping[str, Any]) -> None:
        """Now or later."""
        if self._number:
            self._connection.send({"id": self._number, "ok": facts})

    def refuse(self, error: BaseException) -> None:
        """Instead of an answer."""
        if self._number:
            self._connection.send({"id": self._number, "error": describe(error)})


Serve = Callable[[Request], None]


class Connection:
    """One peer."""

    __slots__ = ("_server", "_sock")

    def __init__(self, server: "Server", sock: socket.socket):
        self._server, self._sock = server, sock
        sock.setblocking(False)
        server.loop.watch(sock.fileno(), READ, self._ready)

    def send(self, message: Mapping[str, Any]) -> None:
        """One packet, or the end of the connection."""
        if self._sock.fileno() < 0:
            return
        try:
            send_packet(self._sock, pack(message))
        except OSError:
            self.close()

    def _ready(self, events: int) -> None:
        try:
            data, fds = recv_packet(self._sock, LIMIT)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not data:
            self.close()
            return
        self._serve(data, fds)

    def _serve(self, data: bytes, fds: list[int]) -> None:
        try:
            request = Request(self, unpack(data, fds), fds)
            name: str = request.fields["do"]
        except (OSError, ValueError, KeyError, AttributeError, IndexError, TypeError):
            self.close()
            return
        try:
            self._server.serve(name)(request)
        except Exception as error:
            request.refuse(error)

    def close(self) -> None:
        """May be called again."""
        if self._sock.fileno() >= 0:
            self._server.loop.forget(self._sock.fileno())
            self._sock.close()
            self._server.connections.discard(self)


def listen(run_dir: str) -> socket.socket:
    """`shim.sock` in `run_dir`, named through a descriptor: the path may be longer than an address holds."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    directory = os.open(run_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sock.bind(f"/proc/self/fd/{directory}/shim.sock")
    finally:
        os.close(directory)
    os.chmod(f"{run_dir}/shim.sock", 0o600)
    sock.listen(16)
    return sock


class Server:
    """Accepts on `sock`, whose name in `run_dir` goes when it closes.

    `serve(name)` finds who serves a request, `greet()` is a new connection's first packet.
    """

    __slots__ = ("_greet", "_path", "_sock", "connections", "loop", "serve")

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        run_dir: str,
        serve: Callable[[str], Serve],
        greet: Callable[[], dict[str, Any]],
    ):
        self.loop, self.serve, self._greet = loop, serve, greet
        self.connections: set[Connection] = set()
        self._path, self._sock = run_dir and f"{run_dir}/shim.sock", sock
        sock.setblocking(False)
        loop.watch(sock.fileno(), READ, self._accept)

    def adopt(self, sock: socket.socket) -> Connection:
        """A connection that exists already: the one that the order came on."""
        connection = Connection(self, sock)
        self.connections.add(connection)
        return connection

    def _accept(self, events: int) -> None:
        try:
            sock, _ = self._sock.accept()
        except OSError:
            return
        self.adopt(sock).send(self._greet())

    def tell(self, event: Mapping[str, Any]) -> bool:
        """To every connection; whether there was one."""
        for connection in list(self.connections):
            connection.send(event)
        return bool(self.connections)

    def close(self) -> None:
        """No more connections; the socket's name goes."""
        for connection in list(self.connections):
            connection.close()
        self.loop.forget(self._sock.fileno())
        self._sock.close()
        try:
            if self._path:
                os.unlink(self._path)
        except FileNotFoundError:
            return
