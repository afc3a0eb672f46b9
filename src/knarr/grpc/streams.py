"""One stream of a connection: its two windows, its headers, and the messages that came on it whole.

A message is five bytes and itself (gRPC over HTTP/2, "Length-Prefixed-Message"); DATA frames cut messages anywhere. What came
counts until it is taken. Sans I/O; only connection.Connection changes what is here.
"""

from collections import deque
from struct import Struct
from typing import Any

from knarr.grpc.hpack import Header
from knarr.grpc.status import RpcError, Status

WINDOW = 4 << 20
"""What may come on one stream before it is taken."""
MESSAGE = 16 << 20
"""The largest message, as BuildKit has it. One that is larger than the window gets the room that it needs."""
PREFIX = 5
prefix = Struct(">BI")


class Stream:
    """`ended`: nothing more comes. `finished`: nothing more can be sent. `closed`: both, or cut. `failure`: what to raise once the
    inbox is empty. `owner` is whoever uses the stream."""

    __slots__ = (
        "closed", "ended", "failure", "finished", "headers", "held", "id", "inbox", "needed", "owner", "rest", "room", "trailers",
        "window",
    )  # fmt: skip

    def __init__(self, number: int, window: int):
        self.id = number
        self.headers: list[Header] | None = None
        self.trailers: list[Header] | None = None
        self.inbox: deque[bytes] = deque()
        self.rest = bytearray()
        self.needed = 0
        self.ended = self.finished = self.closed = False
        self.failure: Exception | None = None
        self.window = window
        self.room = WINDOW
        self.held = 0
        self.owner: Any = None

    def receive(self, payload: bytes) -> None:
        """What a DATA frame brought. Raises RpcError for a message that is not taken."""
        if not self.rest and len(payload) >= PREFIX:
            flag, size = prefix.unpack_from(payload)
            if size == len(payload) - PREFIX and not flag and size <= MESSAGE:
                self.inbox.append(payload[PREFIX:])
                return
        self.rest += payload
        if len(self.rest) >= self.needed:
            self._cut()

    def _cut(self) -> None:
        rest, at = bytes(self.rest), 0
        self.needed = 0
        while len(rest) - at >= PREFIX:
            flag, size = prefix.unpack_from(rest, at)
            if flag:
                raise RpcError(Status.UNIMPLEMENTED, "compressed messages are not supported")
            if size > MESSAGE:
                raise RpcError(
                    Status.RESOURCE_EXHAUSTED, f"received message larger than max ({size} vs. {MESSAGE})"
                )
            stop = at + PREFIX + size
            if stop > len(rest):
                self.needed = stop - at
                break
            self.inbox.append(rest[at + PREFIX : stop])
            at = stop
        self.rest = bytearray(rest[at:])

    def lacking(self) -> int:
        """How much more room the peer should have: none before it is a good part of the window."""
        if self.ended or self.closed:
            return 0
        missing = self.needed - len(self.rest)
        if self.needed > WINDOW and missing > max(self.room, WINDOW - self.held):
            return missing - self.room
        more = WINDOW - self.held - self.room
        return more if more >= WINDOW >> 2 else 0
