"""The calling half of gRPC, over a socket that is connected."""

import asyncio
import socket
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Generic, TypeVar

from knarr.grpc import calls
from knarr.grpc.calls import Message
from knarr.grpc.hpack import Header
from knarr.grpc.status import Lost, RpcError, Status
from knarr.grpc.transport import Channel, Link, linked

T = TypeVar("T", bound=Message)


class Caller:
    """Calls over one connection. `ended` is set when the other side has gone."""

    def __init__(self, link: Link):
        self._link = link
        self.ended = link.ended

    @classmethod
    async def over(cls, sock: socket.socket, tail: bytes = b"") -> "Caller":
        """The socket is the caller's from now on; `tail` was read from it already."""
        return cls(await linked(sock, tail, client=True))

    async def unary(
        self,
        path: str,
        request: Any,
        reply: type[T],
        *,
        metadata: Iterable[Header] = (),
        timeout: float | None = None,
    ) -> T:
        """The one reply, of type `reply`. Raises RpcError, Lost."""
        try:
            async with asyncio.timeout(timeout), self.stream(path, reply, metadata, timeout) as stream:
                await stream.send(request, end=True)
                found = await stream.receive()
                if found is None:
                    raise RpcError(Status.INTERNAL, "no reply")
        except TimeoutError:
            raise RpcError(Status.DEADLINE_EXCEEDED, "the deadline has passed") from None
        return found

    def stream(
        self, path: str, reply: type[T], metadata: Iterable[Header] = (), timeout: float | None = None
    ) -> "Call[T]":
        """A call as a context: see Call."""
        return Call(self._link, calls.request(path, metadata, timeout), reply)

    def close(self) -> None:
        """Ends the connection, and what is under way on it."""
        self._link.close()


class Call(Generic[T]):
    """One call: `async with caller.stream(…) as stream`. Left by an exception, or before our half has ended, it is cancelled;
    else its end is waited for, and an end that is not well is raised."""

    def __init__(self, link: Link, headers: list[Header], reply: type[T]):
        self._link = link
        self._headers = headers
        self._reply = reply
        self._stream: ClientStream[T] | None = None

    async def __aenter__(self) -> "ClientStream[T]":
        await self._link.room()
        stream = self._link.connection.open(self._headers)
        self._link.soon()
        self._stream = ClientStream(self._link, stream, self._reply.FromString)
        return self._stream

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        stream = self._stream
        assert stream is not None
        try:
            if kind is None:
                await stream.close()
        finally:
            stream.cancel()


class ClientStream(Channel[T]):
    """See Channel; what the server's last words mean is raised when everything before them was received, or by the next `send`."""

    async def end(self) -> None:
        """Nothing more will be sent."""
        if not self._stream.finished:
            await self._push(b"", True)

    async def close(self) -> None:
        """Waits for the end, if one of the halves has ended. Raises RpcError, Lost."""
        if self._stream.finished or self._stream.ended:
            while await self.receive_many():
                pass

    def _begin(self) -> None:
        if self._stream.ended:
            self._at_end()
            raise Lost("the call has ended")
        super()._begin()

    def _at_end(self) -> None:
        super()._at_end()
        error = calls.outcome(self._stream)
        if error is not None:
            raise error
