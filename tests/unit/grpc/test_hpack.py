"""Our HPACK beside the library `hpack`: what either writes the other reads, tables included; what the library refuses we refuse."""

import hpack as library
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knarr.grpc import hpack
from knarr.grpc.frames import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, Fault
from knarr.grpc.hpack import Header

MOST = 1 << 20
NAMES = st.sampled_from(["x-a", "x-b", "content-type", ":path", "grpc-status", ""]) | st.text(max_size=20)
VALUES = st.sampled_from(["POST", "/", "200", "application/grpc", ""]) | st.text(max_size=300)
LISTS = st.lists(st.tuples(NAMES, VALUES), max_size=12)
PLAIN = st.text(st.characters(max_codepoint=127), max_size=30)
SIZES = st.none() | st.integers(0, hpack.TABLE)
INDEXING = [b"\x00", b"\x10", b"\x40"]


def theirs(block: bytes, decoder: library.Decoder) -> list[Header]:
    return [(str(name), str(value)) for name, value in decoder.decode(block)]


def literal(name: bytes, value: bytes, kind: bytes = b"\x00") -> bytes:
    return kind + bytes((len(name),)) + name + bytes((len(value),)) + value


@settings(max_examples=50)
@given(st.lists(LISTS, max_size=8))
def test_the_library_reads_what_we_write(lists: list[list[Header]]) -> None:
    decoder = library.Decoder(MOST)
    for each in lists:
        assert theirs(hpack.encode(each), decoder) == each


@settings(max_examples=60)
@given(st.lists(st.tuples(LISTS, st.booleans(), SIZES, st.booleans()), max_size=12))
def test_we_read_what_the_library_writes(
    lists: list[tuple[list[Header], bool, int | None, bool]],
) -> None:
    """With Huffman's code and without, sensitive or not, while its table is resized and evicts."""
    encoder, decoder = library.Encoder(), hpack.Decoder(MOST)
    for headers, huffman, size, sensitive in lists:
        if size is not None:
            encoder.header_table_size = size
        block = encoder.encode([(name, value, sensitive) for name, value in headers], huffman=huffman)
        assert decoder.decode(block) == headers


@given(st.binary(max_size=400))
def test_every_byte_has_its_code(data: bytes) -> None:
    block = library.Encoder().encode([(b"x", data, True)], huffman=True)
    ((_, value),) = hpack.Decoder(MOST).decode(block)
    assert value.encode(errors="surrogateescape") == data


@settings(max_examples=300)
@given(st.lists(st.binary(max_size=40), max_size=5))
def test_of_any_bytes_we_make_what_the_library_makes(blocks: list[bytes]) -> None:
    ours, other = hpack.Decoder(MOST), library.Decoder(MOST)
    for block in blocks:
        try:
            wanted = [(bytes(name), bytes(value)) for name, value in other.decode(block, raw=True)]
        except Exception:  # the library fails in several ways
            with pytest.raises(Fault):
                ours.decode(block)
            return
        found = ours.decode(block)
        assert [tuple(part.encode(errors="surrogateescape") for part in pair) for pair in found] == wanted


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",
        b"\xbe",
        b"\xff\xff\xff\xff\xff\xff\xff",
        b"\x40",
        b"\x00\x05ab",
        b"\x00\x01a\x05b",
        b"\x3f\xe2\x1f",
        b"\x82\x20",
        b"\x00\x01a\x84\xff\xff\xff\xff",
        b"\x00\x01a\x82\xff\xff",
        b"\x00\x01a\x81\x00",
    ],
    ids=[
        "index 0",
        "past the table",
        "endless number",
        "cut",
        "name cut",
        "value cut",
        "large table",
        "size in the middle",
        "end of all",
        "long padding",
        "padding of zeros",
    ],
)
def test_blocks_that_are_none(block: bytes) -> None:
    with pytest.raises(Fault) as caught:
        hpack.Decoder(MOST).decode(block)
    assert caught.value.code == COMPRESSION_ERROR


@given(st.integers(1, 30), st.sampled_from(INDEXING))
def test_a_list_is_bounded_also_where_each_header_is_one_byte(count: int, kind: bytes) -> None:
    size = len("x-name") + len("value") + hpack.OVERHEAD
    block = literal(b"x-name", b"value", b"\x40") + b"\xbe" * (count - 1)
    assert len(hpack.Decoder(size * count).decode(block)) == count
    with pytest.raises(Fault) as caught:
        hpack.Decoder(size * count - 1).decode(block)
    assert caught.value.code == ENHANCE_YOUR_CALM
    with pytest.raises(Fault):
        hpack.Decoder(size - 1).decode(literal(b"x-name", b"value", kind))


@settings(max_examples=30)
@given(st.lists(st.tuples(PLAIN, PLAIN), max_size=12))
def test_a_lists_size_is_counted_as_it_is_bounded(headers: list[Header]) -> None:
    size = hpack.size_of(headers)
    assert hpack.Decoder(size).decode(hpack.encode(headers)) == headers
    if headers:
        with pytest.raises(Fault):
            hpack.Decoder(size - 1).decode(hpack.encode(headers))


def test_reading_is_not_quadratic() -> None:
    """Each of these headers costs the library a copy of the whole rest."""
    block = literal(b"a", b"b") * 100_000
    assert len(hpack.Decoder(1 << 23).decode(block)) == 100_000


def test_a_table_that_is_made_small_forgets() -> None:
    decoder = hpack.Decoder(MOST)
    decoder.decode(literal(b"a", b"1", b"\x40") + literal(b"b", b"2", b"\x40"))
    assert decoder.decode(b"\xbe\xbf") == [("b", "2"), ("a", "1")]
    assert decoder.decode(b"\x3f\x03\xbe") == [("b", "2")]
    with pytest.raises(Fault):
        decoder.decode(b"\xbf")
