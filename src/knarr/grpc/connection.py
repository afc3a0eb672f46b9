"""An HTTP/2 connection for gRPC (RFC 9113), either half: bytes in, news of streams and bytes out. Sans I/O.

What a peer does wrong ends the stream or the connection with the RFC's code; what it sends is bounded by windows, header
lists by LISTS, and what costs us more than it costs the peer by ANSWERS and by a budget that refills with time. There is no
push, no priority.
"""

from collections.abc import Callable, Sequence
from typing import NoReturn

from knarr.grpc import frames, hpack
from knarr.grpc.calls import flaw
from knarr.grpc.frames import Fault
from knarr.grpc.hpack import Header
from knarr.grpc.status import Lost, RpcError, Status, of_reset
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


class Connection:
    """`fault` is set once the peer ended it by a mistake of its own; `opened` are streams that the peer began, to be taken from it."""

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
        self._kinds = {
            frames.HEADERS: self._headers,
            frames.PRIORITY: self._ignored,
            frames.RST_STREAM: self._rst_stream,
            frames.SETTINGS: self._settings,
            frames.PUSH_PROMISE: self._unexpected,
            frames.PING: self._ping,
            frames.GOAWAY: self._goaway,
            frames.WINDOW_UPDATE: self._window_update,
            frames.CONTINUATION: self._unexpected,
        }
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

    # What the shell calls.

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
        """Whether the peer takes no more streams for now."""
        return len(self.streams) >= self.most_streams

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

    # Bytes out.

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

    # A stream's end.

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

    # Frames in.

    def _greeting(self, data: bytes) -> bytes:
        size = min(len(self._preface), len(data))
        if data[:size] != self._preface[:size]:
            raise Fault(frames.PROTOCOL_ERROR, "not the preface of HTTP/2")
        self._preface = self._preface[size:]
        return data[size:]

    def _data(self, flags: int, number: int, payload: bytes) -> None:
        size = len(payload)
        self._room -= size
        if self._room < 0:
            raise Fault(frames.FLOW_CONTROL_ERROR, "more than the connection's window")
        stream = self.streams.get(number)
        if stream is None or stream.ended or stream.failure is not None:
            self._stray(stream, number)
            return
        stream.room -= size
        if stream.room < 0:
            self._break(stream, frames.FLOW_CONTROL_ERROR, "more than the stream's window")
            return
        if flags & frames.PADDED:
            payload = frames.unpadded(frames.PADDED, payload)
        if payload:
            self._message(stream, payload)
        elif not flags & frames.END_STREAM:
            self._spend()
        if flags & frames.END_STREAM:
            self._end(stream)
        self._news[stream] = None

    def _message(self, stream: Stream, payload: bytes) -> None:
        stream.held += len(payload)
        self._held += len(payload)
        try:
            stream.receive(payload)
        except RpcError as error:
            stream.failure = error
        if stream.needed > stream.room:
            self._give(stream)

    def _stray(self, stream: Stream | None, number: int) -> None:
        """DATA that nobody waits for: of a stream that was closed meanwhile it is no mistake."""
        if stream is None:
            self._known(number, "DATA")
        elif stream.failure is None:
            self._break(stream, frames.STREAM_CLOSED, "DATA after the end")

    def _known(self, number: int, kind: str) -> None:
        """Raises Fault for a stream that nobody began yet."""
        if not number % 2 or number >= (self._next if self.client else self._last + 1):
            raise Fault(frames.PROTOCOL_ERROR, f"{kind} on stream {number}")

    def _other(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if self._block is not None:
            self._continuation(kind, flags, number, payload)
            return
        if not self._greeted and (kind != frames.SETTINGS or flags & frames.ACK):
            raise Fault(frames.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        self._greeted = True
        self._kinds.get(kind, self._ignored)(flags, number, payload)

    def _unexpected(self, flags: int, number: int, payload: bytes) -> NoReturn:
        raise Fault(frames.PROTOCOL_ERROR, "a frame that does not belong here")

    def _ignored(self, flags: int, number: int, payload: bytes) -> None:
        self._spend()

    def _headers(self, flags: int, number: int, payload: bytes) -> None:
        block = bytearray(frames.unpadded(flags, payload))
        if flags & frames.END_HEADERS:
            self._list(number, flags, bytes(block))
        else:
            self._block = number, flags, block

    def _continuation(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        assert self._block is not None
        first, begun, block = self._block
        if kind != frames.CONTINUATION or number != first:
            raise Fault(frames.PROTOCOL_ERROR, "a header block is not continued")
        if len(payload) < frames.FRAME_SIZE >> 1:
            self._spend()
        block += payload
        if len(block) > LISTS[self.client]:
            raise Fault(frames.ENHANCE_YOUR_CALM, f"a header block of more than {LISTS[self.client]} bytes")
        if flags & frames.END_HEADERS:
            self._block = None
            self._list(number, begun, bytes(block))

    def _list(self, number: int, flags: int, block: bytes) -> None:
        headers = self._lists.decode(block)
        end = bool(flags & frames.END_STREAM)
        stream = self.streams.get(number)
        if stream is None:
            self._begun(number, headers, end=end)
            return
        if stream.ended:
            self._break(stream, frames.STREAM_CLOSED, "headers after the end")
            return
        first = stream.headers is None
        wrong = flaw(headers, answer=first, trailers=not first)
        if wrong or not (first or end):
            self._break(stream, frames.PROTOCOL_ERROR, wrong or "headers in the middle")
            return
        if first and not end and headers[0][1].startswith("1"):
            return
        if first:
            stream.headers = headers
        if end:
            stream.trailers = headers
            self._end(stream)
        self._news[stream] = None

    def _begun(self, number: int, headers: list[Header], *, end: bool) -> None:
        """Headers of no stream that lives: on a server, most often a new one."""
        if self.client or number <= self._last or not number % 2:
            self._known(number, "HEADERS")
            return
        self._last = number
        if len(self.streams) >= STREAMS:
            self._answer(frames.rst_stream(number, frames.REFUSED_STREAM))
            return
        stream = self.streams[number] = Stream(number, self._initial)
        wrong = flaw(headers)
        if wrong:
            self._break(stream, frames.PROTOCOL_ERROR, wrong)
            return
        stream.headers = headers
        self.opened.append(stream)
        if end:
            self._end(stream)

    def _rst_stream(self, flags: int, number: int, payload: bytes) -> None:
        code = frames.read_word(payload, "RST_STREAM")
        stream = self.streams.get(number)
        if stream is None:
            self._known(number, "RST_STREAM")
            return
        self._spend()
        if not self.client or stream.trailers is None:
            stream.failure = of_reset(code)
        self._drop(stream)
        self._news[stream] = None

    def _settings(self, flags: int, number: int, payload: bytes) -> None:
        if number or (flags & frames.ACK and payload):
            raise Fault(frames.PROTOCOL_ERROR if number else frames.FRAME_SIZE_ERROR, "SETTINGS")
        if flags & frames.ACK:
            return
        self._spend()
        for name, value in frames.read_settings(payload):
            if name == frames.INITIAL_WINDOW_SIZE:
                self._resize(value)
            elif name == frames.MAX_FRAME_SIZE:
                self._frame = value
            elif name == frames.MAX_CONCURRENT_STREAMS:
                self.most_streams = value
            elif name == frames.MAX_HEADER_LIST_SIZE:
                self.longest_list = value
        self._answer(frames.frame(frames.SETTINGS, frames.ACK, 0, b""))

    def _resize(self, value: int) -> None:
        """RFC 9113, 6.9.2: the windows of streams that live change by the difference, and may become negative."""
        for stream in self.streams.values():
            stream.window += value - self._initial
            if stream.window > frames.LARGEST:
                raise Fault(frames.FLOW_CONTROL_ERROR, "a window that is too large")
            self._news[stream] = None
        self._initial = value

    def _ping(self, flags: int, number: int, payload: bytes) -> None:
        if number or len(payload) != 8:
            raise Fault(frames.PROTOCOL_ERROR if number else frames.FRAME_SIZE_ERROR, "PING")
        if not flags & frames.ACK:
            self._answer(frames.frame(frames.PING, frames.ACK, 0, payload))

    def _goaway(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise Fault(frames.PROTOCOL_ERROR, "GOAWAY on a stream")
        last, code = frames.read_goaway(payload)
        self.going = True
        if not self.client:
            return
        for stream in [each for each in self.streams.values() if each.id > last]:
            stream.failure = Lost(f"the peer is going: {frames.name_of(code)}")
            self._drop(stream)
            self._news[stream] = None

    def _window_update(self, flags: int, number: int, payload: bytes) -> None:
        more = frames.read_word(payload, "WINDOW_UPDATE") & frames.LARGEST
        if not number:
            self._window += more
            if not more or self._window > frames.LARGEST:
                raise Fault(
                    frames.FLOW_CONTROL_ERROR if more else frames.PROTOCOL_ERROR, "the connection's window"
                )
            self._news.update(dict.fromkeys(self._blocked))
            self._blocked.clear()
            return
        stream = self.streams.get(number)
        if stream is None:
            self._known(number, "WINDOW_UPDATE")
            return
        stream.window += more
        if not more or stream.window > frames.LARGEST:
            code = frames.FLOW_CONTROL_ERROR if more else frames.PROTOCOL_ERROR
            self._break(stream, code, "the stream's window")
            return
        self._news[stream] = None
