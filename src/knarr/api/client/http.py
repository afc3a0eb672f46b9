"""HTTP/1.1 to a daemon, blocking and small: the command line's way in. Standard library only, TLS imported late.

One connection a request: a unix socket costs nothing, and a stream or a taken-over connection needs its own anyway.
"""

import contextlib
import io
import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, NamedTuple

VERSION = "1.51"
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-~")
DEFAULT_HOST = "unix:///run/knarr/knarr.sock"


class ApiError(Exception):
    """The daemon refused: its status and its message."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


class CannotConnect(Exception):
    """No daemon answers at the address."""


class Hijacked(NamedTuple):
    """A taken-over connection: the socket, what arrived behind the head, and whether output comes in frames."""

    sock: socket.socket
    tail: bytes
    framed: bool


class Answer:
    """A response whose body has not been read yet. Use it with `with`."""

    def __init__(
        self, sock: socket.socket, file: IO[bytes], status: int, headers: Mapping[str, str], bodiless: bool
    ):
        self.sock = sock
        self.status = status
        self.headers = headers
        self._file = file
        self._left = 0 if bodiless else _length(headers)
        self._chunked = not bodiless and headers.get("transfer-encoding", "").lower() == "chunked"

    def pieces(self, size: int = 65536) -> Iterator[bytes]:
        """The body as it comes. Raises ConnectionError when it is cut."""
        if self._chunked:
            yield from self._chunks()
            return
        while self._left != 0:
            want = size if self._left is None else min(size, self._left)
            data = self._file.read1(want) if hasattr(self._file, "read1") else self._file.read(want)
            if not data:
                if self._left:
                    raise ConnectionError("unexpected EOF")
                return
            if self._left is not None:
                self._left -= len(data)
            yield data

    def _chunks(self) -> Iterator[bytes]:
        while True:
            line = self._file.readline(1024)
            if not line.endswith(b"\n"):
                raise ConnectionError("unexpected EOF")
            size = int(line.split(b";")[0], 16)
            if size:
                data = self._file.read(size)
                if len(data) < size:
                    raise ConnectionError("unexpected EOF")
                yield data
            if not self._file.readline(1024).endswith(b"\n"):
                raise ConnectionError("unexpected EOF")
            if not size:
                return

    def read(self) -> bytes:
        """The whole body."""
        return b"".join(self.pieces())

    def json(self) -> Any:
        """The whole body as a JSON value; None for an empty one."""
        data = self.read()
        return json.loads(data) if data.strip() else None

    def lines(self) -> Iterator[Any]:
        """A stream of JSON values, one a line."""
        buffer = b""
        for piece in self.pieces():
            buffer += piece
            *whole, buffer = buffer.split(b"\n")
            for line in whole:
                if line.strip():
                    yield json.loads(line)
        if buffer.strip():
            yield json.loads(buffer)

    def close(self) -> None:
        """May be called again."""
        self._file.close()
        self.sock.close()

    def __enter__(self) -> "Answer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Tls(NamedTuple):
    """The files of a TLS connection ("" for none), and whether the daemon must prove who it is."""

    ca: str = ""
    certificate: str = ""
    key: str = ""
    verify: bool = True


def tls_of_environment() -> Tls | None:
    """DOCKER_TLS_VERIFY and DOCKER_CERT_PATH, as docker reads them."""
    if not os.environ.get("DOCKER_TLS_VERIFY"):
        return None
    directory = os.environ.get("DOCKER_CERT_PATH") or os.path.expanduser("~/.docker")
    return Tls(f"{directory}/ca.pem", f"{directory}/cert.pem", f"{directory}/key.pem")


class Http:
    """The daemon at `host`: "unix:///path", "tcp://name:port" (over TLS where `tls` says so) or "ssh://user@name:port"."""

    def __init__(self, host: str = "", tls: Tls | None = None, headers: Mapping[str, str] | None = None):
        self.host = host or os.environ.get("DOCKER_HOST", "") or DEFAULT_HOST
        self._tls = tls or tls_of_environment()
        self._headers = dict(headers or {})

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        stream: IO[bytes] | None = None,
    ) -> Answer:
        """Sends a request; `body` goes as JSON, `stream` as chunks. Raises ApiError, CannotConnect."""
        sock = self.dial()
        try:
            # The daemon may refuse while the body is still on its way: its answer says why.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self._send(sock, method, path, query, body, dict(headers or {}), stream)
            answer = self._answer(sock, method)
        except BaseException:
            sock.close()
            raise
        if answer.status >= 400:
            with answer:
                raise ApiError(answer.status, _message(answer.read(), answer.status))
        return answer

    def hijack(
        self,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        *,
        protocol: str = "tcp",
        repeated: Sequence[tuple[str, str]] = (),
    ) -> Hijacked:
        """Asks to take the connection over; `repeated` headers may have a name in common. Raises ApiError, CannotConnect."""
        sock = self.dial()
        try:
            headers = {"Connection": "Upgrade", "Upgrade": protocol}
            self._send(sock, "POST", path, query, body, headers, None, repeated)
            answer, tail = self._raw_head(sock)
        except BaseException:
            sock.close()
            raise
        if answer.status >= 400:
            with answer:
                raise ApiError(answer.status, _message(answer.read(), answer.status))
        framed = answer.headers.get("content-type", "") != "application/vnd.docker.raw-stream"
        return Hijacked(sock, tail, framed)

    def dial(self) -> socket.socket:
        """A connection on which nothing was said yet. Raises CannotConnect."""
        scheme, _, address = self.host.partition("://")
        try:
            if scheme == "unix":
                sock = socket.socket(socket.AF_UNIX)
                try:
                    sock.connect(address)
                except OSError:
                    sock.close()
                    raise
                return sock
            if scheme == "tcp":
                name, _, port = address.partition("/")[0].rpartition(":")
                name = name.strip("[]") or "127.0.0.1"
                sock = socket.create_connection((name, int(port or 2375)))
                return self._encrypted(sock, name) if self._tls else sock
            if scheme == "ssh":
                from knarr.api.client import ssh

                return ssh.connect(self.host)
        except (OSError, ValueError):
            raise CannotConnect(
                f"Cannot connect to the knarr daemon at {self.host}. Is the knarr daemon running?"
            ) from None
        raise CannotConnect(f"unable to parse docker host `{self.host}`")

    def _encrypted(self, sock: socket.socket, name: str) -> socket.socket:
        from knarr.api.client import tls

        assert self._tls is not None
        return tls.wrap(
            sock,
            name,
            tls.context(self._tls.ca, self._tls.certificate, self._tls.key, verify=self._tls.verify),
        )

    def _send(
        self,
        sock: socket.socket,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: Any,
        headers: dict[str, str],
        stream: IO[bytes] | None,
        repeated: Sequence[tuple[str, str]] = (),
    ) -> None:
        data = b""
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        if stream is not None:
            headers["Transfer-Encoding"] = "chunked"
            headers.setdefault("Content-Type", "application/x-tar")
        elif method != "GET":
            headers["Content-Length"] = str(len(data))
        target = f"/v{VERSION}{quote(path)}{encode(query or {})}"
        lines = [f"{method} {target} HTTP/1.1", "Host: knarr", "User-Agent: knarr"]
        lines += [f"{name}: {value}" for name, value in self._headers.items() if name not in headers]
        lines += [f"{name}: {value}" for name, value in (*headers.items(), *repeated)]
        sock.sendall("\r\n".join([*lines, "", ""]).encode() + data)
        if stream is not None:
            while piece := stream.read(1 << 16):
                sock.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            sock.sendall(b"0\r\n\r\n")

    def _answer(self, sock: socket.socket, method: str) -> Answer:
        file = sock.makefile("rb")
        status, headers = _head(file.readline(65536), iter(file.readline, b""))
        while status == 100:
            status, headers = _head(file.readline(65536), iter(file.readline, b""))
        return Answer(sock, file, status, headers, method == "HEAD" or status in (204, 304))

    def _raw_head(self, sock: socket.socket) -> tuple[Answer, bytes]:
        """The head read from the bare socket, so that nothing of the stream behind it is lost in a buffer."""
        data = b""
        while b"\r\n\r\n" not in data:
            piece = sock.recv(65536)
            if not piece:
                raise ConnectionError("the daemon closed the connection")
            data += piece
        head, _, tail = data.partition(b"\r\n\r\n")
        first, *rest = (head + b"\r\n").splitlines(keepends=True)
        status, headers = _head(first, iter([*rest, b"\r\n"]))
        if status >= 400:
            left = int(headers.get("content-length", "0")) - len(tail)
            while left > 0 and (piece := sock.recv(65536)):
                tail += piece
                left -= len(piece)
            return Answer(sock, io.BytesIO(tail), status, headers, bodiless=False), b""
        return Answer(sock, sock.makefile("rb"), status, headers, bodiless=True), tail


def quote(text: str, safe: str = "/") -> str:
    """Percent-encoding (RFC 3986, 2.1); urllib's costs three modules."""
    kept = _PLAIN | frozenset(safe.encode())
    return "".join(chr(byte) if byte in kept else f"%{byte:02X}" for byte in text.encode())


