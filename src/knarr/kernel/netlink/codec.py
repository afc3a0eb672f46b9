"""Netlink messages and attributes as bytes, and exchanging them over a socket.

Several requests go out in one packet and are carried out in order; each is acknowledged. The first failure is raised as
an OSError that says what was asked and, where the kernel explains itself, why.
"""

import errno
import itertools
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_ACK_TLVS = 0x200
NLM_F_CAPPED = 0x100
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_DUMP = 0x300
NLM_F_DUMP_INTR = 0x10
NLMSG_ERROR = 2
NLMSG_DONE = 3
NLMSGERR_ATTR_MSG = 1
NLA_F_NESTED = 0x8000
NLA_TYPE_MASK = 0x3FFF
SOL_NETLINK = 270
NETLINK_EXT_ACK = 11
NETLINK_CAP_ACK = 10
NETLINK_ROUTE = 0
SO_RCVBUFFORCE = 33

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_INT = struct.Struct("=i")
_RECEIVE = 1 << 18
_numbers = itertools.count(1)


class Request(NamedTuple):
    """One message to send: its type, extra flags, body, and what it does in words for an error."""

    type: int
    flags: int
    body: bytes
    what: str


class Message(NamedTuple):
    """One message that was received."""

    type: int
    flags: int
    sequence: int
    body: bytes


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    return _ATTRIBUTE.pack(4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute made of attributes."""
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    """A string attribute, with its NUL."""
    return attribute(kind, value.encode() + b"\0")


def u8(kind: int, value: int) -> bytes:
    """An attribute of one byte."""
    return attribute(kind, value.to_bytes(1, "little"))


def u32(kind: int, value: int) -> bytes:
    """An attribute of four bytes in the host's order."""
    return attribute(kind, struct.pack("=I", value))


def parse_attributes(data: bytes) -> dict[int, bytes]:
    """The attributes by kind; the last of several wins. Raises ValueError on a broken length."""
    found: dict[int, bytes] = {}
    offset = 0
    while offset + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4 or offset + length > len(data):
            raise ValueError(f"netlink attribute of {length} bytes at {offset} of {len(data)}")
        found[kind & NLA_TYPE_MASK] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def pack(request: Request, sequence: int, flags: int = 0) -> bytes:
    """One message as it goes out."""
    size = _HEADER.size + len(request.body)
    header = _HEADER.pack(size, request.type, NLM_F_REQUEST | request.flags | flags, sequence, 0)
    return header + request.body + bytes(-len(request.body) % 4)


def parse_messages(data: bytes) -> Iterator[Message]:
    """The messages of one packet. Raises ValueError on a broken length."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size or offset + length > len(data):
            raise ValueError(f"netlink message of {length} bytes at {offset} of {len(data)}")
        yield Message(kind, flags, sequence, data[offset + _HEADER.size : offset + length])
        offset += (length + 3) & ~3


def open_route() -> socket.socket:
    """A NETLINK_ROUTE socket in this thread's network namespace, ready for `exchange` and `dump`."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_ROUTE)
    try:
        prepare(sock)
    except BaseException:
        sock.close()
        raise
    return sock


def prepare(sock: socket.socket) -> None:
    """Asks for explained errors and room for many answers (200 KiB overflow at some hundred)."""
    sock.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
    sock.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 21)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)


def exchange(sock: socket.socket, requests: Sequence[Request]) -> list[Message]:
    """Sends all requests as one packet, waits for every answer; returns the messages that are not acknowledgements."""
    waiting = {next(_numbers) & 0x7FFFFFFF: request for request in requests}
    sock.sendall(b"".join(pack(request, number, NLM_F_ACK) for number, request in waiting.items()))
    answers: list[Message] = []
    failure: OSError | None = None
    while waiting:
        for message in parse_messages(sock.recv(_RECEIVE)):
            if message.sequence not in waiting:
                continue
            if message.type != NLMSG_ERROR:
                answers.append(message)
                continue
            request = waiting.pop(message.sequence)
            failure = failure or _error(message, request)
    if failure is not None:
        raise failure
    return answers


def dump(sock: socket.socket, request: Request) -> list[Message]:
    """Sends one dump request and returns its answers; an interrupted dump is asked for again."""
    while True:
        answers = _dump(sock, request)
        if not any(message.flags & NLM_F_DUMP_INTR for message in answers):
            return answers


def _dump(sock: socket.socket, request: Request) -> list[Message]:
    number = next(_numbers) & 0x7FFFFFFF
    sock.sendall(pack(request, number, NLM_F_DUMP))
    answers: list[Message] = []
    while True:
        for message in parse_messages(sock.recv(_RECEIVE)):
            if message.sequence != number:
                continue
            if message.type == NLMSG_DONE:
                return answers
            if message.type == NLMSG_ERROR:
                raise _error(message, request) or OSError(errno.EPROTO, "acknowledged dump", request.what)
            answers.append(message)


def _error(message: Message, request: Request) -> OSError | None:
    (code,) = _INT.unpack_from(message.body)
    if code == 0:
        return None
    reason = os.strerror(-code)
    if message.flags & NLM_F_ACK_TLVS:
        start = 4 + _HEADER.size + (0 if message.flags & NLM_F_CAPPED else len(request.body))
        explained = parse_attributes(message.body[start:]).get(NLMSGERR_ATTR_MSG, b"").rstrip(b"\0").decode()
        reason = f"{reason} ({explained})" if explained else reason
    return OSError(-code, reason, request.what)
