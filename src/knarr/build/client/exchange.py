"""gRPC on a connection that exists already, without asyncio: knarr.grpc's core between a socket and coroutines that take turns.

One connection calls, or answers with services; what is said in one turn goes in one write. When the peer goes, everything that
waits for it raises Lost.
"""

import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from knarr.build.client.turns import READABLE, WRITABLE, Task, Turns
from knarr.grpc import calls
from knarr.grpc.calls import Metadata
from knarr.grpc.connection import Connection
from knarr.grpc.frames import CANCEL, NO_ERROR
from knarr.grpc.hpack import Header
from knarr.grpc.services import Method, Service
from knarr.grpc.status import Lost, RpcError, Status
from knarr.grpc.streams import PREFIX, Stream

T = TypeVar("T")
_PIECE = 256 << 10
_FULL = 256 << 10
_MANY = 256


class Link:
    """A connection and its socket, which it owns. `tail` was read from it already."""

    def __init__(
        self, turns: Turns, sock: socket.socket, tail: bytes, services: "Iterable[Service] | None" = None
    ):
        self.turns = turns
        self.connection = Connection(client=services is None, clock=time.monotonic)
        self.over = False
        self._methods: Mapping[str, Method] = {
            path: method for service in services or () for path, method in service.methods.items()
        }
        self._sock = sock
        self._left = memoryview(b"")
        self._waiting: set[Task] = set()
        sock.setblocking(False)
        turns.watch(sock.fileno(), READABLE, self._heard)
        turns.settle.append(self.flush)
        if tail:
            self._take(tail)

    def _heard(self, events: int) -> None:
        if events & WRITABLE:
            self._write()
        if events & ~WRITABLE and not self.over:
            try:
                data = self._sock.recv(_PIECE)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            self._take(data) if data else self._lose()

    def _take(self, data: bytes) -> None:
        changed = self.connection.feed(data)
        for stream in self.connection.opened:
            self._begin(stream)
        self.connection.opened.clear()
        _tell(changed)
        if self.connection.fault is not None:
            self.flush()
            self._lose()

    def _lose(self) -> None:
        if not self.over:
            self.over = True
            self.turns.unwatch(self._sock.fileno())
            self._sock.close()
            _tell(self.connection.lost())
            self._wake()

    def _begin(self, stream: Stream) -> None:
        headers = stream.headers or ()
        path = dict(headers)[":path"]
        method = self._methods.get(path)
        refused = calls.refusal(headers)
        if refused is None and method is not None:
            call = Answering(self, stream, method.request.FromString)
            call.tasks.add(self.turns.start(_answer(call, method)))
            return
        unknown = RpcError(Status.UNIMPLEMENTED, f"unknown method {path}")
        end_stream(self, stream, refused or calls.closing(unknown, self.connection.longest_list, first=True))

    def flush(self) -> None:
        """Writes what was said, as far as the socket takes it."""
        if self.connection.pending and not self._left and not self.over:
            self._left = memoryview(self.connection.take())
            self._write()

    def _write(self) -> None:
        try:
            while self._left:
                self._left = self._left[self._sock.send(self._left) :]
        except BlockingIOError:
            self.turns.watch(self._sock.fileno(), READABLE | WRITABLE, self._heard)
            return
        except OSError:
            self._lose()
            return
        self.connection.answers = 0
        self.turns.watch(self._sock.fileno(), READABLE, self._heard)
        self._wake()

    def _wake(self) -> None:
        for each in tuple(self._waiting):
            each.wake()

    async def drained(self) -> None:
        """Waits while too much is to be written."""
        while self.connection.pending + len(self._left) > _FULL and not self.over:
            self.flush()
            if self._left:
                await self.turns.park(self._waiting)

    def close(self) -> None:
        """Ends the connection; what the socket still takes is written."""
        if not self.over:
            self.connection.leave()
            self.flush()
            self._lose()


def _tell(changed: Iterable[Stream]) -> None:
    for stream in changed:
        if stream.owner is not None:
            stream.owner.wake()


