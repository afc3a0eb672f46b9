"""What a handler is given and what it gives back."""

import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol

from knarr.loop.http.parser import Head
from knarr.model.errors import Invalid


class ClientGone(ConnectionResetError):
    """Nobody is there to answer any more."""


class Wire(Protocol):
    """The connection below a request."""

    def body(self) -> AsyncIterator[bytes]:
        """The body's pieces as they come. Raises ClientGone if it is cut."""
        ...

    async def hijack(self, head: bytes) -> tuple[socket.socket, bytes]:
        """Sends `head` and gives up the connection."""
        ...


class Request:
    """One request. `params` are the path's named segments, set by the router."""

    def __init__(self, head: Head, wire: Wire):
        self.head = head
        self.method = head.method
        self.path = head.path
        self.query = head.query
        self.headers = head.headers
        self.params: Mapping[str, str] = {}
        self._wire = wire

    def first(self, key: str, default: str = "") -> str:
        """The query's first value of `key`."""
        values = self.query.get(key)
        return values[0] if values else default

    def body(self) -> AsyncIterator[bytes]:
        """The body's pieces; may be iterated once."""
        return self._wire.body()

    async def read(self, limit: int = 16 << 20) -> bytes:
        """The whole body. Raises Invalid above `limit`."""
        data = bytearray()
        async for piece in self.body():
            data += piece
            if len(data) > limit:
                raise Invalid("http: request body too large")
        return bytes(data)

    async def hijack(self, head: bytes) -> tuple[socket.socket, bytes]:
        """Sends `head`, everything flushed, and hands out the connection: a socket of the caller's own (non-blocking, its
        descriptor may go to another process) and the bytes that were read already. The handler returns None then."""
        return await self._wire.hijack(head)


@dataclass(slots=True)
class Response:
    """An answer. An iterator as `body` is sent as it comes, chunked unless `headers` has a Content-Length."""

    status: int = 200
    body: bytes | AsyncIterator[bytes] = b""
    headers: dict[str, str] = field(default_factory=dict)

    def head(self, version: tuple[int, int], keep_alive: bool) -> bytes:
        """The status line and headers."""
        lines = [f"HTTP/{version[0]}.{version[1]} {self.status} {reason(self.status)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if not keep_alive:
            lines.append("Connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def reason(status: int) -> str:
    """The status' phrase."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
