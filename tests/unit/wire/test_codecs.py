"""Frames, JSON lines, log records and detach keys: right in any pieces, never a crash."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.model.errors import Invalid
from knarr.wire import detachkeys, jsonlines, jsonlog, mux
from knarr.wire.record import Record

FRAMES = st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=40)), max_size=8)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    out, at, turn = [], 0, 0
    while at < len(data):
        step = cuts[turn % len(cuts)]
        out.append(data[at : at + step])
        at, turn = at + step, turn + 1
    return out


@given(FRAMES, st.lists(st.integers(1, 30), min_size=1, max_size=6))
def test_frames_survive_any_cut(frames: list[tuple[int, bytes]], cuts: list[int]) -> None:
    decoder = mux.Decoder()
    data = b"".join(mux.encode(stream, payload) for stream, payload in frames)
    got = [frame for piece in pieces(data, cuts) for frame in decoder.feed(piece)]
    assert [tuple(frame) for frame in got] == frames
    assert decoder.pending == 0


@given(st.binary(max_size=60))
def test_any_bytes_are_frames_or_refused(data: bytes) -> None:
    try:
        mux.Decoder(max_frame=1000).feed(data)
    except Invalid:
        pass


@given(
    st.lists(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=3), v, max_size=3),
        ),
        max_size=5,
    ),
    st.lists(st.integers(1, 20), min_size=1, max_size=5),
)
def test_json_lines_survive_any_cut(values: list[object], cuts: list[int]) -> None:
    decoder = jsonlines.Decoder()
    data = b"".join(jsonlines.encode(value) for value in values)
    got = [value for piece in pieces(data, cuts) for value in decoder.feed(piece)]
    assert got + decoder.end() == values


@given(st.binary(max_size=60))
def test_any_bytes_are_json_lines_or_refused(data: bytes) -> None:
    decoder = jsonlines.Decoder()
    try:
        decoder.feed(data)
        decoder.end()
    except Invalid:
        pass


@given(st.sampled_from(["stdout", "stderr"]), st.integers(1, 4_000_000_000_000_000_000), st.text(max_size=40))
def test_log_records_survive(stream: str, at: int, text: str) -> None:
    record = Record(stream, at, text.encode("utf-8", "replace"))
    line = jsonlog.encode(record)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert jsonlog.decode(line) == record


@given(st.binary(max_size=60))
def test_any_line_is_a_record_or_refused(data: bytes) -> None:
    try:
        jsonlog.decode(data)
    except Invalid:
        pass


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("", b"\x10\x11"), ("ctrl-a,a", b"\x01a"), ("ctrl-@,ctrl-_", b"\x00\x1f"), ("q", b"q")],
)
def test_detach_keys(text: str, wanted: bytes) -> None:
    assert detachkeys.parse(text) == wanted


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-AA", "ab", ",", "ctrl-é"])
def test_bad_detach_keys(text: str) -> None:
    with pytest.raises(Invalid):
        detachkeys.parse(text)


TYPED = st.lists(st.lists(st.sampled_from(b"ab"), max_size=6).map(bytes), max_size=6)


@given(st.lists(st.sampled_from(b"ab"), min_size=1, max_size=4).map(bytes), TYPED)
def test_detach_keys_are_found_in_any_pieces(keys: bytes, data: list[bytes]) -> None:
    """Of two letters, so that sequences overlap with themselves: "aab" is typed by "aaab"."""
    matcher = detachkeys.Matcher(keys)
    joined = b"".join(data)
    out, detached = b"", False
    for piece in data:
        passed, detached = matcher.feed(piece)
        out += passed
        if detached:
            break
    assert detached == (keys in joined)
    if detached:
        assert out == joined.partition(keys)[0]
    else:
        assert joined.startswith(out)
        assert keys.startswith(joined[len(out) :])
