"""HTTP/2's frames (RFC 9113, section 4 and 6): bytes to tuples and back, many at once. Pure; knows no stream and no state."""

from collections.abc import Iterator, Mapping
from struct import Struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 5, 6, 7, 8, 9

END_STREAM = ACK = 0x1
END_HEADERS, PADDED, PRIORITISED = 0x4, 0x8, 0x20

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT = 0, 1, 2, 3, 4
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR = 5, 6, 7, 8, 9
CONNECT_ERROR, ENHANCE_YOUR_CALM, INADEQUATE_SECURITY, HTTP_1_1_REQUIRED = 10, 11, 12, 13
_CODES = (
    "NO_ERROR PROTOCOL_ERROR INTERNAL_ERROR FLOW_CONTROL_ERROR SETTINGS_TIMEOUT STREAM_CLOSED FRAME_SIZE_ERROR "
    "REFUSED_STREAM CANCEL COMPRESSION_ERROR CONNECT_ERROR ENHANCE_YOUR_CALM INADEQUATE_SECURITY HTTP_1_1_REQUIRED"
)
CODES = _CODES.split()

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS = 1, 2, 3
INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 4, 5, 6

FRAME_SIZE = 1 << 14
"""What every peer takes (RFC 9113, 4.2)."""
LARGEST = (1 << 31) - 1
"""The largest window, and the largest number of a stream."""

Frame = tuple[int, int, int, bytes]
"""Type, flags, stream, payload."""

_HEADER = Struct(">BHBBI")
_SETTING = Struct(">HI")
_WORD = Struct(">I")
_TWO = Struct(">II")


class Fault(Exception):
    """What a peer did that ends the connection, or only `stream` where that is not 0."""

    def __init__(self, code: int, text: str, stream: int = 0):
        super().__init__(text)
        self.code = code
        self.stream = stream


def name_of(code: int) -> str:
    """An error code's name."""
    return CODES[code] if code < len(CODES) else f"error {code}"


class Decoder:
    """Bytes in any pieces to frames. At most one frame waits here for its rest."""

    def __init__(self, largest: int = FRAME_SIZE):
        self._largest = largest
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """All frames that are whole now, to be taken to the last. Raises Fault for one that is too large."""
        if self._rest:
            data = self._rest + data
        at, end = 0, len(data)
        unpack = _HEADER.unpack_from
        while end - at >= 9:
            high, low, kind, flags, stream = unpack(data, at)
            size = high << 16 | low
            if size > self._largest:
                raise Fault(FRAME_SIZE_ERROR, f"a frame of {size} bytes")
            stop = at + 9 + size
            if stop > end:
                break
            payload = data[at + 9 : stop]
            at = stop
            yield kind, flags, stream & LARGEST, payload
        self._rest = data[at:]


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Any frame."""
    return head(len(payload), kind, flags, stream) + payload


def head(size: int, kind: int, flags: int, stream: int) -> bytes:
    """The nine bytes in front of a payload."""
    return _HEADER.pack(size >> 16, size & 0xFFFF, kind, flags, stream)


def header_block(stream: int, block: bytes, largest: int, *, end: bool) -> Iterator[bytes]:
    """HEADERS, and CONTINUATION for what does not go into one frame."""
    kind, flags = HEADERS, END_STREAM if end else 0
    for start in range(0, len(block), largest):
        piece = block[start : start + largest]
        if start + largest >= len(block):
            flags |= END_HEADERS
        yield frame(kind, flags, stream, piece)
        kind, flags = CONTINUATION, 0


def settings(values: Mapping[int, int]) -> bytes:
    """What we ask for."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*each) for each in values.items()))


def window_update(stream: int, size: int) -> bytes:
    """So much more may come; stream 0 is the connection."""
    return frame(WINDOW_UPDATE, 0, stream, _WORD.pack(size))


def rst_stream(stream: int, code: int) -> bytes:
    """A stream is over."""
    return frame(RST_STREAM, 0, stream, _WORD.pack(code))


def goaway(last: int, code: int, text: str = "") -> bytes:
    """The connection is; streams above `last` were not looked at."""
    return frame(GOAWAY, 0, 0, _TWO.pack(last, code) + text.encode())


def read_settings(payload: bytes) -> Iterator[tuple[int, int]]:
    """Raises Fault."""
    if len(payload) % 6:
        raise Fault(FRAME_SIZE_ERROR, "SETTINGS of an odd size")
    for number, value in _SETTING.iter_unpack(payload):
        if number == INITIAL_WINDOW_SIZE and value > LARGEST:
            raise Fault(FLOW_CONTROL_ERROR, f"an initial window of {value}")
        if (number == ENABLE_PUSH and value > 1) or (
            number == MAX_FRAME_SIZE and not FRAME_SIZE <= value < 1 << 24
        ):
            raise Fault(PROTOCOL_ERROR, f"setting {number} of {value}")
        yield number, value


def read_word(payload: bytes, kind: str) -> int:
    """The one number of a WINDOW_UPDATE (whose first bit means nothing) or RST_STREAM. Raises Fault."""
    if len(payload) != 4:
        raise Fault(FRAME_SIZE_ERROR, f"{kind} of {len(payload)} bytes")
    (value,) = _WORD.unpack(payload)
    return int(value)


def read_goaway(payload: bytes) -> tuple[int, int]:
    """The last stream that the peer looked at, and why. Raises Fault."""
    if len(payload) < 8:
        raise Fault(FRAME_SIZE_ERROR, "a short GOAWAY")
    last, code = _TWO.unpack_from(payload)
    return last & LARGEST, code


def unpadded(flags: int, payload: bytes) -> bytes:
    """DATA or HEADERS without padding and priority. Raises Fault."""
    start, stop = 0, len(payload)
    if flags & PADDED:
        if not payload:
            raise Fault(FRAME_SIZE_ERROR, "padding without its length")
        start, stop = 1, stop - payload[0]
    if flags & PRIORITISED:
        start += 5
    if start > stop:
        raise Fault(PROTOCOL_ERROR, "more padding than payload")
    return payload[start:stop]
