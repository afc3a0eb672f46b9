"""HPACK (RFC 7541): header lists to blocks and back. Pure.

What we write has no dynamic table and no Huffman code: it goes over local sockets. What we read may use all of it. A list is
bounded as SETTINGS_MAX_HEADER_LIST_SIZE counts it, and reading takes time in proportion to block and list. Text is UTF-8;
bytes that are none are surrogates.
"""

from collections import deque
from collections.abc import Iterable
from functools import lru_cache

from knarr.grpc.frames import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, Fault

Header = tuple[str, str]

TABLE = 4096
OVERHEAD = 32
"""What a header counts beyond its name and its value (RFC 7541, 4.1)."""
_NO_TABLE = b"\x20"
_SHORT = 128
_STEPS = 1 << 13

_NAMES = (
    "accept-language accept-ranges accept access-control-allow-origin age allow authorization cache-control "
    "content-disposition content-encoding content-language content-length content-location content-range "
    "content-type cookie date etag expect expires from host if-match if-modified-since if-none-match if-range "
    "if-unmodified-since last-modified link location max-forwards proxy-authenticate proxy-authorization range "
    "referer refresh retry-after server set-cookie strict-transport-security transfer-encoding user-agent vary "
    "via www-authenticate"
)
_STATIC: tuple[Header, ...] = (
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    *((":status", code) for code in ("200", "204", "206", "304", "400", "404", "500")),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    *((name, "") for name in _NAMES.split()),
)
_INDEX = {pair: at for at, pair in reversed([*enumerate(_STATIC, 1)])}
_NAMED = {name: at for at, (name, _) in reversed([*enumerate(_STATIC, 1)])}
_LENGTHS = (
    "ISXXXXXXXTZXXZXXXXXXXXZXXXXXXXXXBFFHIBDGFFDGDBBBAAABBBBBBBCDKBHFIBCCCCCCCCCCCCCCCCCCCCCCDCDIOIJBKABABABBBACCBBBABCBAA"
    "BCCCCCKGJIXPRPPRRRSRSSSSSTSTTRSTSSSSQRSRSSTRQPRRSSQSRRTQRSSQQRQSRSSPRRRSRRSVVPORSRUVVVWWVTUOQVWWVWTQQVVXWWWPTPQRQQSRRUU"
    "TTVSVWVVWWWWWXWWWWWVZ"
)
"""The lengths of Huffman's codes for 256 bytes and the end; A is 5 bits. They are canonical: lengths give the codes."""


def encode(headers: Iterable[Header]) -> bytes:
    """A block. It can be read whatever was read before."""
    return _NO_TABLE + b"".join(
        [_field(name, value) if len(value) < _SHORT else _literal(name, value) for name, value in headers]
    )


def _literal(name: str, value: str) -> bytes:
    index = _NAMED.get(name, 0)
    return _number(index, 4, 0) + (b"" if index else _text(name)) + _text(value)


@lru_cache(256)
def _field(name: str, value: str) -> bytes:
    index = _INDEX.get((name, value))
    return _number(index, 7, 0x80) if index else _literal(name, value)


def _text(text: str) -> bytes:
    data = text.encode(errors="surrogateescape")
    return _number(len(data), 7, 0) + data


def _number(value: int, bits: int, pattern: int) -> bytes:
    """RFC 7541, 5.1"""
    most = (1 << bits) - 1
    if value < most:
        return bytes((pattern | value,))
    out = bytearray((pattern | most,))
    value -= most
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def size_of(headers: Iterable[Header]) -> int:
    """As SETTINGS_MAX_HEADER_LIST_SIZE counts it, of ASCII."""
    return sum(len(name) + len(value) + OVERHEAD for name, value in headers)


