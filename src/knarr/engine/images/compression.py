"""Layers are plain, gzip or zstd; imports may be bzip2 and xz too. Which, is read from the first bytes, as docker does.

Everything here blocks and takes any number of bytes; what comes out goes to the sink in pieces of bounded size, so an
archive that inflates a million times costs time, not memory.
"""

from collections.abc import Callable
from typing import Protocol

from knarr.engine.images.errors import BadImage

Sink = Callable[[bytes], object]
PIECE = 1 << 20
_MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
)
_SKIPPABLE = b"\x2a\x4d\x18"
_HEAD = 6
_WINDOW = 1 << 27
_LEVEL = 2


def sniff(head: bytes) -> str:
    """gzip, zstd, bzip2, xz, or the empty string for anything else; `head` has six bytes or is the whole."""
    if len(head) >= 4 and head[1:4] == _SKIPPABLE and 0x50 <= head[0] <= 0x5F:
        return "zstd"
    return next((name for magic, name in _MAGIC if head.startswith(magic)), "")


class Inflater:
    """Whatever is written comes out of `sink` inflated. Raises BadImage for a stream that is damaged."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._head = b""
        self._step: _Step | None = None

    def write(self, data: bytes) -> None:
        """The next bytes."""
        if self._step is not None:
            self._step.write(data)
            return
        self._head += data
        if len(self._head) >= _HEAD:
            self._begin()

    def finish(self) -> None:
        """The stream ends here."""
        if self._step is None:
            self._begin()
        assert self._step is not None
        self._step.finish()

    def _begin(self) -> None:
        name = sniff(self._head)
        if name == "zstd":
            self._step = _Frames(self._sink)
        elif name:
            self._step = _Members(self._sink, name)
        else:
            self._step = _Plain(self._sink)
        head, self._head = self._head, b""
        if head:
            self._step.write(head)


class _Step(Protocol):
    def write(self, data: bytes) -> None:
        """The next bytes."""

    def finish(self) -> None:
        """The stream ends here."""


class _Plain:
    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def write(self, data: bytes) -> None:
        self._sink(data)

    def finish(self) -> None:
        return None


class _Decompressor(Protocol):
    """bz2's, lzma's and igzip_lib's."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """What was not returned yet comes with the next call."""


_Damages = tuple[type[Exception], ...]


def _gzip() -> tuple[Callable[[], _Decompressor], _Damages]:
    from isal import igzip_lib

    damage: type[Exception] = vars(igzip_lib)["error"]  # which its stub calls an instance
    return lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP), (damage,)


def _bzip2() -> tuple[Callable[[], _Decompressor], _Damages]:
    import bz2

    return bz2.BZ2Decompressor, ()


def _xz() -> tuple[Callable[[], _Decompressor], _Damages]:
    import lzma

    return lzma.LZMADecompressor, (lzma.LZMAError,)


_FORMATS = {"gzip": _gzip, "bzip2": _bzip2, "xz": _xz}
"""How to begin a member, and what damage raises. A library is loaded when the first archive needs it."""


class _Members:
    """gzip, bzip2, xz: members one after another, zeros between and after them."""

    def __init__(self, sink: Sink, name: str) -> None:
        self._sink = sink
        self._name = name
        self._new, damages = _FORMATS[name]()
        self._damages: _Damages = (*damages, OSError, EOFError)
        self._member: _Decompressor | None = self._new()

    def write(self, data: bytes) -> None:
        try:
            while data:
                data = self._member_data(data)
        except self._damages as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the sink's own
            raise BadImage(f"invalid {self._name} data: {error}") from error

    def _member_data(self, data: bytes) -> bytes:
        """Feeds one member; what lies behind its end."""
        if self._member is None:
            data = data.lstrip(b"\0")
            if not data:
                return b""
            self._member = self._new()
        member = self._member
        while True:
            piece = member.decompress(data, PIECE)
            data = b""
            if piece:
                self._sink(piece)
            if member.eof:
                self._member = None
                return member.unused_data
            if member.needs_input:
                return b""

    def finish(self) -> None:
        if self._member is not None:
            raise BadImage(f"invalid {self._name} data: it ends too early")


class _Frames:
    """zstd: frames one after another; zstandard's writer gives each piece to its target as it is made."""

    def __init__(self, sink: Sink) -> None:
        import zstandard

        self._damage = zstandard.ZstdError
        self._writer = zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_writer(
            _Target(sink),  # type: ignore[arg-type]  # of a file only its write is called
            write_size=PIECE,
            closefd=False,
        )

    def write(self, data: bytes) -> None:
        try:
            self._writer.write(data)
        except self._damage as error:
            raise BadImage(f"invalid zstd data: {error}") from error

    def finish(self) -> None:
        return None


class _Target:
    """What zstandard's writer writes to."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def write(self, data: bytes) -> int:
        self._sink(bytes(data))
        return len(data)


class Deflater:
    """What is written comes out of `sink` as gzip: the same bytes for the same input, however it is cut."""

    def __init__(self, sink: Sink) -> None:
        from isal import isal_zlib

        self._sink = sink
        self._compressor = isal_zlib.compressobj(_LEVEL, wbits=31)
        self._waiting = bytearray()

    def write(self, data: bytes) -> None:
        """The next bytes; pieces of PIECE bytes are not copied."""
        if len(data) == PIECE and not self._waiting:
            self._emit(self._compressor.compress(data))
            return
        self._waiting += data
        while len(self._waiting) >= PIECE:
            self._emit(self._compressor.compress(bytes(self._waiting[:PIECE])))
            del self._waiting[:PIECE]

    def finish(self) -> None:
        """The end."""
        self._emit(self._compressor.compress(bytes(self._waiting)))
        self._emit(self._compressor.flush())
        self._waiting.clear()

    def _emit(self, data: bytes) -> None:
        if data:
            self._sink(data)
