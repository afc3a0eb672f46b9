"""knarr.v1.Console/Enter: a failed step shown to the client's terminal, where its session lends one. Not BuildKit's.

daemon → client  bytes for the terminal; the stream's end is the end
client → daemon  messages: "d" and what was typed, or "w COLUMNS ROWS" when the window has that size
"""

import contextlib
from collections.abc import AsyncIterator
from urllib.parse import quote

from knarr.build.port import Typed
from knarr.build.proto.session_pb2 import BytesMessage
from knarr.grpc.client import Caller, ClientStream
from knarr.grpc.status import Lost, RpcError

SERVICE = "knarr.v1.Console"
ENTER = f"/{SERVICE}/Enter"


class ClientConsole:
    """See build.port.Console."""

    def __init__(self, stream: ClientStream[BytesMessage]):
        self._stream = stream

    async def write(self, data: bytes) -> None:
        with contextlib.suppress(RpcError, Lost):
            await self._stream.send(BytesMessage(data=data))

    async def typed(self) -> AsyncIterator[Typed]:
        with contextlib.suppress(RpcError, Lost):
            while (message := await self._stream.receive()) is not None:
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
    with contextlib.suppress(RpcError, Lost):
        async with caller.stream(ENTER, BytesMessage, [("title", quote(title))]) as stream:
            yield ClientConsole(stream)
            await stream.end()
            while await stream.receive() is not None:
                pass
