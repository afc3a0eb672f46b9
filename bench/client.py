"""The smallest HTTP client that can time a daemon: one kept connection to a unix socket, a few lines of parsing.

A real client costs more than what is measured: docker's takes 12 ms a command.
"""

import json
import os
import socket
from typing import Any, Self


class Failed(Exception):
    """The daemon answered with an error."""


class Client:
    """`request` may be called again and again, its body JSON, or a tar's bytes; `stream` ends the connection and a new one is made when it is needed."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        self._sock: socket.socket | None = None
        self._buffer = b""

    def request(self, method: str, target: str, body: object = None, *, lines: bool = False) -> Any:
        """The answer's JSON; its bytes where it is none, or with `lines`. Raises Failed from 400 on."""
        self._send(method, target, body)
        status, headers = self._head()
        data = self._body(status, headers)
        if headers.get("connection", "").lower() == "close":
            self.close()
        if status >= 400:
            raise _failure(method, target, status, data)
        is_json = headers.get("content-type", "").startswith("application/json")
        return json.loads(data) if data and is_json and not lines else data

    def lines(self, method: str, target: str) -> list[Any]:
        """The answer's JSON lines."""
        told = self.request(method, target, lines=True)
        return [json.loads(line) for line in told.splitlines()]

    def stream(self, method: str, target: str, body: object = None) -> bytes:
        """Everything up to the end of a hijacked connection."""
        self._send(method, target, body, upgrade=True)
        status, headers = self._head()
        if status >= 400:
            raise _failure(method, target, status, self._body(status, headers))
        if status == 200 and "chunked" in headers.get("transfer-encoding", ""):
            data = self._body(status, headers)
        else:
            while self._fill():
                pass
            data = self._buffer
        self.close()
        return data

    def close(self) -> None:
        """Ends the connection."""
        if self._sock is not None:
            self._sock.close()
        self._sock, self._buffer = None, b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, method: str, target: str, body: object, *, upgrade: bool = False) -> None:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        head = f"{method} {target} HTTP/1.1\r\nHost: docker\r\nContent-Length: {len(data)}\r\n"
        if body is not None:
            head += f"Content-Type: application/{'x-tar' if isinstance(body, bytes) else 'json'}\r\n"
        if upgrade:
            head += "Connection: Upgrade\r\nUpgrade: tcp\r\n"
        if self._sock is None:
            self._sock = socket.socket(socket.AF_UNIX)
            self._sock.settimeout(120)
            self._sock.connect(self._path)
        self._sock.sendall(head.encode() + b"\r\n" + data)

    def _fill(self) -> bool:
        assert self._sock is not None
        data = self._sock.recv(1 << 16)
        self._buffer += data
        return bool(data)

    def _more(self) -> None:
        if not self._fill():
            self.close()
            raise Failed("the daemon closed the connection in the middle of an answer")

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._more()
        data, _, self._buffer = self._buffer.partition(mark)
        return data

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._more()
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def _head(self) -> tuple[int, dict[str, str]]:
        first, *lines = self._until(b"\r\n\r\n").decode().split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return int(first.split()[1]), headers

    def _body(self, status: int, headers: dict[str, str]) -> bytes:
        if status in (204, 304):
            return b""
        if headers.get("transfer-encoding", "").lower() == "chunked":
            data = b""
            while size := int(self._until(b"\r\n").partition(b";")[0], 16):
                data += self._exactly(size)
                self._exactly(2)
            self._until(b"\r\n")
            return data
        return self._exactly(int(headers.get("content-length", "0")))


def _failure(method: str, target: str, status: int, data: bytes) -> Failed:
    return Failed(f"{method} {target}: {status} {data.decode(errors='replace').strip()}")
