"""Records of the local driver and messages of the forward protocol: what goes in comes out, and nonsense is refused."""

import contextlib

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from knarr.model.errors import Invalid
from knarr.wire import forward, locallog
from knarr.wire.locallog import Decoder, Piece, attributes, encode

_TEXTS = st.dictionaries(st.text(max_size=40), st.text(max_size=300), max_size=20)


@given(
    st.sampled_from(["stdout", "stderr"]),
    st.integers(0, 1 << 62),
    st.binary(max_size=300),
    st.booleans(),
    _TEXTS,
    st.integers(1, 9),
)
def test_a_record_comes_back_in_pieces(
    stream: str, at: int, line: bytes, partial: bool, attrs: dict[str, str], step: int
) -> None:
    piece = Piece("id", 3, False) if partial else None
    data = encode(stream, at, line, piece, attributes(attrs))
    decoder = Decoder()
    found = [
        record for begin in range(0, len(data), step) for record in decoder.feed(data[begin : begin + step])
    ]
    assert [(each.stream, each.at, each.data, dict(each.attrs)) for each in found] == [
        (stream, at, line if partial else line + b"\n", attrs)
    ]


@given(st.binary(max_size=200))
def test_nonsense(data: bytes) -> None:
    with contextlib.suppress(Invalid):
        list(Decoder().feed(data))
    with contextlib.suppress(Invalid):
        locallog.decode(data)


@given(
    st.text(max_size=300), st.integers(0, (1 << 32) - 1), st.integers(0, 999_999_999), _TEXTS, st.booleans()
)
def test_forward(tag: str, second: int, rest: int, record: dict[str, str], precise: bool) -> None:
    data = forward.message(tag, second * 10**9 + rest, record, precise=precise, chunk="c")
    found = msgspec.msgpack.Decoder(ext_hook=lambda code, value: (code, bytes(value))).decode(data)
    moment = (0, second.to_bytes(4, "big") + rest.to_bytes(4, "big")) if precise else second
    assert found == [tag, moment, record, {"chunk": "c"}]


def test_answers() -> None:
    whole = msgspec.msgpack.encode({"ack": "abc"})
    assert forward.answered(whole, "abc") is True
    assert forward.answered(whole, "abd") is False
    assert forward.answered(whole[:4], "abc") is None
