"""The shim's own socket: who may ask, one packet at a time, and telling everyone what happened (shapes: wire.shim).

A connection that does not read its answers is dropped: nobody may stop a shim.
"""

import json
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

from knarr.kernel.sockets import recv_packet, send_packet
from knarr.model.errors import Invalid
from knarr.runtime.shim.loop import READ, Loop
from knarr.wire.zygote import describe

Answer = Callable[[dict[str, Any]], None]
Handler = Callable[[Mapping[str, Any], list[int], Answer, Callable[[BaseException], None]], None]
"""`handler(request, fds, answer, refuse)`: answers now or later; takes over the descriptors or closes them."""


class Connection:
    """One peer."""

    def __init__(self, server: "Server", sock: socket.socket):
        self._server, self._sock = server, sock
        sock.setblocking(False)
        server.loop.watch(sock.fileno(), READ, self._ready)

    def send(self, message: Mapping[str, Any]) -> None:
        """One packet, or the end of the connection."""
        if self._sock.fileno() < 0:
            return
        try:
            send_packet(self._sock, json.dumps(message, separators=(",", ":")).encode())
        except OSError:
            self.close()

    def _ready(self, events: int) -> None:
        try:
            data, fds = recv_packet(self._sock)
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
            request = json.loads(data)
            if request.get("memfd"):
                with open(fds.pop(), "rb") as file:
                    request = json.load(file)
            number, name = request["id"], request["do"]
        except (ValueError, KeyError, AttributeError, IndexError):
            self.close()
            return

        def answer(facts: dict[str, Any]) -> None:
            self.send({"id": number, "ok": facts})

        def refuse(error: BaseException) -> None:
            self.send({"id": number, "error": describe(error)})

        handler = self._server.handlers.get(name)
        try:
            if handler is None:
                raise Invalid(f"unknown request {name!r} to a shim")
            handler(request, fds, answer, refuse)
        except Exception as error:
            refuse(error)

    def close(self) -> None:
        """May be called again."""
        if self._sock.fileno() >= 0:
            self._server.loop.forget(self._sock.fileno())
            self._sock.close()
            self._server.connections.discard(self)


class Server:
    """Listens on `shim.sock` in `run_dir`, named through a descriptor: the path may be longer than an address holds."""

    def __init__(self, loop: Loop, run_dir: str, greet: Callable[[], dict[str, Any]]):
        self.loop, self._greet = loop, greet
        self.handlers: dict[str, Handler] = {}
        self.connections: set[Connection] = set()
        self._path = f"{run_dir}/shim.sock"
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        directory = os.open(run_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._sock.bind(f"/proc/self/fd/{directory}/shim.sock")
        finally:
            os.close(directory)
        os.chmod(self._path, 0o600)
        self._sock.listen(16)
        self._sock.setblocking(False)
        loop.watch(self._sock.fileno(), READ, self._accept)

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
            os.unlink(self._path)
        except FileNotFoundError:
            return
