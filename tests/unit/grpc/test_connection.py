"""The connection without a socket: windows, large headers, and what each mistake of a peer ends, with which code."""

from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knarr.grpc import calls, core, frames, hpack
from knarr.grpc.connection import Connection
from knarr.grpc.frames import Frame
from knarr.grpc.status import Lost, RpcError, Status
from knarr.grpc.streams import MESSAGE, PREFIX, WINDOW, Stream, prefix

ASK = hpack.encode(calls.request("/a/b"))
SETTINGS = frames.settings({})
WHOLE = frames.END_HEADERS


def framed(data: bytes) -> bytes:
    return prefix.pack(0, len(data)) + data


def said(data: bytes) -> list[Frame]:
    return list(frames.Decoder(1 << 24).feed(data.removeprefix(frames.PREFACE)))


def server(clock: Callable[[], float] = lambda: 0.0) -> Connection:
    """One that was greeted."""
    connection = Connection(client=False, clock=clock)
    connection.feed(frames.PREFACE + SETTINGS)
    connection.take()
    return connection


def client() -> Connection:
    connection = Connection(client=True, clock=lambda: 0.0)
    connection.feed(SETTINGS)
    return connection


def joined() -> tuple[Connection, Connection]:
    ours, theirs = Connection(client=True, clock=lambda: 0.0), Connection(client=False, clock=lambda: 0.0)
    exchange(ours, theirs)
    return ours, theirs


def exchange(ours: Connection, theirs: Connection) -> None:
    while ours.pending or theirs.pending:
        theirs.feed(ours.take())
        ours.feed(theirs.take())


def headers(stream: int, block: bytes = ASK, flags: int = WHOLE) -> bytes:
    return frames.frame(frames.HEADERS, flags, stream, block)


def data(stream: int, payload: bytes = b"", flags: int = 0) -> bytes:
    return frames.frame(frames.DATA, flags, stream, payload)


def word(kind: int, stream: int, value: int) -> bytes:
    return frames.frame(kind, 0, stream, value.to_bytes(4, "big"))


def ping(count: int = 1) -> bytes:
    return frames.frame(frames.PING, 0, 0, bytes(8)) * count


def fields(*pairs: tuple[str, str]) -> bytes:
    return hpack.encode(pairs)


FATAL: dict[str, tuple[bytes, int]] = {
    "a frame that is too large": (frames.head(1 << 20, 0, 0, 1), frames.FRAME_SIZE_ERROR),
    "data on the connection": (data(0, b"x"), frames.PROTOCOL_ERROR),
    "data on a stream that nobody began": (data(5, b"x"), frames.PROTOCOL_ERROR),
    "data on a stream of ours": (data(2, b"x"), frames.PROTOCOL_ERROR),
    "headers on an even stream": (headers(2), frames.PROTOCOL_ERROR),
    "headers on the connection": (headers(0), frames.PROTOCOL_ERROR),
    "a block that is no block": (headers(1, b"\x80"), frames.COMPRESSION_ERROR),
    "a block that is not continued": (headers(1, flags=0) + ping(), frames.PROTOCOL_ERROR),
    "a block of one stream continued on another": (
        headers(1, flags=0) + frames.frame(frames.CONTINUATION, WHOLE, 3, b""),
        frames.PROTOCOL_ERROR,
    ),
    "a continuation of nothing": (frames.frame(frames.CONTINUATION, WHOLE, 1, ASK), frames.PROTOCOL_ERROR),
    "a push": (frames.frame(frames.PUSH_PROMISE, WHOLE, 1, bytes(4) + ASK), frames.PROTOCOL_ERROR),
    "a reset of what nobody began": (word(frames.RST_STREAM, 1, 0), frames.PROTOCOL_ERROR),
    "a window of what nobody began": (word(frames.WINDOW_UPDATE, 1, 1), frames.PROTOCOL_ERROR),
    "a window that opens by nothing": (word(frames.WINDOW_UPDATE, 0, 0), frames.PROTOCOL_ERROR),
    "a window that is too large": (
        word(frames.WINDOW_UPDATE, 0, frames.LARGEST),
        frames.FLOW_CONTROL_ERROR,
    ),
    "a short ping": (frames.frame(frames.PING, 0, 0, b"1234567"), frames.FRAME_SIZE_ERROR),
    "a ping on a stream": (frames.frame(frames.PING, 0, 1, bytes(8)), frames.PROTOCOL_ERROR),
    "settings on a stream": (frames.frame(frames.SETTINGS, 0, 1, b""), frames.PROTOCOL_ERROR),
    "odd settings": (frames.frame(frames.SETTINGS, 0, 0, b"12345"), frames.FRAME_SIZE_ERROR),
    "an answer to settings that says something": (
        frames.frame(frames.SETTINGS, frames.ACK, 0, bytes(6)),
        frames.FRAME_SIZE_ERROR,
    ),
    "a short goaway": (frames.frame(frames.GOAWAY, 0, 0, b"1234567"), frames.FRAME_SIZE_ERROR),
    "a goaway on a stream": (frames.frame(frames.GOAWAY, 0, 1, bytes(8)), frames.PROTOCOL_ERROR),
    "more padding than data": (headers(1) + data(1, b"\x09x", frames.PADDED), frames.PROTOCOL_ERROR),
    "a list that is too long": (
        headers(1, fields(("x-a", "y" * 60_000)), 0)
        + frames.frame(frames.CONTINUATION, 0, 1, bytes(1 << 16)) * 4,
        frames.ENHANCE_YOUR_CALM,
    ),
    "one header again and again": (
        headers(1, b"\x40\x01a\x64" + b"x" * 100 + b"\xbe" * 60_000),
        frames.ENHANCE_YOUR_CALM,
    ),
    "a block in pieces of nothing": (
        headers(1, b"", 0) + frames.frame(frames.CONTINUATION, 0, 1, b"") * 3000,
        frames.ENHANCE_YOUR_CALM,
    ),
    "data of nothing": (headers(1) + data(1) * 3000, frames.ENHANCE_YOUR_CALM),
    "settings again and again": (SETTINGS * 3000, frames.ENHANCE_YOUR_CALM),
    "priorities again and again": (
        frames.frame(frames.PRIORITY, 0, 1, bytes(5)) * 3000,
        frames.ENHANCE_YOUR_CALM,
    ),
    "unknown frames again and again": (frames.frame(77, 0, 0, b"?") * 3000, frames.ENHANCE_YOUR_CALM),
    "pings whose answers nobody reads": (ping(core.ANSWERS + 1), frames.ENHANCE_YOUR_CALM),
    "calls that are begun to be reset": (
        b"".join(headers(at) + word(frames.RST_STREAM, at, frames.CANCEL) for at in range(1, 6001, 2)),
        frames.ENHANCE_YOUR_CALM,
    ),
}


