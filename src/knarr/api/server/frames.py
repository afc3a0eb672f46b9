"""One WebSocket connection without I/O, on the library websockets, for streams of bytes. Imported when the first client comes."""

import logging

from websockets.datastructures import Headers
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request as Handshake
from websockets.protocol import Protocol as Connection
from websockets.protocol import Side, State
from websockets.server import ServerProtocol

from knarr.loop.http.messages import Request
from knarr.model.errors import Invalid

_LIMIT = 16 << 20
_log = logging.getLogger(__name__)
_log.setLevel(logging.WARNING)
_MESSAGES = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)


class Frames:
    """The server's end, accepted: its answer waits in `pending`. Raises Invalid for a request that asks for something else."""

    def __init__(self, request: Request, *, text: bool) -> None:
        # The server has parsed the request; the library's own connection would wait for another one.
        answer = ServerProtocol(logger=_log).accept(Handshake(request.head.target, Headers(request.headers)))
        if answer.status_code != 101:
            raise Invalid((answer.body or b"").decode().partition("\n")[0])
        self._begin = answer.serialize()
        self._text = text
        self._protocol = Connection(Side.SERVER, max_size=_LIMIT, logger=_log)

    @property
    def open(self) -> bool:
        """Whether neither side has said that it is done."""
        return self._protocol.state is State.OPEN

    def feed(self, data: bytes) -> list[bytes]:
        """What the client says in these bytes of the connection; b"" is its end."""
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        frames = [each for each in self._protocol.events_received() if isinstance(each, Frame)]
        return [bytes(each.data) for each in frames if each.opcode in _MESSAGES and each.data]

    def message(self, data: bytes) -> None:
        """Something to tell the client."""
        if self.open:
            (self._protocol.send_text if self._text else self._protocol.send_binary)(data)

    def close(self) -> None:
        """Nothing more will be told."""
        if self.open:
            self._protocol.send_close(CloseCode.NORMAL_CLOSURE)

    def pending(self) -> bytes:
        """What is to be sent now."""
        begin, self._begin = self._begin, b""
        return begin + b"".join(self._protocol.data_to_send())
