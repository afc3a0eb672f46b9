"""Output as messages: lines without their ends, and pieces of long ones with what joins them again (moby, copier.go).

Drivers override `put`, and `flush`, which ends what one read brought.
"""

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from knarr.runtime.shim.log import PIECE, STREAMS, boundary
from knarr.wire.locallog import Piece


class Messages(ABC):
    """`full`: who reads the output shall wait, until what `heed` was given is called."""

    __slots__ = ("_ids", "_ordinals", "_partial", "lost")

    def __init__(self) -> None:
        self._partial = [b"", b"", b""]
        self._ids = ["", "", ""]
        self._ordinals = [0, 0, 0]
        self.lost = 0

    @property
    def full(self) -> bool:
        """Whether it takes no more for now."""
        return False

    def heed(self, on_room: Callable[[], None]) -> None:
        """Whom to tell when it takes more again; one that always does tells nobody."""
        return

    @abstractmethod
    def put(self, stream: str, at: int, line: bytes, piece: Piece | None) -> None:
        """One message."""

    def flush(self) -> None:
        """What was put may go; where each went at once, nothing is left to do."""
        return

    def close(self, on_gone: Callable[[], None] | None = None) -> bool:
        """Lets go; False: not yet, `on_gone` will be called."""
        return True

    def write(self, stream: int, data: bytes) -> None:
        """Takes what was read from a stream; an unfinished line waits for its end."""
        at = time.time_ns()
        *lines, rest = (self._partial[stream] + data).split(b"\n")
        for line in lines:
            while len(line) > PIECE:
                line = self._cut(stream, at, line)
            self._line(stream, at, line)
        while len(rest) >= PIECE:
            rest = self._cut(stream, at, rest)
        self._partial[stream] = rest
        self.flush()

    def _cut(self, stream: int, at: int, line: bytes) -> bytes:
        cut = boundary(line)
        self._piece(stream, at, line[:cut], last=False)
        return line[cut:]

    def _line(self, stream: int, at: int, line: bytes) -> None:
        if self._ordinals[stream]:
            self._piece(stream, at, line, last=True)
            self._ordinals[stream] = 0
        else:
            self.put(STREAMS[stream], at, line, None)

    def _piece(self, stream: int, at: int, data: bytes, *, last: bool) -> None:
        if not self._ordinals[stream]:
            self._ids[stream] = os.urandom(32).hex()
        self._ordinals[stream] += 1
        self.put(STREAMS[stream], at, data, Piece(self._ids[stream], self._ordinals[stream], last))

    def finish(self) -> None:
        """The stream's ends: unfinished lines are pieces whose last one never comes."""
        for stream, rest in enumerate(self._partial):
            if rest:
                self._partial[stream] = b""
                self._piece(stream, time.time_ns(), rest, last=False)
        self.flush()
