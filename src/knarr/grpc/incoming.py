"""Frames that a peer sent, one method a kind (RFC 9113, section 6).

What is wrong with a frame ends its stream or raises Fault, which ends the connection, with the RFC's code. There is no push
and no priority.
"""

from collections.abc import Callable, Mapping
from typing import ClassVar, NoReturn

from knarr.grpc import frames
from knarr.grpc.calls import flaw
from knarr.grpc.core import LISTS, STREAMS, Core
from knarr.grpc.frames import Fault
from knarr.grpc.hpack import Header
from knarr.grpc.status import Lost, RpcError, of_reset
from knarr.grpc.streams import Stream


class Incoming(Core):
    """A connection that understands its peer."""

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
        if not self._greeted:
            self._greeted, self.most_streams = True, frames.LARGEST
        self._kinds.get(kind, Incoming._ignored)(self, flags, number, payload)

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

    _kinds: ClassVar[Mapping[int, "Callable[[Incoming, int, int, bytes], None]"]] = {
        frames.HEADERS: _headers,
        frames.RST_STREAM: _rst_stream,
        frames.SETTINGS: _settings,
        frames.PUSH_PROMISE: _unexpected,
        frames.PING: _ping,
        frames.GOAWAY: _goaway,
        frames.WINDOW_UPDATE: _window_update,
        frames.CONTINUATION: _unexpected,
    }
