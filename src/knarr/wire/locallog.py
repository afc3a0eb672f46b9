"""Records of Docker's `local` log: length, protobuf LogEntry, length again; lengths are 4 bytes, the highest first.

LogEntry: source 1, time_nano 2, line 3 (without its end), partial 4, partial_log_metadata 5 {last 1, id 2, ordinal 3},
attrs 6 {key 1, value 2}. A field that is not known is skipped.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from knarr.model.errors import Invalid
from knarr.wire.record import Record

LIMIT = 1 << 20
_FRAME = 8


class Piece(NamedTuple):
    """Of a line that is longer than one message."""

    id: str
    ordinal: int
    last: bool


def varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _text(tag: int, data: bytes) -> bytes:
    return bytes((tag << 3 | 2,)) + varint(len(data)) + data if data else b""


def attributes(attrs: Mapping[str, str]) -> bytes:
    """The end of every entry of a container."""
    pairs = (_text(1, key.encode()) + _text(2, value.encode()) for key, value in attrs.items())
    return b"".join(b"\x32" + varint(len(pair)) + pair for pair in pairs)


def encode(stream: str, at: int, line: bytes, piece: Piece | None = None, attrs: bytes = b"") -> bytes:
    """One record; `attrs` as `attributes` made them."""
    entry = _text(1, stream.encode()) + b"\x10" + varint(at) + _text(3, line)
    if piece is not None:
        told = b"\x08\x01" if piece.last else b""
        told += _text(2, piece.id.encode()) + b"\x18" + varint(piece.ordinal)
        entry += b"\x20\x01" + _text(5, told)
    entry += attrs
    length = len(entry).to_bytes(4, "big")
    return length + entry + length


def decode(entry: bytes) -> Record:
    """An entry as the record of a line that has its end again. Raises Invalid."""
    stream, at, line, partial, last = "", 0, b"", False, False
    attrs: dict[str, str] = {}
    for tag, value in _fields(entry):
        if tag == 1 and isinstance(value, bytes):
            stream = value.decode("utf-8", "replace")
        elif tag == 2 and isinstance(value, int):
            at = value
        elif tag == 3 and isinstance(value, bytes):
            line = value
        elif tag == 4:
            partial = bool(value)
        elif tag == 5 and isinstance(value, bytes):
            last = any(inner == 1 and found for inner, found in _fields(value))
        elif tag == 6 and isinstance(value, bytes):
            pair = {
                inner: found.decode("utf-8", "replace")
                for inner, found in _fields(value)
                if isinstance(found, bytes)
            }
            attrs[pair.get(1, "")] = pair.get(2, "")
    return Record(stream, at, line if partial and not last else line + b"\n", attrs)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        kind = key & 7
        if kind == 0:
            value, position = _varint(data, position)
            yield key >> 3, value
            continue
        if kind == 2:
            length, position = _varint(data, position)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise Invalid("not a log entry")
        if position + length > len(data):
            raise Invalid("a log entry that is cut short")
        yield key >> 3, data[position : position + length]
        position += length


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(data) and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise Invalid("a log entry that is cut short")


class Decoder:
    """Bytes of a file in pieces → records. Raises Invalid where lengths make no sense: nothing behind it can be found."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Record]:
        """The records that are complete now."""
        data, position = self._rest + data, 0
        while len(data) - position >= _FRAME:
            length = int.from_bytes(data[position : position + 4], "big")
            if length > LIMIT:
                raise Invalid(f"log message is too large ({length} > {LIMIT})")
            end = position + _FRAME + length
            if len(data) < end:
                break
            if data[end - 4 : end] != data[position : position + 4]:
                raise Invalid("log message header and footer indicate different message sizes")
            yield decode(data[position + 4 : end - 4])
            position = end
        self._rest = data[position:]
