"""What an HTTP/2 connection remembers (RFC 9113): streams, windows, bytes to be written; and how a stream ends.

What a peer makes us keep is bounded: what came by windows, header lists by LISTS, answers by ANSWERS, and what costs us more
than it costs the peer by a budget that refills with time.
"""

from collections.abc import Callable

from knarr.grpc import frames, hpack
from knarr.grpc.frames import Fault
from knarr.grpc.status import RpcError, Status
from knarr.grpc.streams import WINDOW as STREAM_WINDOW
from knarr.grpc.streams import Stream

WINDOW = 16 << 20
"""What may be on its way on all streams together."""
HELD = 64 << 20
"""What may wait to be taken on all streams together."""
STREAMS = 10_000
LISTS = {True: 16 << 20, False: 256 << 10}
"""The largest header list: answers bring an error's details, requests bring names."""
ANSWERS = 1 << 15
"""Answers that wait because the peer does not read."""
_BURST, _RATE = 2000.0, 100.0
_FRAME = 64 << 10
_FIRST = 65535
"""Every window before it is said to be another (RFC 9113, 6.9.2)."""


class Core:
    """One connection's."""

    def __init__(self, *, client: bool, clock: Callable[[], float]):
        self.client = client
        self.streams: dict[int, Stream] = {}
        self.opened: list[Stream] = []
        self.fault: Fault | None = None
        self.going = False
        self.pending = 0
        self.answers = 0
        self.most_streams = 100
        self.longest_list = LISTS[True]
        self._clock = clock
        self._budget, self._spent = _BURST, clock()
        self._out: list[bytes | memoryview] = []
        self._news: dict[Stream, None] = {}
        self._decoder = frames.Decoder(_FRAME)
        self._lists = hpack.Decoder(LISTS[client])
        self._block: tuple[int, int, bytearray] | None = None
        self._preface = b"" if client else frames.PREFACE
        self._greeted = False
        self._next, self._last = 1, 0
        self._window, self._initial, self._frame = _FIRST, _FIRST, frames.FRAME_SIZE
        self._room, self._held = WINDOW, 0
        self._blocked: set[Stream] = set()
        self._greet()

    def _greet(self) -> None:
        if self.client:
            self._put(frames.PREFACE)
        self._put(
            frames.settings(
                {
                    frames.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                    frames.MAX_FRAME_SIZE: _FRAME,
                    frames.MAX_HEADER_LIST_SIZE: LISTS[self.client],
                    **({frames.ENABLE_PUSH: 0} if self.client else {frames.MAX_CONCURRENT_STREAMS: STREAMS}),
                }
            )
        )
        self._put(frames.window_update(0, WINDOW - _FIRST))

    def _put(self, data: bytes | memoryview) -> None:
        self._out.append(data)
        self.pending += len(data)

    def _answer(self, data: bytes) -> None:
        """What a peer makes us say: bounded, for it may not read."""
        self._put(data)
        self.answers += 1
        if self.answers > ANSWERS:
            raise Fault(frames.ENHANCE_YOUR_CALM, "too many frames that want an answer")

    def _spend(self) -> None:
        now = self._clock()
        self._budget = min(_BURST, self._budget + (now - self._spent) * _RATE) - 1
        self._spent = now
        if self._budget < 0:
            raise Fault(frames.ENHANCE_YOUR_CALM, "too many frames that bring nothing")

    def _give(self, stream: Stream) -> None:
        more = stream.lacking()
        if more:
            stream.room += more
            self._put(frames.window_update(stream.id, more))

    def _refill(self) -> None:
        """The connection's window opens with what comes, not with what is taken: one stream that waits must not stop the others."""
        if self._room <= WINDOW >> 1:
            more = min(WINDOW, HELD - self._held) - self._room
            if more >= WINDOW >> 2:
                self._room += more
                self._put(frames.window_update(0, more))

    def _finish(self, stream: Stream) -> None:
        stream.finished = True
        if stream.ended:
            self._drop(stream)

    def _end(self, stream: Stream) -> None:
        stream.ended = True
        if stream.rest and stream.failure is None:
            stream.failure = RpcError(Status.INTERNAL, "the stream ended in the middle of a message")
        if stream.finished:
            self._drop(stream)

    def _drop(self, stream: Stream) -> None:
        stream.ended = stream.finished = stream.closed = True
        self.streams.pop(stream.id, None)
        self._blocked.discard(stream)

    def _break(self, stream: Stream, code: int, text: str) -> None:
        """The peer's mistake on one stream."""
        stream.failure = RpcError(Status.INTERNAL, text)
        self._answer(frames.rst_stream(stream.id, code))
        self._drop(stream)
        self._news[stream] = None

    def _cut_all(self, failure: Exception) -> None:
        for stream in list(self.streams.values()):
            if stream.trailers is None or not self.client:
                stream.failure = failure
            self._drop(stream)
            self._news[stream] = None