@pytest.mark.parametrize("case", FATAL)
def test_a_mistake_that_ends_the_connection(case: str) -> None:
    sent, code = FATAL[case]
    connection = server()
    connection.feed(sent)
    assert connection.fault is not None
    assert connection.fault.code == code
    last = said(connection.take())[-1]
    assert last[0] == frames.GOAWAY
    assert frames.read_goaway(last[3])[1] == code
    assert not connection.streams
    assert all(isinstance(each.failure, RpcError | Lost) for each in connection.opened)


@pytest.mark.parametrize("first", [ping(), headers(1), frames.frame(frames.SETTINGS, frames.ACK, 0, b"")])
@pytest.mark.parametrize("is_client", [True, False])
def test_who_does_not_begin_with_settings(first: bytes, is_client: bool) -> None:
    connection = Connection(client=is_client, clock=lambda: 0.0)
    connection.feed((b"" if is_client else frames.PREFACE) + first)
    assert connection.fault is not None
    assert connection.fault.code == frames.PROTOCOL_ERROR


PLAIN = ((":method", "POST"), (":scheme", "http"), (":path", "/a"))
BROKEN: dict[str, tuple[bytes, int]] = {
    "data after the end": (
        headers(1, flags=WHOLE | frames.END_STREAM) + data(1, b"x"),
        frames.STREAM_CLOSED,
    ),
    "headers after the end": (headers(1, flags=WHOLE | frames.END_STREAM) + headers(1), frames.STREAM_CLOSED),
    "headers in the middle": (headers(1) + headers(1, fields(("a", "b"))), frames.PROTOCOL_ERROR),
    "pseudo-headers at the end": (
        headers(1) + headers(1, flags=WHOLE | frames.END_STREAM),
        frames.PROTOCOL_ERROR,
    ),
    "no path": (headers(1, fields(*PLAIN[:2])), frames.PROTOCOL_ERROR),
    "two paths": (headers(1, fields(*PLAIN, (":path", "/b"))), frames.PROTOCOL_ERROR),
    "a pseudo-header behind": (headers(1, fields(*PLAIN, ("a", "b"), (":authority", "c"))), frames.PROTOCOL_ERROR),
    "an unknown pseudo-header": (headers(1, fields(*PLAIN, (":what", "c"))), frames.PROTOCOL_ERROR),
    "an answer's header": (headers(1, fields(*PLAIN, (":status", "200"))), frames.PROTOCOL_ERROR),
    "capitals": (headers(1, fields(*PLAIN, ("X-A", "b"))), frames.PROTOCOL_ERROR),
    "a header of HTTP/1.1": (headers(1, fields(*PLAIN, ("connection", "close"))), frames.PROTOCOL_ERROR),
    "a window that opens by nothing": (headers(1) + word(frames.WINDOW_UPDATE, 1, 0), frames.PROTOCOL_ERROR),
    "a window that is too large": (
        headers(1) + word(frames.WINDOW_UPDATE, 1, frames.LARGEST),
        frames.FLOW_CONTROL_ERROR,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_mistake_that_ends_its_stream(case: str) -> None:
    sent, code = BROKEN[case]
    connection = server()
    connection.feed(sent)
    assert connection.fault is None
    assert [frame[2:] for frame in said(connection.take()) if frame[0] == frames.RST_STREAM] == [
        (1, code.to_bytes(4, "big"))
    ]
    connection.feed(headers(3))
    assert [stream.id for stream in connection.opened][-1] == 3


def test_what_comes_for_a_stream_that_was_closed_is_no_mistake() -> None:
    connection = server()
    connection.feed(headers(1))
    connection.reset(connection.opened[0], frames.CANCEL)
    connection.feed(
        data(1, b"late") + word(frames.WINDOW_UPDATE, 1, 5) + word(frames.RST_STREAM, 1, 8) + headers(1)
    )
    assert connection.fault is None


def test_more_than_a_window() -> None:
    connection = server()
    connection.feed(headers(1) + data(1, prefix.pack(0, WINDOW - PREFIX)))
    piece = data(1, bytes(1 << 14))
    for _ in range((WINDOW >> 14) - 1):
        connection.feed(piece)
    (stream,) = connection.opened
    assert not stream.closed
    connection.feed(piece)
    assert connection.fault is None
    resets = [frame for frame in said(connection.take()) if frame[0] == frames.RST_STREAM]
    assert [frame[2:] for frame in resets] == [(1, frames.FLOW_CONTROL_ERROR.to_bytes(4, "big"))]
    assert isinstance(stream.failure, RpcError)


def test_the_connections_window_is_a_bound_where_nobody_takes_anything() -> None:
    """A peer that obeys no window of ours is cut; what it could make us keep is what the windows allow."""
    connection = server()
    count = core.HELD // WINDOW + 8
    connection.feed(b"".join(headers(1 + 2 * at) for at in range(count)))
    begin = framed(bytes((1 << 14) - PREFIX))
    for at in range(count):
        for _ in range(WINDOW >> 14):
            connection.feed(data(1 + 2 * at, begin))
    assert connection.fault is not None
    assert connection.fault.code == frames.FLOW_CONTROL_ERROR
    assert sum(stream.held for stream in connection.opened) <= core.HELD


def test_a_window_opens_as_messages_are_taken() -> None:
    ours, theirs = joined()
    stream = ours.open(calls.request("/a/b"))
    message = framed(bytes(100_000))
    exchange(ours, theirs)
    (incoming,) = theirs.opened
    for _ in range(200):
        assert ours.send_data(stream, message) == len(message)
        exchange(ours, theirs)
        assert len(incoming.inbox.popleft()) == 100_000
        theirs.consumed(incoming, len(message))
        exchange(ours, theirs)
    assert incoming.held == 0


def test_what_the_windows_do_not_let_through_is_told_when_they_do() -> None:
    ours, theirs = joined()
    stream = ours.open(calls.request("/a/b"))
    message = framed(bytes(WINDOW * 2))
    sent = ours.send_data(stream, message)
    assert sent == WINDOW
    while sent < len(message):
        theirs.feed(ours.take())
        assert stream in ours.feed(theirs.take())
        sent += ours.send_data(stream, memoryview(message)[sent:], end=True)
    exchange(ours, theirs)
    (incoming,) = theirs.opened
    assert list(map(len, incoming.inbox)) == [WINDOW * 2]
    assert incoming.ended
    assert stream.finished


def test_a_peer_that_makes_its_window_small_makes_ours_negative() -> None:
    connection = client()
    stream = connection.open(calls.request("/a/b"))
    assert connection.send_data(stream, bytes(60_000)) == 60_000
    connection.feed(frames.settings({frames.INITIAL_WINDOW_SIZE: 10}))
    assert stream.window < 0
    assert connection.send_data(stream, b"more") == 0
    assert stream in connection.feed(word(frames.WINDOW_UPDATE, stream.id, 60_000))
    assert connection.send_data(stream, b"more") == 4


@pytest.mark.parametrize("size", [10, 1 << 14, 100_000, 3 << 20])
def test_headers_of_any_size_come_through(size: int) -> None:
    ours, theirs = joined()
    stream = ours.open(calls.request("/a/b"))
    exchange(ours, theirs)
    theirs.send_headers(theirs.opened[0], [*calls.opening(), ("x-large", "v" * size)], end=True)
    exchange(ours, theirs)
    assert stream.headers is not None
    assert stream.headers[-1] == ("x-large", "v" * size)


def test_details_that_a_peer_does_not_take_stay_away() -> None:
    from google.protobuf.any_pb2 import Any as Packed

    error = RpcError(Status.ABORTED, "why", [Packed(type_url="x", value=bytes(100_000))])
    assert hpack.size_of(calls.closing(error, 1 << 20, first=True)) > 100_000
    assert dict(calls.closing(error, 64 << 10, first=True))["grpc-message"] == "why"
    assert hpack.size_of(calls.closing(error, 64 << 10, first=True)) < 1000


def test_hints_before_an_answer_are_passed_over() -> None:
    connection = client()
    stream = connection.open(calls.request("/a/b"))
    connection.feed(
        headers(1, fields((":status", "103"))) + headers(1, fields((":status", "200"), ("a", "b")))
    )
    assert stream.headers == [(":status", "200"), ("a", "b")]


def test_a_server_that_goes_fails_what_it_did_not_look_at() -> None:
    connection = client()
    first, second = (connection.open(calls.request("/a/b")) for _ in range(2))
    assert connection.feed(frames.goaway(1, 0)) == [second]
    assert isinstance(second.failure, Lost)
    assert first.failure is None
    with pytest.raises(Lost):
        connection.open(calls.request("/a/b"))


def test_a_client_opens_no_more_than_it_may() -> None:
    connection = Connection(client=True, clock=lambda: 0.0)
    connection.feed(frames.settings({frames.MAX_CONCURRENT_STREAMS: 1}))
    found = [connection.full]
    stream = connection.open(calls.request("/a/b"))
    found.append(connection.full)
    connection.reset(stream, frames.CANCEL)
    found.append(connection.full)
    assert found == [False, True, False]


def test_a_flood_is_one_only_when_it_is_fast() -> None:
    now = [0.0]

    def clock() -> float:
        now[0] += 0.02
        return now[0]

    connection = server(clock)
    connection.feed(SETTINGS * 5000)
    assert connection.fault is None


@pytest.mark.parametrize(
    ("payload", "status"),
    [
        (prefix.pack(1, 3) + b"abc", Status.UNIMPLEMENTED),
        (prefix.pack(0, MESSAGE + 1), Status.RESOURCE_EXHAUSTED),
    ],
)
def test_a_message_that_is_not_taken(payload: bytes, status: Status) -> None:
    connection = server()
    connection.feed(headers(1) + data(1, framed(b"good")) + data(1, payload) + data(1, b"more"))
    (stream,) = connection.opened
    assert list(stream.inbox) == [b"good"]
    assert isinstance(stream.failure, RpcError)
    assert stream.failure.status == status
    assert connection.fault is None


def test_a_stream_that_ends_in_a_message() -> None:
    connection = server()
    connection.feed(headers(1) + data(1, framed(b"good")[:-1], frames.END_STREAM))
    assert isinstance(connection.opened[0].failure, RpcError)


@given(st.lists(st.binary(max_size=300), max_size=20), st.lists(st.integers(0, 3000), max_size=20), st.data())
def test_messages_are_whole_however_frames_cut_them(
    messages: list[bytes], at: list[int], draw: st.DataObject
) -> None:
    joined_up = b"".join(map(framed, messages))
    places = [0, *sorted(min(each, len(joined_up)) for each in at), len(joined_up)]
    sent = headers(1) + b"".join(data(1, joined_up[start:stop]) for start, stop in pairwise(places))
    connection = server()
    step = draw.draw(st.integers(1, 400))
    for start in range(0, len(sent), step):
        connection.feed(sent[start : start + step])
    (stream,) = connection.opened
    assert list(stream.inbox) == messages


PLAUSIBLE = st.lists(
    st.one_of(
        st.builds(
            frames.frame,
            st.integers(0, 10),
            st.sampled_from([0, 1, 4, 5, 8, 9, 0xFF]),
            st.sampled_from([0, 1, 2, 3, 5]),
            st.binary(max_size=20) | st.just(ASK) | st.just(framed(b"abc")),
        ),
        st.binary(max_size=30),
    ),
    max_size=30,
)


@settings(max_examples=200)
@given(PLAUSIBLE, st.booleans())
def test_no_bytes_at_all_break_anything(pieces: Iterable[bytes], is_client: bool) -> None:
    connection = client() if is_client else server()
    streams: list[Stream] = [connection.open(calls.request("/a/b")) for _ in range(2 if is_client else 0)]
    for piece in pieces:
        connection.feed(piece)
        if connection.fault is not None:
            break
    streams += connection.opened
    connection.take()
    connection.lost()
    assert all(stream.closed for stream in streams)
    assert sum(len(each) + PREFIX for stream in streams for each in stream.inbox) <= sum(
        stream.held for stream in streams
    )
