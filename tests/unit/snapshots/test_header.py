"""tar headers against the standard library's tarfile: what it writes we read, what we write it reads."""

import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knarr.snapshots import header
from knarr.snapshots.header import BadHeader, Header

names = (
    st.lists(
        st.binary(min_size=1, max_size=90).map(lambda part: part.translate(None, b"/\0") or b"x"),
        min_size=1,
        max_size=6,
    )
    .map(b"/".join)
    .filter(lambda name: not name.endswith(b"/"))
)
PROPERTY = settings(deadline=None, derandomize=True, max_examples=60)
headers = st.builds(
    Header,
    name=names,
    kind=st.just(header.SYMLINK),
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 2**32 - 2),
    gid=st.integers(0, 2**32 - 2),
    size=st.just(0),
    mtime=st.integers(-(2**40), 2**61),
    device=st.just((0, 0)),
    atime=st.none(),
    link=names,
    xattrs=st.dictionaries(
        st.sampled_from(["user.a", "security.capability", "user.ü"]), st.binary(max_size=300)
    ),
)


def read(data: bytes) -> Header:
    """The member in `data`, as `source` puts it together."""
    pax: dict[bytes, bytes] = {}
    while True:
        found = header.parse(data[: header.BLOCK])
        body = data[header.BLOCK : header.BLOCK + found.size]
        if found.kind == header.LONG_NAME:
            pax[b"path"] = body.rstrip(b"\0")
        elif found.kind == header.PAX:
            pax |= header.records(body)
        else:
            return header.amended(found, pax)
        data = data[header.BLOCK + found.size + len(header.padding(found.size)) :]


@PROPERTY
@given(headers)
def test_what_is_encoded_is_parsed(wanted: Header) -> None:
    data = header.encode(wanted)
    assert len(data) % header.BLOCK == 0
    assert read(data) == wanted


@PROPERTY
@given(headers)
def test_the_standard_library_reads_what_is_encoded(wanted: Header) -> None:
    data = header.encode(wanted) + header.ZEROS * 2
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as archive:
        (found,) = archive.getmembers()
    assert found.name.encode("utf-8", "surrogateescape") == wanted.name
    assert found.linkname.encode("utf-8", "surrogateescape") == wanted.link
    assert (found.mode, found.uid, found.gid) == (wanted.mode, wanted.uid, wanted.gid)
    assert found.mtime == pytest.approx(wanted.mtime / 1e9)


def test_every_dialect_is_read() -> None:
    info = tarfile.TarInfo("etc/" + "d" * 60 + "/" + "f" * 60)
    info.size, info.mtime, info.uid, info.gid, info.mode = 12345, 1700000000, 1000, 2000, 0o4755
    for data in (
        info.tobuf(tarfile.USTAR_FORMAT),
        info.tobuf(tarfile.PAX_FORMAT),
        info.tobuf(tarfile.GNU_FORMAT),
    ):
        found = read(data)
        assert found.name == info.name.encode()
        assert (found.size, found.mtime, found.mode) == (12345, 1700000000 * 10**9, 0o4755)
        assert (found.uid, found.gid) == (1000, 2000)


def test_base_256_numbers() -> None:
    info = tarfile.TarInfo("big")
    info.size, info.uid, info.mtime = 9 << 40, 3_000_000_000, -5
    found = header.parse(info.tobuf(tarfile.GNU_FORMAT))
    assert (found.size, found.uid, found.mtime) == (9 << 40, 3_000_000_000, -5 * 10**9)


def checked(block: bytearray) -> bytes:
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def test_bad_blocks() -> None:
    good = bytearray(header.encode(Header(b"a")))
    assert header.parse(bytes(good)).name == b"a"
    flipped = bytearray(good)
    flipped[0] ^= 1
    with pytest.raises(BadHeader, match="checksum"):
        header.parse(bytes(flipped))
    for place, value, word in (
        (124, b"-0000000001\0", "number"),
        (100, b"99999999", "number"),
        (156, b"S", "sparse"),
    ):
        bad = bytearray(good)
        bad[place : place + len(value)] = value
        with pytest.raises(BadHeader, match=word):
            header.parse(checked(bad))
    negative = bytearray(good)
    negative[124:136] = b"\xff" * 12
    with pytest.raises(BadHeader, match="negative"):
        header.parse(checked(negative))


@pytest.mark.parametrize(
    "body",
    [
        b"x",
        b"5 a=\n9 ",
        b"99 path=a\n",
        b"6 =ab\n",
        b"0 a=b\n",
        b"-6 a=b\n",
        b"6 a=bc",
        b"1 \n",
        b"9999999999999 a=b\n",
        b"7 a bc\n",
    ],
)
def test_bad_records(body: bytes) -> None:
    with pytest.raises(BadHeader):
        header.records(body)


@pytest.mark.parametrize(
    "pax",
    [{b"size": b"-1"}, {b"mtime": b"x"}, {b"uid": b"1e3"}, {b"GNU.sparse.map": b"0,1"}, {b"size": b"9" * 40}],
)
def test_bad_values(pax: dict[bytes, bytes]) -> None:
    with pytest.raises(BadHeader):
        header.amended(Header(b"a"), pax)


@PROPERTY
@given(st.binary(min_size=512, max_size=512))
def test_any_block_is_parsed_or_refused(block: bytes) -> None:
    try:
        header.parse(checked(bytearray(block)))
    except BadHeader:
        pass


@PROPERTY
@given(st.binary(max_size=200))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    try:
        header.amended(Header(b"a"), header.records(body))
    except BadHeader:
        pass