def encode(query: Mapping[str, Any]) -> str:
    """A query string: lists repeat their key, True is 1, None and False are left out, mappings go as JSON."""
    words = []
    for key, value in query.items():
        values = value if isinstance(value, (list, tuple)) else [value]
        for each in values:
            if each is None or each is False:
                continue
            text = "1" if each is True else json.dumps(each) if isinstance(each, dict) else str(each)
            words.append(f"{quote(key, '')}={quote(text, '')}")
    return "?" + "&".join(words) if words else ""


def _head(first: bytes, lines: Iterator[bytes]) -> tuple[int, dict[str, str]]:
    words = first.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/"):
        raise ConnectionError(
            "the daemon's answer is no HTTP" if first else "the daemon closed the connection"
        )
    headers = {}
    for line in lines:
        text = line.decode("latin-1").strip()
        if not text:
            break
        name, _, value = text.partition(":")
        headers[name.lower()] = value.strip()
    return int(words[1]), headers


def _length(headers: Mapping[str, str]) -> int | None:
    text = headers.get("content-length")
    return int(text) if text else None


def _message(data: bytes, status: int) -> str:
    try:
        value = json.loads(data)
        return str(value["message"])
    except (ValueError, KeyError, TypeError):
        return data.decode(errors="replace").strip() or f"status {status}"
