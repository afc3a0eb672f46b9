"""Streams of JSON values, one after the other, with or without line ends between them."""

import json
from typing import Any

from knarr.model.errors import Invalid

_scan = json.JSONDecoder().raw_decode


def encode(value: Any) -> bytes:
    """One value and docker's line end."""
    return json.dumps(value, separators=(",", ":")).encode() + b"\r\n"


class Decoder:
    """Bytes in any pieces to values; a value ends where its line does."""

    def __init__(self, max_value: int = 16 << 20):
        self._max = max_value
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Any]:
        """The values of the lines that are now complete. Raises Invalid for what is no JSON."""
        self._buffer += data
        head, newline, rest = self._buffer.rpartition(b"\n")
        if not newline:
            if len(self._buffer) > self._max:
                raise Invalid(f"a JSON line is longer than {self._max} bytes")
            return []
        self._buffer = bytearray(rest)
        return _values(head.decode(errors="replace"))

    def end(self) -> list[Any]:
        """The values of a last line without an end."""
        text = self._buffer.decode(errors="replace")
        self._buffer.clear()
        return _values(text)


def _values(text: str) -> list[Any]:
    values: list[Any] = []
    position = 0
    while True:
        while position < len(text) and text[position].isspace():
            position += 1
        if position == len(text):
            return values
        try:
            value, position = _scan(text, position)
        except (ValueError, RecursionError) as error:
            raise Invalid(f"invalid JSON in a stream: {error}") from None
        values.append(value)