class Exchange:
    """One call's stream of messages, on either half. `decode` makes a message of its bytes."""

    def __init__(self, link: Link, stream: Stream, decode: Callable[[bytes], Any]):
        self._link = link
        self._stream = stream
        self._decode = decode
        self.tasks: set[Task] = set()
        self._parked: set[Task] = set()
        stream.owner = self

    def wake(self) -> None:
        """The stream has news."""
        for each in tuple(self._parked):
            each.wake()

    @property
    def waiting(self) -> bool:
        """Whether there is something to receive, an end included."""
        return bool(self._stream.inbox or self._stream.ended or self._stream.failure)

    async def park(self, among: set[Task]) -> None:
        """Waits for somebody who finds this among those."""
        await self._link.turns.park(among)

    async def pause(self) -> None:
        """Lets come what was sent meanwhile."""
        await self._link.turns.pause()

    async def receive(self) -> Any:
        """The next message; None at the end. Raises RpcError, Lost."""
        stream = self._stream
        while not stream.inbox:
            if stream.ended or stream.failure is not None:
                self._at_end()
                return None
            await self._link.turns.park(self._parked)
        data = stream.inbox.popleft()
        self._link.connection.consumed(stream, len(data) + PREFIX)
        return self._decode(data)

    async def receive_many(self) -> list[Any]:
        """Every message that is here, at least one; none at the end. Raises RpcError, Lost."""
        found = [await self.receive()]
        while self._stream.inbox:
            found.append(await self.receive())
        return found if found[0] is not None else []

    async def either(self, *descriptors: int, heard: bool = True) -> list[int]:
        """Waits until a descriptor has something to read, or the stream something to receive (only its failure, if not `heard`):
        the descriptors that have."""
        turns, found = self._link.turns, dict[int, None]()

        def watch(descriptor: int) -> None:
            def heard(_: int) -> None:
                found[descriptor] = None
                self.wake()

            turns.watch(descriptor, READABLE, heard)

        for each in descriptors:
            watch(each)
        try:
            while not found and not (self.waiting if heard else self._stream.failure):
                await turns.park(self._parked)
        finally:
            for each in descriptors:
                turns.unwatch(each)
        return list(found)

    def _at_end(self) -> None:
        """Raises what the end means, if it is no good end."""
        if self._stream.failure is not None:
            raise self._stream.failure

    async def send(self, message: Any, *, end: bool = False) -> None:
        """One message; `end`: it is the last. Raises RpcError, Lost."""
        await self._push(calls.pack((message,)), end=end)

    async def send_many(self, messages: Sequence[Any]) -> None:
        """Messages in one write. Raises RpcError, Lost."""
        for start in range(0, len(messages), _MANY):
            await self._push(calls.pack(messages[start : start + _MANY]), end=False)

    async def send_headers(self, metadata: Iterable[Header] = ()) -> None:
        """What an answer says before its first message."""
        self._link.connection.send_headers(self._stream, calls.opening(metadata))

    async def _push(self, data: bytes, *, end: bool) -> None:
        left = memoryview(data)
        while True:
            if self._stream.failure is not None:
                raise self._stream.failure
            if self._stream.finished:
                self._at_end()
                raise Lost("the stream has ended")
            sent = self._link.connection.send_data(self._stream, left, end=end)
            left = left[sent:]
            if not left:
                await self._link.drained()
                return
            if sent:
                await self._link.drained()
            else:
                await self._link.turns.park(self._parked)

    def cancel(self) -> None:
        """Gives the call up, if it has not ended."""
        connection, stream = self._link.connection, self._stream
        if not stream.closed:
            stream.failure = RpcError(Status.CANCELLED, "the call was given up")
            connection.reset(stream, CANCEL)
        connection.forget(stream)


class Answering(Exchange):
    """A call as its handler sees it; see knarr.grpc.services.Call."""

    def __init__(self, link: Link, stream: Stream, decode: Callable[[bytes], Any]):
        super().__init__(link, stream, decode)
        self.metadata = Metadata(stream.headers or ())
        self._opened = False

    async def send_headers(self, metadata: Iterable[Header] = ()) -> None:
        self._opened = True
        await super().send_headers(metadata)

    async def _push(self, data: bytes, *, end: bool) -> None:
        if not self._opened:
            await self.send_headers()
        await super()._push(data, end=end)

    def finish(self, error: RpcError | None) -> None:
        """The last words."""
        longest = self._link.connection.longest_list
        end_stream(self._link, self._stream, calls.closing(error, longest, first=not self._opened))


def end_stream(link: Link, stream: Stream, headers: list[Header]) -> None:
    """A client that still sends is told that nobody reads it (RFC 9113, 8.1)."""
    link.connection.send_headers(stream, headers, end=True)
    link.connection.reset(stream, NO_ERROR)
    link.connection.forget(stream)


async def _answer(call: Answering, method: Method) -> None:
    error: RpcError | None = None
    try:
        await method.handler(call)
    except RpcError as told:
        error = told
    except Lost:
        return
    except Exception as bug:
        error = RpcError(Status.UNKNOWN, f"{type(bug).__name__}: {bug}")
    call.finish(error)


class Caller:
    """The calling half."""

    def __init__(self, link: Link):
        self._link = link

    def stream(self, path: str, decode: Callable[[bytes], Any], metadata: Iterable[Header] = ()) -> "Calling":
        """A call; what comes back is made of its bytes by `decode`. Raises Lost."""
        stream = self._link.connection.open(calls.request(path, metadata))
        return Calling(self._link, stream, decode)

    async def unary(
        self, path: str, request: Any, decode: Callable[[bytes], T], metadata: Iterable[Header] = ()
    ) -> T:
        """The one reply. Raises RpcError, Lost."""
        stream = self.stream(path, decode, metadata)
        await stream.send(request, end=True)
        found: T | None = await stream.receive()
        while await stream.receive() is not None:
            pass
        if found is None:
            raise RpcError(Status.INTERNAL, "no reply")
        return found


class Calling(Exchange):
    """A call as its caller sees it."""

    def _at_end(self) -> None:
        super()._at_end()
        error = calls.outcome(self._stream)
        if error is not None:
            raise error
