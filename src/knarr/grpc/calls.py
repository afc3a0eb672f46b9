"""gRPC's words in HTTP/2's headers (PROTOCOL-HTTP2.md of gRPC), and messages as bytes. Pure."""

import binascii
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, Self

from knarr.grpc import hpack
from knarr.grpc.hpack import Header
from knarr.grpc.status import RpcError, Status, escaped, of_answer, of_number, packed, unescaped, unpacked
from knarr.grpc.streams import Stream, prefix

_TYPE = ("content-type", "application/grpc")
_DETAILS = "grpc-status-details-bin"
_RESERVED = frozenset(("te", "content-type", "user-agent"))
_CONNECTION = frozenset(("connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"))
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_DIGITS = 8
_OPENING: tuple[Header, ...] = ((":status", "200"), _TYPE)


class Message(Protocol):
    """What protobuf's messages have."""

    def SerializeToString(self) -> bytes:  # noqa: N802  (protobuf's name)
        """As bytes."""

    @classmethod
    def FromString(cls, data: bytes, /) -> Self:  # noqa: N802  (protobuf's name)
        """And back."""


class Metadata:
    """What a call says beside its messages. Names are lower-case and may come several times."""

    def __init__(self, headers: Iterable[Header]):
        self._values: dict[str, list[str]] = {}
        for name, value in headers:
            if name[0] != ":" and name not in _RESERVED and not name.startswith("grpc-"):
                self._values.setdefault(name, []).append(value)

    def get(self, name: str, default: str = "") -> str:
        """The first value."""
        found = self._values.get(name)
        return found[0] if found else default

    def all(self, name: str) -> Sequence[str]:
        """Every value."""
        return self._values.get(name, ())


def pack(messages: Iterable[Any]) -> bytes:
    """Messages as they travel, one behind the other."""
    parts: list[bytes] = []
    for each in messages:
        data = each.SerializeToString()
        parts += prefix.pack(0, len(data)), data
    return b"".join(parts)


def request(path: str, metadata: Iterable[Header] = (), timeout: float | None = None) -> list[Header]:
    """The headers of a call. `timeout` in seconds."""
    return [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("te", "trailers"),
        _TYPE,
        *([] if timeout is None else [("grpc-timeout", _timeout(timeout))]),
        *((name.lower(), value) for name, value in metadata),
    ]


def _timeout(seconds: float) -> str:
    return f"{min(max(1, round(seconds * 1000)), 10**_DIGITS - 1)}m"


def deadline(headers: Iterable[Header]) -> float | None:
    """The seconds that a call has. Raises RpcError."""
    for name, value in headers:
        if name == "grpc-timeout":
            if value[-1:] not in _UNITS or not value[:-1].isdecimal() or len(value) > _DIGITS + 1:
                raise RpcError(Status.INTERNAL, f"malformed grpc-timeout {value!r}")
            return int(value[:-1]) * _UNITS[value[-1]]
    return None


def opening(metadata: Iterable[Header] = ()) -> list[Header]:
    """The first headers of an answer."""
    return [*_OPENING, *metadata]


def closing(error: RpcError | None, longest: int, *, first: bool) -> list[Header]:
    """The last headers of an answer; `first`: they are the only ones. Details that a peer does not take (`longest`) stay away."""
    headers = list(_OPENING) if first else []
    if error is None:
        return [*headers, ("grpc-status", "0")]
    headers += ("grpc-status", str(error.status.value)), ("grpc-message", escaped(error.message))
    if error.details:
        detailed = [*headers, (_DETAILS, _text(packed(error)))]
        if hpack.size_of(detailed) <= longest:
            return detailed
    return headers


def refusal(headers: Iterable[Header]) -> list[Header] | None:
    """The answer to a request that is not gRPC's."""
    found = dict(headers)
    if found[":method"] != "POST":
        return [(":status", "405")]
    if not found.get("content-type", "").startswith(_TYPE[1]):
        return [(":status", "415")]
    return None


def outcome(stream: Stream) -> RpcError | None:
    """How a call went whose answer has ended; None is well."""
    trailers = dict(stream.trailers or ())
    number = trailers.get("grpc-status")
    if number is None:
        code = dict(stream.headers or ()).get(":status", "")
        if code != "200":
            return of_answer(code)
        return RpcError(Status.UNKNOWN, "the answer ended without a status")
    status = of_number(number)
    if status == Status.OK:
        return None
    details = _data(trailers[_DETAILS]) if _DETAILS in trailers else b""
    return RpcError(status, unescaped(trailers.get("grpc-message", "")), unpacked(details) if details else ())


def _text(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode().rstrip("=")


def _data(text: str) -> bytes:
    try:
        return binascii.a2b_base64(text + "=" * (-len(text) % 4))
    except ValueError:
        return b""


def flaw(headers: Sequence[Header], *, answer: bool = False, trailers: bool = False) -> str:
    """What makes a header list malformed (RFC 9113, 8.2 and 8.3); "" is nothing."""
    pseudo: list[str] = []
    for at, (name, value) in enumerate(headers):
        if name[:1] == ":":
            if len(pseudo) != at or name in pseudo:
                return f"{name} is not where it belongs"
            pseudo.append(name)
        elif (
            not name or name in _CONNECTION or name != name.lower() or (name == "te" and value != "trailers")
        ):
            return f"header {name!r}"
    if trailers:
        return "pseudo-headers in trailers" if pseudo else ""
    needed = {":status"} if answer else {":method", ":scheme", ":path"}
    if not needed.issubset(pseudo) or not set(pseudo) <= needed | (set() if answer else {":authority"}):
        return "not the pseudo-headers that there should be"
    return ""
