"""An HTTP/2 connection for gRPC (RFC 9113), either half: bytes in, news of streams and bytes out. Sans I/O."""

from collections.abc import Sequence

from knarr.grpc import frames, hpack
from knarr.grpc.core import WINDOW
from knarr.grpc.frames import Fault
from knarr.grpc.hpack import Header
from knarr.grpc.incoming import Incoming
from knarr.grpc.status import Lost
from knarr.grpc.streams import WINDOW as STREAM_WINDOW
from knarr.grpc.streams import Stream


class Connection(Incoming):
    """`fault` is set once the peer ended it by a mistake of its own; `opened` are streams that the peer began, to be taken from it."""

    def take(self) -> bytes:
        """What is to be written."""
        data = b"".join(self._out)
        self._out.clear()
        self.pending = 0
        return data

    def feed(self, data: bytes) -> list[Stream]:
        """Takes what was read. The streams of which something changed; a fault of the peer changes all."""
        self._news = {}
        try:
            if self._preface:
                data = self._greeting(data)
            for kind, flags, number, payload in self._decoder.feed(data):
                if kind == frames.DATA and self._block is None:
                    self._data(flags, number, payload)
                else:
                    self._other(kind, flags, number, payload)
            self._refill()
        except Fault as fault:
            self.fault = fault
            self._put(frames.goaway(self._last, fault.code, str(fault)))
            self._cut_all(Lost(f"the connection was ended: {fault}"))
        return list(self._news)

    def lost(self) -> list[Stream]:
        """There is no connection any more."""
        self._news = {}
        self._cut_all(Lost("the connection has ended"))
        return list(self._news)

    def leave(self) -> None:
        """Says that this half goes."""
        self._put(frames.goaway(self._last, frames.NO_ERROR))

    @property
    def full(self) -> bool:
        """Whether the peer takes no more streams for now. A stream that ended here may not have ended there yet: some are left."""
        return len(self.streams) >= self.most_streams - (self.most_streams >> 3)

    def open(self, headers: Sequence[Header]) -> Stream:
        """A client's call. Raises Lost when the peer takes no more."""
        if self.going or self.fault is not None or self._next > frames.LARGEST:
            raise Lost("the connection is ending")
        stream = self.streams[self._next] = Stream(self._next, self._initial)
        self._next += 2
        self.send_headers(stream, headers)
        return stream

    def send_headers(self, stream: Stream, headers: Sequence[Header], *, end: bool = False) -> None:
        """The first or the last headers of our half. Nothing, if the stream is closed."""
        if stream.closed or stream.finished:
            return
        for each in frames.header_block(stream.id, hpack.encode(headers), self._frame, end=end):
            self._put(each)
        if end:
            self._finish(stream)

    def send_data(self, stream: Stream, payload: bytes | memoryview, *, end: bool = False) -> int:
        """How much of it the windows let through; there is news when they let through more."""
        size = len(payload)
        allowed = min(size, max(0, stream.window), max(0, self._window))
        if allowed < size:
            end = False
            self._blocked.add(stream)
        if not allowed and not end:
            return 0
        stream.window -= allowed
        self._window -= allowed
        largest = self._frame
        for start in range(0, allowed or 1, largest):
            stop = min(start + largest, allowed)
            last = end and stop == allowed
            self._put(frames.head(stop - start, frames.DATA, frames.END_STREAM if last else 0, stream.id))
            self._put(payload if stop - start == size else payload[start:stop])
        if end:
            self._finish(stream)
        return allowed

    def reset(self, stream: Stream, code: int) -> None:
        """Ends a stream at once, if it has not ended."""
        if not stream.closed:
            self._put(frames.rst_stream(stream.id, code))
            self._drop(stream)

    def consumed(self, stream: Stream, size: int) -> None:
        """A message (with its prefix) was taken from the inbox."""
        stream.held -= size
        self._held -= size
        if stream.room <= STREAM_WINDOW >> 1:
            self._give(stream)
        if self._room <= WINDOW >> 1:
            self._refill()

    def forget(self, stream: Stream) -> None:
        """Nobody will take what is in the inbox."""
        self._held -= stream.held
        stream.held = 0
        stream.inbox.clear()
        stream.rest.clear()
