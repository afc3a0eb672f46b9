"""Heads and chunks: right in any pieces, refused in words, never a crash."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.loop.http.parser import HTTP2, BadRequest, Chunks, find_head, parse_head


def test_a_head() -> None:
    head = parse_head(
        b"POST /v1.44/a%20b/c?x=1&x=2&y HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    )
    assert (head.method, head.path, head.version) == ("POST", "/v1.44/a b/c", (1, 1))
    assert head.query == {"x": ["1", "2"], "y": [""]}
    assert head.upgrade == "tcp"
    assert head.keep_alive
    assert head.content_length() == 0


@pytest.mark.parametrize(
    "data",
    [
        b"GET /\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"G@T / HTTP/1.1\r\n\r\n".replace(b"@", b"\x00"),
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nna me: x\r\n\r\n",
    ],
)
def test_bad_heads_are_refused(data: bytes) -> None:
    with pytest.raises(BadRequest):
        parse_head(data)


@pytest.mark.parametrize(
    "headers",
    [
        "Content-Length: 1, 2",
        "Content-Length: -1",
        "Content-Length: 1\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip",
    ],
)
def test_ambiguous_lengths_are_refused(headers: str) -> None:
    with pytest.raises(BadRequest):
        parse_head(f"GET / HTTP/1.1\r\n{headers}\r\n\r\n".encode()).content_length()


def test_a_long_head_is_refused() -> None:
    with pytest.raises(BadRequest):
        find_head(b"x" * 70_000)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_head_or_refused(data: bytes) -> None:
    try:
        end = find_head(data)
        if end >= 0 and data[:end].strip(b"\r\n"):
            head = parse_head(data[:end])
            assert head.query is not None
            head.content_length()
    except BadRequest:
        pass


@given(
    st.lists(st.binary(min_size=1, max_size=50), max_size=6),
    st.lists(st.integers(1, 20), min_size=1, max_size=8),
    st.binary(max_size=10),
)
def test_chunks_survive_any_cut(pieces: list[bytes], cuts: list[int], behind: bytes) -> None:
    data = (
        b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        + b"0\r\nTrailer: x\r\n\r\n"
        + behind
    )
    chunks, out, position, turn = Chunks(), b"", 0, 0
    while position < len(data):
        step = cuts[turn % len(cuts)]
        out += b"".join(chunks.feed(data[position : position + step]))
        position, turn = position + step, turn + 1
    assert chunks.done
    assert out == b"".join(pieces)
    assert chunks.rest == behind


@given(st.binary(max_size=200))
def test_any_bytes_are_chunks_or_refused(data: bytes) -> None:
    try:
        Chunks().feed(data)
    except BadRequest:
        pass


def test_a_tls_handshake_is_refused_at_its_first_byte() -> None:
    with pytest.raises(BadRequest):
        find_head(b"\x16\x03\x01")
    assert find_head(b"\r\nGET / HTTP/1.1") == -1


def test_the_preface_of_http_2_is_a_head_that_can_be_routed() -> None:
    assert find_head(HTTP2 + b"SM\r\n\r\n") == len(HTTP2)
    head = parse_head(HTTP2)
    assert (head.method, head.path, head.content_length()) == ("PRI", "*", 0)
    for other in (b"PRI * HTTP/2.0\r\nHost: x\r\n\r\n", b"GET / HTTP/2.0\r\n\r\n", b"PRI / HTTP/2.0\r\n\r\n"):
        with pytest.raises(BadRequest):
            parse_head(other)
