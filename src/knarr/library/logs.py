"""Frames of a log to whole lines, each stream's for itself. Pure."""

from collections.abc import AsyncIterator, Iterator
from datetime import datetime

from knarr.api.client.aio import Answer
from knarr.library.reading import read
from knarr.library.values import LogLine, Stream
from knarr.wire import mux


class Lines:
    """Bytes in any pieces to lines; `framed` is what comes from a container without a terminal."""

    def __init__(self, framed: bool, timestamps: bool):
        self._decoder = mux.Decoder() if framed else None
        self._timestamps = timestamps
        self._parts: dict[Stream, bytes] = {}

    def feed(self, data: bytes) -> Iterator[LogLine]:
        """The lines that are now whole."""
        for stream, piece in self._split(data):
            *whole, rest = (self._parts.pop(stream, b"") + piece).split(b"\n")
            if rest:
                self._parts[stream] = rest
            for line in whole:
                yield self._line(stream, line)

    def end(self) -> Iterator[LogLine]:
        """The lines that have no end."""
        for stream, line in self._parts.items():
            yield self._line(stream, line)
        self._parts.clear()

    def _split(self, data: bytes) -> Iterator[tuple[Stream, bytes]]:
        if self._decoder is None:
            yield "stdout", data
            return
        for frame in self._decoder.feed(data):
            yield "stderr" if frame.stream == mux.STDERR else "stdout", frame.data

    def _line(self, stream: Stream, line: bytes) -> LogLine:
        data = line.removesuffix(b"\r")
        if not self._timestamps:
            return LogLine(stream, data)
        at, _, data = data.partition(b" ")
        return LogLine(stream, data, read(datetime, at.decode()))


async def lines(answer: Answer, framed: bool, timestamps: bool) -> AsyncIterator[LogLine]:
    """An answer's lines as they come."""
    found = Lines(framed, timestamps)
    async for piece in answer.pieces():
        for line in found.feed(piece):
            yield line
    for line in found.end():
        yield line
