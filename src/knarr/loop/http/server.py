"""Listening sockets and the connections that came through them."""

import asyncio
import os
import socket
import ssl
import stat

from knarr.loop.http.connection import Connection, Handler
from knarr.loop.http.tls import Tls


class Server:
    """Serves `handler` on any number of sockets. The sockets it made are removed with it."""

    def __init__(self, handler: Handler):
        self._handler = handler
        self._connections: set[Connection] = set()
        self._encrypted: set[Tls] = set()
        self._servers: list[asyncio.Server] = []
        self._paths: list[str] = []

    async def listen_unix(self, path: str, mode: int = 0o660, gid: int = -1) -> None:
        """Listens on a unix socket; a dead one at `path` is replaced, a living one is an OSError (EADDRINUSE)."""
        if _is_socket(path):
            if _answers(path):
                raise OSError(98, "another daemon listens on this socket", path)  # EADDRINUSE
            os.unlink(path)
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        sock = socket.socket(socket.AF_UNIX)
        try:
            mask = os.umask(0o177)
            try:
                sock.bind(path)
            finally:
                os.umask(mask)
            os.chown(path, -1, gid)
            os.chmod(path, mode)
            await self.listen(sock)
        except BaseException:
            sock.close()
            raise
        self._paths.append(path)

    async def listen_tcp(self, host: str, port: int, context: ssl.SSLContext | None = None) -> int:
        """Listens on an address, with TLS if there is a context; the port, which matters where `port` was 0."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.create_server((host, port), family=family, backlog=512)
        await self.listen(sock, context)
        number: int = sock.getsockname()[1]
        return number

    async def listen(self, sock: socket.socket, context: ssl.SSLContext | None = None) -> None:
        """Listens on a bound stream socket, which is the server's from now on."""
        loop = asyncio.get_running_loop()

        def accept() -> asyncio.Protocol:
            connection = Connection(self._handler, self._connections)
            return connection if context is None else Tls(context, connection, self._encrypted)

        if sock.family == socket.AF_UNIX:
            self._servers.append(await loop.create_unix_server(accept, sock=sock, backlog=512))
        else:
            self._servers.append(await loop.create_server(accept, sock=sock, backlog=512))

    async def adopt(self, sock: socket.socket) -> None:
        """Serves a connection that is there already; it is the server's from now on."""
        await asyncio.get_running_loop().connect_accepted_socket(
            lambda: Connection(self._handler, self._connections), sock
        )

    async def close(self, seconds: float = 10) -> None:
        """Stops listening, lets requests that are being answered end within `seconds`, cancels the rest."""
        for server in self._servers:
            server.close()
        for path in self._paths:
            if _is_socket(path):
                os.unlink(path)
        connections = list(self._connections)
        for connection in connections:
            connection.finish()
        waiting = [asyncio.ensure_future(connection.ended()) for connection in connections]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=seconds)
            for connection in list(self._connections):
                connection.abort()
            if late:
                await asyncio.wait(late, timeout=seconds)
        for tls in list(self._encrypted):
            tls.transport.abort()
        self._servers.clear()
        self._paths.clear()


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.lstat(path).st_mode)
    except FileNotFoundError:
        return False


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except OSError:
            return False
        return True
