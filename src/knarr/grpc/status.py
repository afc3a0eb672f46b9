"""How a call ends: gRPC's codes, the error that carries one, and what each looks like in trailers. Pure."""

import binascii
from collections.abc import Sequence
from enum import IntEnum
from typing import TYPE_CHECKING

from knarr.grpc import frames

if TYPE_CHECKING:
    from google.protobuf.any_pb2 import Any as Packed

_PERCENT = ord("%")


class Status(IntEnum):
    """https://grpc.github.io/grpc/core/md_doc_statuscodes.html"""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class RpcError(Exception):
    """A call that failed. `details` are messages packed as google.protobuf.Any."""

    def __init__(self, status: Status, message: str = "", details: "Sequence[Packed]" = ()):
        super().__init__(message or status.name)
        self.status = status
        self.message = message
        self.details = details


class Lost(ConnectionError):
    """The connection has ended, and with it every call on it."""


_RESETS = {
    frames.REFUSED_STREAM: Status.UNAVAILABLE,
    frames.CANCEL: Status.CANCELLED,
    frames.ENHANCE_YOUR_CALM: Status.RESOURCE_EXHAUSTED,
    frames.INADEQUATE_SECURITY: Status.PERMISSION_DENIED,
}
_ANSWERS = {
    "400": Status.INTERNAL,
    "401": Status.UNAUTHENTICATED,
    "403": Status.PERMISSION_DENIED,
    "404": Status.UNIMPLEMENTED,
    "429": Status.UNAVAILABLE,
    "502": Status.UNAVAILABLE,
    "503": Status.UNAVAILABLE,
    "504": Status.UNAVAILABLE,
}


def of_reset(code: int) -> RpcError:
    """What RST_STREAM means to a call."""
    return RpcError(_RESETS.get(code, Status.INTERNAL), f"the stream was reset: {frames.name_of(code)}")


def of_answer(code: str) -> RpcError:
    """What an HTTP status means that is none of gRPC's."""
    return RpcError(_ANSWERS.get(code, Status.UNKNOWN), f"unexpected HTTP status {code}")


def of_number(text: str) -> Status:
    """grpc-status; what is not known is UNKNOWN."""
    return Status(int(text)) if text.isdecimal() and int(text) <= Status.UNAUTHENTICATED else Status.UNKNOWN


def escaped(message: str) -> str:
    """As grpc-message has it: percent-encoded UTF-8."""
    data = message.encode(errors="replace")
    return "".join(
        [chr(each) if 0x20 <= each < 0x7F and each != _PERCENT else f"%{each:02X}" for each in data]
    )


def unescaped(text: str) -> str:
    """A grpc-message's text; what is no encoding stays as it is."""
    first, *parts = text.encode(errors="surrogateescape").split(b"%")
    out = bytearray(first)
    for part in parts:
        try:
            out += binascii.unhexlify(part[:2]) + part[2:]
        except ValueError:
            out += b"%" + part
    return out.decode(errors="replace")


def packed(error: RpcError) -> bytes:
    """google.rpc.Status, as grpc-status-details-bin has it."""
    from google.rpc.status_pb2 import Status as Message

    message = Message(code=error.status.value, message=error.message, details=error.details)
    return bytes(message.SerializeToString())


def unpacked(data: bytes) -> "Sequence[Packed]":
    """The details in it; none where it can't be read."""
    from google.protobuf.message import DecodeError
    from google.rpc.status_pb2 import Status as Message

    try:
        return list(Message.FromString(data).details)
    except DecodeError:
        return ()
