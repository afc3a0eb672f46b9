"""The connection on asyncio: one parse for all that was read, one write for all that was said meanwhile.

Who sends waits when the windows or the socket are full; who receives gives the windows back. Messages of several tasks on one
stream do not mix.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from knarr.grpc.calls import pack
from knarr.grpc.connection import Connection
from knarr.grpc.frames import CANCEL
from knarr.grpc.status import Lost, RpcError, Status
from knarr.grpc.streams import PREFIX, Stream

T = TypeVar("T")
_AT_ONCE = 64 << 10
_MANY = 256


class Link(asyncio.Protocol):
    """A connection and its socket. `ended` is set when it is lost."""

    def __init__(self, *, client: bool, tail: bytes, opened: "Callable[[Link, Stream], None] | None"):
        self.connection = Connection(client=client, clock=time.monotonic)
        self.ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._tail = tail
        self._opened = opened
        self._transport: asyncio.Transport | None = None
        self._flushing = self._broken = False
        self._paused: asyncio.Future[None] | None = None
        self._waiting: set[asyncio.Future[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.data_received(self._tail)
        self._tail = b""

    def data_received(self, data: bytes) -> None:
        connection = self.connection
        if self._broken:
            return
        changed = connection.feed(data)
        if self._opened is not None:
            for stream in connection.opened:
                self._opened(self, stream)
        connection.opened.clear()
        self._tell(changed)
        if connection.pending:
            self.flush()
        if connection.fault is not None:
            self._broken = True
            if self._transport is not None:
                self._transport.close()

    def _tell(self, changed: Iterable[Stream]) -> None:
        for stream in changed:
            if stream.owner is not None:
                stream.owner.wake()
        if self._waiting and (not self.connection.full or self.ended.is_set()):
            _wake(self._waiting)

    def pause_writing(self) -> None:
        self._paused = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._paused is not None and not self._paused.done():
            self._paused.set_result(None)
        self._paused = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.ended.set()
        self.resume_writing()
        self._tell(self.connection.lost())

    def flush(self) -> None:
        """Writes what was said."""
        self._flushing = False
        data = self.connection.take()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
        if self._paused is None:
            self.connection.answers = 0

    def soon(self) -> None:
        """Something was said: it is written when the loop comes round, with what is said until then."""
        if self.connection.pending >= _AT_ONCE:
            self.flush()
        elif not self._flushing:
            self._flushing = True
            self._loop.call_soon(self.flush)

    async def drained(self) -> None:
        """Waits while the socket is full."""
        if self._paused is not None:
            await asyncio.shield(self._paused)

    @property
    def paused(self) -> bool:
        """Whether the socket is full."""
        return self._paused is not None

    async def room(self) -> None:
        """Waits until the peer takes one more stream. Raises Lost."""
        while self.connection.full and not self.ended.is_set():
            future = self._loop.create_future()
            self._waiting.add(future)
            try:
                await future
            finally:
                self._waiting.discard(future)
        if self.ended.is_set():
            raise Lost("the connection has ended")

    def close(self) -> None:
        """Ends the connection. What was said is still written, unless the peer does not read."""
        if self._transport is None:
            return
        self.connection.leave()
        self.flush()
        if self._transport.get_write_buffer_size():
            self._transport.abort()
        else:
            self._transport.close()


async def linked(
    sock: socket.socket,
    tail: bytes,
    *,
    client: bool,
    opened: Callable[[Link, Stream], None] | None = None,
) -> Link:
    """A link over a socket that is connected, which it owns then; `tail` was read from it already. `opened` hears of each stream
    that the peer begins."""
    link = Link(client=client, tail=tail, opened=opened)
    await asyncio.get_running_loop().connect_accepted_socket(lambda: link, sock)
    return link


class Channel(Generic[T]):
    """One call's stream of messages. `decode` makes a message of its bytes."""

    def __init__(self, link: Link, stream: Stream, decode: Callable[[bytes], T]):
        self._link = link
        self._stream = stream
        self._decode = decode
        self._futures: set[asyncio.Future[None]] = set()
        self._sending = False
        stream.owner = self

    @property
    def waiting(self) -> int:
        """The bytes that have come and were not received yet."""
        return self._stream.held

    def wake(self) -> None:
        """The stream has news."""
        if self._futures:
            _wake(self._futures)

    async def _news(self) -> None:
        future = asyncio.get_running_loop().create_future()
        self._futures.add(future)
        try:
            await future
        finally:
            self._futures.discard(future)

    async def receive(self) -> T | None:
        """The next message; None at the end. Raises RpcError, Lost."""
        stream = self._stream
        while not stream.inbox:
            if stream.ended or stream.failure is not None:
                self._at_end()
                return None
            await self._news()
        data = stream.inbox.popleft()
        self._taken(len(data) + PREFIX)
        return self._decode(data)

    async def receive_many(self) -> list[T]:
        """Every message that is here, at least one; none at the end. Raises RpcError, Lost."""
        stream = self._stream
        while not stream.inbox:
            if stream.ended or stream.failure is not None:
                self._at_end()
                return []
            await self._news()
        found = list(stream.inbox)
        stream.inbox.clear()
        self._taken(sum(map(len, found)) + PREFIX * len(found))
        return list(map(self._decode, found))

    def _taken(self, size: int) -> None:
        connection = self._link.connection
        connection.consumed(self._stream, size)
        if connection.pending:
            self._link.soon()

    def _at_end(self) -> None:
        """Raises what the end means, if it is no good end."""
        if self._stream.failure is not None:
            raise self._stream.failure

    async def send(self, message: Any, *, end: bool = False) -> None:
        """One message; `end`: it is the last. Raises RpcError, Lost."""
        await self._push(pack((message,)), end)

    async def send_many(self, messages: Sequence[Any]) -> None:
        """Messages in one write. Raises RpcError, Lost."""
        for start in range(0, len(messages), _MANY):
            await self._push(pack(messages[start : start + _MANY]), False)

    async def _push(self, data: bytes, end: bool) -> None:
        while self._sending:
            await self._news()
        stream, link = self._stream, self._link
        self._begin()
        sent = link.connection.send_data(stream, data, end=end)
        link.soon()
        if sent == len(data) and not link.paused:
            return
        self._sending = True
        try:
            while sent < len(data):
                await self._news()
                self._begin()
                sent += link.connection.send_data(stream, memoryview(data)[sent:], end=end)
                link.soon()
            await link.drained()
        except BaseException:
            if 0 < sent < len(data):
                self.cancel()
            raise
        finally:
            self._sending = False
            self.wake()

    def _begin(self) -> None:
        """Raises what stands against sending."""
        if self._stream.failure is not None:
            raise self._stream.failure
        if self._stream.finished:
            self._at_end()
            raise Lost("the stream has ended")

    def cancel(self, code: int = CANCEL) -> None:
        """Gives the call up, if it has not ended."""
        connection, stream = self._link.connection, self._stream
        if not stream.closed:
            stream.failure = RpcError(Status.CANCELLED, "the call was given up")
            connection.reset(stream, code)
            self.wake()
        connection.forget(stream)
        if connection.pending:
            self._link.soon()


def _wake(futures: Iterable["asyncio.Future[None]"]) -> None:
    for each in futures:
        if not each.done():
            each.set_result(None)
