"""Frames: the same however the bytes are cut, and what is no frame."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.grpc import frames
from knarr.grpc.frames import Decoder, Fault, Frame

FRAMES = st.lists(
    st.tuples(
        st.integers(0, 255), st.integers(0, 255), st.integers(0, frames.LARGEST), st.binary(max_size=300)
    ),
    max_size=12,
)


def cut(data: bytes, at: list[int]) -> list[bytes]:
    places = [0, *sorted(min(each, len(data)) for each in at), len(data)]
    return [data[start:stop] for start, stop in pairwise(places)]


@given(FRAMES, st.lists(st.integers(0, 2000), max_size=20))
def test_any_cut_gives_the_same_frames(wanted: list[Frame], at: list[int]) -> None:
    data = b"".join(frames.frame(*each) for each in wanted)
    decoder = Decoder(300)
    assert [frame for piece in cut(data, at) for frame in decoder.feed(piece)] == wanted


@given(FRAMES, st.binary(max_size=400))
def test_what_is_before_a_frame_that_is_too_large_is_given(wanted: list[Frame], more: bytes) -> None:
    data = b"".join(frames.frame(*each) for each in wanted)
    found: list[Frame] = []
    with pytest.raises(Fault) as caught:
        found.extend(Decoder(300).feed(data + frames.head(301, 0, 0, 1) + more))
    assert (found, caught.value.code) == (wanted, frames.FRAME_SIZE_ERROR)


@given(st.binary(min_size=1, max_size=500), st.integers(1, 200), st.booleans())
def test_a_block_goes_into_as_many_frames_as_it_needs(block: bytes, largest: int, end: bool) -> None:
    data = b"".join(frames.header_block(7, block, largest, end=end))
    first, *rest = Decoder(largest).feed(data)
    assert b"".join(frame[3] for frame in (first, *rest)) == block
    assert first[0] == frames.HEADERS
    assert bool(first[1] & frames.END_STREAM) == end
    assert {frame[0] for frame in rest} <= {frames.CONTINUATION}
    assert [bool(frame[1] & frames.END_HEADERS) for frame in (first, *rest)] == [False] * len(rest) + [True]


@given(st.binary(max_size=300), st.integers(0, 255))
def test_padding_goes(data: bytes, size: int) -> None:
    assert frames.unpadded(frames.PADDED, bytes((size,)) + data + bytes(size)) == data
    assert frames.unpadded(frames.PRIORITISED, bytes(5) + data) == data
    assert frames.unpadded(0, data) == data


@pytest.mark.parametrize(
    ("flags", "payload", "code"),
    [
        (frames.PADDED, b"", frames.FRAME_SIZE_ERROR),
        (frames.PADDED, b"\x02x", frames.PROTOCOL_ERROR),
        (frames.PRIORITISED, b"1234", frames.PROTOCOL_ERROR),
    ],
)
def test_more_padding_than_payload(flags: int, payload: bytes, code: int) -> None:
    with pytest.raises(Fault) as caught:
        frames.unpadded(flags, payload)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"\x00\x04\x80\x00\x00\x00", frames.FLOW_CONTROL_ERROR),
        (b"\x00\x02\x00\x00\x00\x02", frames.PROTOCOL_ERROR),
        (b"\x00\x05\x00\x00\x00\x00", frames.PROTOCOL_ERROR),
        (b"\x00\x05\x01\x00\x00\x00", frames.PROTOCOL_ERROR),
        (b"\x00\x05\x01", frames.FRAME_SIZE_ERROR),
    ],
)
def test_settings_that_nobody_may_have(payload: bytes, code: int) -> None:
    with pytest.raises(Fault) as caught:
        list(frames.read_settings(payload))
    assert caught.value.code == code


def test_settings_and_goaway_are_read_back() -> None:
    values = {frames.MAX_FRAME_SIZE: 1 << 20, frames.INITIAL_WINDOW_SIZE: 7, 99: 5}
    (frame,) = Decoder().feed(frames.settings(values))
    assert dict(frames.read_settings(frame[3])) == values
    (frame,) = Decoder().feed(frames.goaway(9, frames.ENHANCE_YOUR_CALM, "why"))
    assert frames.read_goaway(frame[3]) == (9, frames.ENHANCE_YOUR_CALM)
    with pytest.raises(Fault):
        frames.read_goaway(b"short")
    with pytest.raises(Fault):
        frames.read_word(b"123", "RST_STREAM")
