"""Protocol Buffers' wire format by hand, for the few messages that are spoken where the library takes too long to start (30 ms).

https://protobuf.dev/programming-guides/encoding/. What is 0 or empty is left out; a field that nobody knows is passed over.
"""

from collections.abc import Iterator, Mapping

_MASK = (1 << 64) - 1
_SIGN = 1 << 63


class Malformed(ValueError):
    """Bytes that are no message."""


def varint(value: int) -> bytes:
    """A number; one below zero has ten bytes."""
    if 0 <= value < 0x80:
        return bytes((value,))
    value &= _MASK
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field: int, value: int) -> bytes:
    """An integer or a bool."""
    return varint(field << 3) + varint(value) if value else b""


def message(field: int, body: bytes) -> bytes:
    """Bytes, or a message in a message: there, even if it is empty."""
    return varint(field << 3 | 2) + varint(len(body)) + body


def data(field: int, value: bytes) -> bytes:
    """Bytes."""
    return message(field, value) if value else b""


def text(field: int, value: str) -> bytes:
    """A string."""
    return message(field, value.encode(errors="surrogateescape")) if value else b""


def pairs(field: int, values: Mapping[str, str]) -> bytes:
    """A map of strings."""
    return b"".join([message(field, text(1, key) + text(2, value)) for key, value in values.items()])


def fields(body: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and bytes by their fields' numbers, in order. Raises Malformed."""
    at, end = 0, len(body)
    while at < end:
        key, at = _varint(body, at)
        kind = key & 7
        value: int | bytes
        if kind == 0:
            value, at = _varint(body, at)
        else:
            size, at = (8, at) if kind == 1 else (4, at) if kind == 5 else _varint(body, at)
            if kind not in (1, 2, 5) or at + size > end:
                raise Malformed(f"a field of kind {kind} at {at}")
            value = body[at : at + size]
            at += size
        yield key >> 3, value


def _varint(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    try:
        while True:
            byte = body[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
    except IndexError:
        raise Malformed("a number without an end") from None
    if shift > 63:
        raise Malformed("a number of more than ten bytes")
    value &= _MASK
    return (value - _SIGN * 2 if value & _SIGN else value), at


class Fields:
    """A message's fields by number. The last of several counts, where one is asked for."""

    def __init__(self, body: bytes):
        self._found: dict[int, list[int | bytes]] = {}
        for key, value in fields(body):
            self._found.setdefault(key, []).append(value)

    def has(self, field: int) -> bool:
        """Whether it is there."""
        return field in self._found

    def number(self, field: int) -> int:
        """0 where there is none."""
        value = self._found.get(field, (0,))[-1]
        return value if isinstance(value, int) else 0

    def data(self, field: int) -> bytes:
        """Empty where there is none."""
        value = self._found.get(field, (b"",))[-1]
        return value if isinstance(value, bytes) else b""

    def text(self, field: int) -> str:
        """What is no UTF-8 is replaced."""
        return self.data(field).decode(errors="replace")

    def all(self, field: int) -> list[bytes]:
        """Every one of a repeated field of bytes, strings or messages."""
        return [value for value in self._found.get(field, ()) if isinstance(value, bytes)]

    def messages(self, field: int) -> "list[Fields]":
        """Every one of a repeated field of messages."""
        return [Fields(each) for each in self.all(field)]

    def message(self, field: int) -> "Fields":
        """An empty one where there is none."""
        return Fields(self.data(field))

    def pairs(self, field: int) -> dict[str, str]:
        """A map of strings."""
        return {each.text(1): each.text(2) for each in self.messages(field)}
