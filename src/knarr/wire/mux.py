"""Docker's multiplexed streams: 8 bytes of head, [stream, 0, 0, 0, length as big-endian 32 bits], then the payload.

Engine API, "Attach to a container", "Stream format". Stream 0 is stdin, 1 stdout, 2 stderr, 3 the daemon's own error.
"""

from typing import NamedTuple

from knarr.model.errors import Invalid

STDIN, STDOUT, STDERR, SYSTEM = range(4)
HEAD = 8


class Frame(NamedTuple):
    """One payload and the stream that it belongs to."""

    stream: int
    data: bytes


def head(stream: int, length: int) -> bytes:
    """The 8 bytes before a payload."""
    return bytes((stream, 0, 0, 0)) + length.to_bytes(4, "big")


def encode(stream: int, data: bytes) -> bytes:
    """A whole frame."""
    return head(stream, len(data)) + data


class Decoder:
    """Bytes in any pieces to frames."""

    def __init__(self, max_frame: int = 16 << 20):
        self._max = max_frame
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are now complete. Raises Invalid for an unknown stream or a frame above the limit."""
        buffer = self._buffer
        buffer += data
        frames = []
        start = 0
        while len(buffer) - start >= HEAD:
            stream = buffer[start]
            length = int.from_bytes(buffer[start + 4 : start + HEAD], "big")
            if stream > SYSTEM or buffer[start + 1 : start + 4] != b"\0\0\0":
                raise Invalid(f"unrecognized stream: {stream}")
            if length > self._max:
                raise Invalid(f"a frame of {length} bytes is above the limit of {self._max}")
            end = start + HEAD + length
            if len(buffer) < end:
                break
            frames.append(Frame(stream, bytes(buffer[start + HEAD : end])))
            start = end
        del buffer[:start]
        return frames

    @property
    def pending(self) -> int:
        """Bytes of a frame that is not complete."""
        return len(self._buffer)
