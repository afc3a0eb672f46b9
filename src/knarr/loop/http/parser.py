"""The sans-I/O half of HTTP/1.1 (RFC 9112): request heads and chunked bodies; limits are parameters."""

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from knarr.model.errors import Invalid

MAX_HEAD = 64 << 10
HTTP2 = b"PRI * HTTP/2.0\r\n\r\n"
"""The part of HTTP/2's preface that looks like a head (RFC 9113, 3.4): to be routed as the method PRI on *."""
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


class BadRequest(Invalid):
    """The peer does not speak HTTP; the connection ends after the answer."""


class Head(NamedTuple):
    """A request's head. Header names are lower case; repeated ones are joined by ", "."""

    method: str
    target: str
    version: tuple[int, int]
    headers: Mapping[str, str]

    @property
    def path(self) -> str:
        """The decoded path of the target."""
        path = self.target.partition("?")[0]
        if "://" in path:
            path = "/" + path.partition("://")[2].partition("/")[2]
        return unquote(path)

    @property
    def query(self) -> dict[str, list[str]]:
        """The query's values in their order."""
        values: dict[str, list[str]] = {}
        for key, value in parse_qsl(self.target.partition("?")[2], keep_blank_values=True):
            values.setdefault(key, []).append(value)
        return values

    @property
    def keep_alive(self) -> bool:
        """Whether another request may follow on this connection."""
        connection = {word.strip().lower() for word in self.headers.get("connection", "").split(",")}
        return "keep-alive" in connection if self.version == (1, 0) else "close" not in connection

    @property
    def upgrade(self) -> str:
        """The protocol that the client asks to change to, "" for none."""
        words = {word.strip().lower() for word in self.headers.get("connection", "").split(",")}
        return self.headers.get("upgrade", "").lower() if "upgrade" in words else ""

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for 100 before it sends the body."""
        return self.headers.get("expect", "").lower() == "100-continue"

    def content_length(self) -> int | None:
        """The body's bytes, None for a chunked body. Raises BadRequest (RFC 9112, 6.3)."""
        encoding = self.headers.get("transfer-encoding", "").lower()
        length = self.headers.get("content-length")
        if encoding:
            if encoding != "chunked" or length is not None:
                raise BadRequest(f"unsupported transfer encoding: {encoding!r}")
            return None
        if length is None:
            return 0
        values = {value.strip() for value in length.split(",")}
        text = values.pop()
        if values or not text.isascii() or not text.isdigit() or len(text) > 18:
            raise BadRequest(f"bad Content-Length {length!r}")
        return int(text)


def find_head(buffer: bytes | bytearray, limit: int = MAX_HEAD) -> int:
    """Where the head in `buffer` ends, behind its empty line; -1 while it is not whole. Raises BadRequest if too long."""
    if buffer and buffer[0] < 0x20 and buffer[0] not in b"\r\n":
        # A TLS handshake (RFC 8446, 5.1) begins with 0x16: the client that tries HTTPS first must not wait for more.
        raise BadRequest("malformed HTTP request")
    at = buffer.find(b"\r\n\r\n")
    end = at + 4 if at >= 0 else -1
    bare = buffer.find(b"\n\n")
    if bare >= 0 and (end < 0 or bare + 2 < end):
        end = bare + 2
    if (end if end >= 0 else len(buffer)) > limit:
        raise BadRequest("request header too large")
    return end


def parse_head(data: bytes) -> Head:
    """A whole head. Raises BadRequest."""
    lines = data.decode("latin-1").replace("\r\n", "\n").strip("\n").split("\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/") or not set(words[0]) <= _TOKEN or not words[0]:
        raise BadRequest("malformed HTTP request")
    if data.startswith(HTTP2):
        return Head("PRI", "*", (1, 1), {})
    version = {"HTTP/1.0": (1, 0), "HTTP/1.1": (1, 1)}.get(words[2])
    if version is None:
        raise BadRequest(f"unsupported protocol version {words[2]!r}")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or not set(name) <= _TOKEN:
            raise BadRequest("malformed HTTP header")
        name = name.lower()
        value = value.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Head(words[0], words[1], version, headers)


class Chunks:
    """A chunked body (RFC 9112, 7.1): encoded bytes in any pieces to content; trailers are dropped."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._left = 0
        self._state = "size"
        self.done = False

    def feed(self, data: bytes) -> list[bytes]:
        """The content that is now known. After `done`, `rest` has what follows the body. Raises BadRequest."""
        self._buffer += data
        out: list[bytes] = []
        while not self.done and self._step(out):
            pass
        return out

    @property
    def rest(self) -> bytes:
        """The bytes behind the end."""
        return bytes(self._buffer) if self.done else b""

    def _step(self, out: list[bytes]) -> bool:
        """One state's work; False when it needs more bytes."""
        if self._state == "data":
            if not self._buffer:
                return False
            piece = bytes(self._buffer[: self._left])
            del self._buffer[: len(piece)]
            self._left -= len(piece)
            out.append(piece)
            if not self._left:
                self._state = "end"
            return True
        line, newline, _ = self._buffer.partition(b"\n")
        if not newline:
            if len(self._buffer) > 4096:
                raise BadRequest("malformed chunked encoding")
            return False
        del self._buffer[: len(line) + 1]
        self._line(bytes(line).rstrip(b"\r"))
        return True

    def _line(self, line: bytes) -> None:
        if self._state == "end":
            if line:
                raise BadRequest("malformed chunked encoding")
            self._state = "size"
        elif self._state == "trailer":
            self.done = not line
        else:
            digits = line.partition(b";")[0].strip()
            if (
                not digits
                or len(digits) > 15
                or not all(byte in b"0123456789abcdefABCDEF" for byte in digits)
            ):
                raise BadRequest("malformed chunked encoding")
            self._left = int(digits, 16)
            self._state = "data" if self._left else "trailer"