class Decoder:
    """Blocks to lists, in the order in which they came. Raises Fault; nothing can be read afterwards."""

    def __init__(self, most: int):
        self._most = most
        self._table: deque[tuple[str, str, int]] = deque()
        self._filled = 0
        self._limit = TABLE

    def decode(self, block: bytes) -> list[Header]:
        """One list."""
        found: list[Header] = []
        at, total = 0, 0
        try:
            while at < len(block):
                first = block[at]
                if first & 0xE0 == 0x20:
                    at = self._resize(block, at, first_of_all=not found)
                    continue
                name, value, size, at = self._next(block, at, first)
                total += size
                if total > self._most:
                    raise Fault(ENHANCE_YOUR_CALM, f"a header list of more than {self._most} bytes")
                found.append((name, value))
        except IndexError:
            raise Fault(COMPRESSION_ERROR, "a header block that ends in the middle") from None
        return found

    def _next(self, block: bytes, at: int, first: int) -> tuple[str, str, int, int]:
        if first & 0x80:
            index, at = _read_number(block, at, 7)
            return *self._entry(index), at
        index, at = _read_number(block, at, 6 if first & 0x40 else 4)
        if index:
            name, _, size = self._entry(index)
            size = len(name.encode(errors="surrogateescape"))
        else:
            name, size, at = _read_text(block, at)
        value, more, at = _read_text(block, at)
        size += more + OVERHEAD
        if first & 0x40:
            self._keep(name, value, size)
        return name, value, size, at

    def _entry(self, index: int) -> tuple[str, str, int]:
        if 0 < index <= len(_STATIC):
            name, value = _STATIC[index - 1]
            return name, value, len(name) + len(value) + OVERHEAD
        if index <= len(_STATIC) + len(self._table):
            return self._table[index - len(_STATIC) - 1]
        raise Fault(COMPRESSION_ERROR, f"no header has index {index}")

    def _keep(self, name: str, value: str, size: int) -> None:
        self._table.appendleft((name, value, size))
        self._filled += size
        self._shrink()

    def _resize(self, block: bytes, at: int, *, first_of_all: bool) -> int:
        limit, at = _read_number(block, at, 5)
        if limit > TABLE or not first_of_all:
            raise Fault(COMPRESSION_ERROR, f"the table's size changes to {limit}")
        self._limit = limit
        self._shrink()
        return at

    def _shrink(self) -> None:
        while self._filled > self._limit:
            self._filled -= self._table.pop()[2]


def _read_number(block: bytes, at: int, bits: int) -> tuple[int, int]:
    most = (1 << bits) - 1
    value = block[at] & most
    at += 1
    if value < most:
        return value, at
    for shift in (0, 7, 14, 21, 28):
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise Fault(COMPRESSION_ERROR, "a number that does not end")


def _read_text(block: bytes, at: int) -> tuple[str, int, int]:
    """A string, how many bytes it is, and where it ends."""
    coded = block[at] & 0x80
    size, at = _read_number(block, at, 7)
    data = block[at : at + size]
    if len(data) != size:
        raise Fault(COMPRESSION_ERROR, "a string that ends in the middle")
    if coded:
        data = _plain(data)
    return data.decode(errors="surrogateescape"), len(data), at + size


def _plain(data: bytes) -> bytes:
    """Huffman's code undone, a byte at a time: a node is the bits since the last symbol behind a 1."""
    out, node = [], 1
    for byte in data:
        node, symbols = _STEPPED.get((node, byte)) or _step(node, byte)
        out.append(symbols)
    if node & (node + 1) or node > 0xFF:
        raise Fault(COMPRESSION_ERROR, "a string whose padding is not the end's first bits")
    return b"".join(out)


_LEAVES: dict[int, int] = {}
_STEPPED: dict[tuple[int, int], tuple[int, bytes]] = {}


def _step(node: int, byte: int) -> tuple[int, bytes]:
    """One byte further; remembered."""
    if not _LEAVES:
        _LEAVES.update(_codes())
    came, symbols = (node, byte), bytearray()
    for bit in range(7, -1, -1):
        node = node << 1 | (byte >> bit & 1)
        symbol = _LEAVES.get(node)
        if symbol is not None:
            if symbol > 0xFF:
                raise Fault(COMPRESSION_ERROR, "the end inside of a string")
            symbols.append(symbol)
            node = 1
    if len(_STEPPED) >= _STEPS:
        _STEPPED.clear()
    found = _STEPPED[came] = node, bytes(symbols)
    return found


def _codes() -> Iterable[tuple[int, int]]:
    code, length = -1, 5
    for letter, symbol in sorted((letter, symbol) for symbol, letter in enumerate(_LENGTHS)):
        longer = ord(letter) - ord("A") + 5
        code = code + 1 << longer - length
        length = longer
        yield 1 << length | code, symbol
