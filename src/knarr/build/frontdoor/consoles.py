"""knarr.v1.Console/Enter: a failed step shown to the client's terminal, where its session lends one. Not BuildKit's.

daemon → client  bytes for the terminal; the stream's end is the end
client → daemon  messages: "d" and what was typed, or "w COLUMNS ROWS" when the window has that size
"""

import contextlib
from collections.abc import AsyncIterator
from urllib.parse import quote

from grpclib.client import Stream, StreamStreamMethod
from grpclib.exceptions import GRPCError, StreamTerminatedError

from knarr.build.frontdoor.transport import Caller
from knarr.build.port import Typed
from knarr.build.proto.session_pb2 import BytesMessage

SERVICE = "knarr.v1.Console"
ENTER = f"/{SERVICE}/Enter"


class ClientConsole:
    """See build.port.Console."""

    def __init__(self, stream: Stream[BytesMessage, BytesMessage]):
        self._stream = stream

    async def write(self, data: bytes) -> None:
        with contextlib.suppress(StreamTerminatedError, GRPCError):
            await self._stream.send_message(BytesMessage(data=data))

    async def typed(self) -> AsyncIterator[Typed]:
        with contextlib.suppress(StreamTerminatedError, GRPCError):
            while (message := await self._stream.recv_message()) is not None:
                found = decode(message.data)
                if found is not None:
                    yield found


def decode(message: bytes) -> Typed | None:
    """What a client did; None for what is not known."""
    if message[:1] == b"d":
        return Typed(data=message[1:])
    kind, *numbers = message.split()
    if kind == b"w" and len(numbers) == 2 and all(each.isdigit() for each in numbers):
        return Typed(window=(int(numbers[0]), int(numbers[1])))
    return None


@contextlib.asynccontextmanager
async def entered(caller: Caller, title: str) -> AsyncIterator[ClientConsole]:
    """The client's terminal, told what it is for."""
    method = StreamStreamMethod[BytesMessage, BytesMessage](caller, ENTER, BytesMessage, BytesMessage)
    with contextlib.suppress(StreamTerminatedError, GRPCError):
        async with method.open(metadata=[("title", quote(title))]) as stream:
            await stream.send_request()
            yield ClientConsole(stream)
            await stream.end()
            while await stream.recv_message() is not None:
                pass
