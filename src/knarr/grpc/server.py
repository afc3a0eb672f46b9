"""The answering half of gRPC, over a socket that is connected: each call is a task that ends with the call, or with the connection."""

import asyncio
import socket
from collections.abc import Callable, Iterable
from typing import Any

from knarr.grpc import calls
from knarr.grpc.calls import Metadata
from knarr.grpc.core import STREAMS
from knarr.grpc.frames import NO_ERROR, REFUSED_STREAM
from knarr.grpc.hpack import Header
from knarr.grpc.services import Method, Service
from knarr.grpc.status import Lost, RpcError, Status
from knarr.grpc.streams import Stream
from knarr.grpc.transport import Channel, Link, linked


async def serve(sock: socket.socket, tail: bytes, services: Iterable[Service]) -> None:
    """Answers calls on `sock`, which is closed at the end, until the client goes; its calls are cancelled then."""
    serving = _Serving({path: method for service in services for path, method in service.methods.items()})
    link = await linked(sock, tail, client=False, opened=serving.begin)
    try:
        await link.ended.wait()
    finally:
        link.close()
        await serving.end()


class _Serving:
    """One connection's calls."""

    def __init__(self, methods: dict[str, Method]):
        self._methods = methods
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, link: Link, stream: Stream) -> None:
        """A call has come."""
        headers = stream.headers or ()
        path = dict(headers)[":path"]
        method = self._methods.get(path)
        refused = calls.refusal(headers)
        if len(self._tasks) >= STREAMS:
            link.connection.reset(stream, REFUSED_STREAM)
        elif refused is not None:
            _close(link, stream, refused)
        elif method is None:
            error = RpcError(Status.UNIMPLEMENTED, f"unknown method {path}")
            _close(link, stream, calls.closing(error, link.connection.longest_list, first=True))
        else:
            call = ServerStream(link, stream, method.request.FromString)
            call.task = asyncio.create_task(_answer(call, method, path), name=path)
            self._tasks.add(call.task)
            call.task.add_done_callback(self._tasks.discard)

    async def end(self) -> None:
        """Cancels the calls that are being answered and waits for them."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class ServerStream(Channel[Any]):
    """See Channel. A handler that has begun is cancelled when its call is, or the connection ends."""

    def __init__(self, link: Link, stream: Stream, decode: Callable[[bytes], Any]):
        super().__init__(link, stream, decode)
        self.metadata = Metadata(stream.headers or ())
        self.task: asyncio.Task[None] | None = None
        self.late = False
        self._cut = False
        self._opened = False

    def deadline(self) -> float | None:
        """The seconds that the client gives. Raises RpcError."""
        return calls.deadline(self._stream.headers or ())

    def wake(self) -> None:
        if self._stream.closed and self._stream.failure is not None and not self._cut:
            self._cut = True
            if self.task is not None:
                self.task.cancel()
        super().wake()

    async def send_headers(self, metadata: Iterable[Header] = ()) -> None:
        """What an answer says before its first message. Only once."""
        self._opened = True
        self._link.connection.send_headers(self._stream, calls.opening(metadata))
        self._link.soon()

    async def _push(self, data: bytes, end: bool) -> None:
        if not self._opened:
            await self.send_headers()
        await super()._push(data, end)

    def expire(self) -> None:
        """The call's time is over."""
        self.late = True
        if self.task is not None:
            self.task.cancel()

    def finish(self, error: RpcError | None) -> None:
        """The last words."""
        longest = self._link.connection.longest_list
        _close(self._link, self._stream, calls.closing(error, longest, first=not self._opened))


def _close(link: Link, stream: Stream, headers: list[Header]) -> None:
    """A client that still sends is told that nobody reads it (RFC 9113, 8.1)."""
    link.connection.send_headers(stream, headers, end=True)
    link.connection.reset(stream, NO_ERROR)
    link.connection.forget(stream)
    link.soon()


async def _answer(call: ServerStream, method: Method, path: str) -> None:
    error: RpcError | None = None
    timer: asyncio.TimerHandle | None = None
    try:
        seconds = call.deadline()
        if seconds is not None:
            timer = asyncio.get_running_loop().call_later(seconds, call.expire)
        await method.handler(call)
    except RpcError as told:
        error = told
    except Lost:
        call.cancel()
        return
    except asyncio.CancelledError:
        if not call.late:
            call.cancel()
            return
        error = RpcError(Status.DEADLINE_EXCEEDED, "the deadline has passed")
    except Exception as bug:
        _report(path, bug)
        error = RpcError(Status.UNKNOWN, "internal error")
    finally:
        if timer is not None:
            timer.cancel()
    call.finish(error)


def _report(path: str, bug: Exception) -> None:
    """To the log, by the loop's own way: it is a mistake of ours."""
    asyncio.get_running_loop().call_exception_handler({"message": f"{path} failed", "exception": bug})
