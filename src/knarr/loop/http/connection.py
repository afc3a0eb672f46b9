"""One HTTP/1.1 connection: requests in turn, bodies with back-pressure, take-over.

A client that closes, or half-closes, while its request is being answered cancels the handler, as Go's server does. A
handler that fails is the application's to answer: what reaches this file is logged and ends the connection.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import cast

from knarr.loop.http.messages import ClientGone, Request, Response
from knarr.loop.http.parser import BadRequest, Chunks, Head, find_head, parse_head
from knarr.loop.http.tls import Face

log = logging.getLogger(__name__)

Handler = Callable[[Request], Awaitable[Response | None]]
HIGH_WATER = 256 << 10
LINGER = 5.0


class Connection(asyncio.Protocol):
    """The server's end of a connection; `known` is the server's set of living ones."""

    def __init__(self, handler: Handler, known: "set[Connection]"):
        self._handler = handler
        self._known = known
        self.buffer = bytearray()
        self._transport: asyncio.Transport
        self._task: asyncio.Task[None] | None = None
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self.eof = False
        self.lost = False
        self.answering = False
        self.streaming = False
        self.reading_body = False
        self._takeable = False
        self._hijacked = False
        self.closing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER)
        self._known.add(self)
        self._task = asyncio.create_task(self._serve(), name="http connection")

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self._arrived.set()
        if len(self.buffer) > HIGH_WATER:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        self.eof = True
        self._arrived.set()
        if self.answering and not self.reading_body and not self._takeable and self._task:
            self._task.cancel()
        return True

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._known.discard(self)
        self.lost = True
        self._arrived.set()
        self._writable.set()
        if self._task and not self._hijacked:
            self._task.cancel()

    def finish(self) -> None:
        """Ends the connection after the request that is being answered; at once when there is none, or a stream."""
        self.closing = True
        if not self.answering or self.streaming:
            self.abort()

    def abort(self) -> None:
        """Ends it now."""
        if self._task:
            self._task.cancel()

    async def ended(self) -> None:
        """Waits until its task is over."""
        if self._task:
            await asyncio.wait([self._task])

    async def _serve(self) -> None:
        try:
            while not self.lost and not self.closing and await self._one():
                pass
        except BadRequest as error:
            await self._refuse(error)
        except (ConnectionError, asyncio.CancelledError):
            pass
        except Exception:
            log.exception("a connection failed")
        finally:
            self._known.discard(self)
            if not self._hijacked:
                self._transport.close()

    async def _one(self) -> bool:
        """Reads and answers one request; whether another may follow."""
        head = await self._read_head()
        if head is None:
            return False
        exchange = _Exchange(self, head)
        self.answering = True
        # A client that asked to change protocols may half-close right behind its request: that is its stream's end.
        self._takeable = bool(head.upgrade)
        try:
            response = await self._handler(Request(head, exchange))
            if response is None:
                if not self._hijacked:
                    raise RuntimeError("a handler gave no response")
                return False
            drained = await exchange.drain()
            alive = head.keep_alive and not self.closing and drained
            await self._send(head, response, alive)
        finally:
            self.answering = False
        if not drained:
            await self._linger()
        return alive

    async def _linger(self) -> None:
        """Lets a client that is still sending read its answer: to close now would cut it off in the middle of a write."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER):
                if self._transport.can_write_eof():
                    self._transport.write_eof()
                while not (self.eof or self.lost):
                    self.look()
                    self.buffer.clear()
                    await self.more()

    async def _read_head(self) -> Head | None:
        while True:
            self.look()
            end = find_head(self.buffer)
            if end >= 0:
                data = bytes(self.buffer[:end])
                self.consume(end)
                if data.strip(b"\r\n"):
                    return parse_head(data)
                continue
            if self.eof or self.lost:
                return None
            await self.more()

    def look(self) -> None:
        """What has arrived so far is about to be looked at."""
        self._arrived.clear()

    async def more(self) -> None:
        """Waits for bytes or the end that came since `look` was called."""
        if not self._transport.is_reading() and not self.eof:
            self._transport.resume_reading()
        await self._arrived.wait()

    def consume(self, count: int) -> None:
        del self.buffer[:count]
        if len(self.buffer) <= HIGH_WATER // 2 and not self.lost and not self._transport.is_reading():
            self._transport.resume_reading()

    async def write(self, data: bytes) -> None:
        """Sends `data`; waits while too much is on the way. Raises ClientGone."""
        if self.lost:
            raise ClientGone("the client closed the connection")
        self._transport.write(data)
        await self._writable.wait()

    async def _send(self, head: Head, response: Response, alive: bool) -> None:
        body = response.body
        headers = response.headers
        bodiless = response.status in (204, 304) or response.status < 200
        if isinstance(body, bytes):
            if not bodiless and "Content-Length" not in headers:
                headers["Content-Length"] = str(len(body))
            start = response.head(head.version, alive)
            await self.write(start if bodiless or head.method == "HEAD" else start + body)
            return
        chunked = "Content-Length" not in headers and head.version == (1, 1)
        if chunked:
            headers["Transfer-Encoding"] = "chunked"
        self.streaming = True
        try:
            await self.write(response.head(head.version, alive))
            if head.method != "HEAD":
                await self._stream(body, chunked)
        finally:
            self.streaming = False
            close = getattr(body, "aclose", None)
            if close:
                await close()
        if not chunked and head.version == (1, 0):
            self.closing = True

    async def _stream(self, body: AsyncIterator[bytes], chunked: bool) -> None:
        async for piece in body:
            if piece:
                await self.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            await self.write(b"0\r\n\r\n")

    async def _refuse(self, error: BadRequest) -> None:
        response = Response(400, str(error).encode() + b"\n", {"Content-Type": "text/plain; charset=utf-8"})
        response.headers["Content-Length"] = str(len(cast("bytes", response.body)))
        if not self.lost:
            self._transport.write(response.head((1, 1), False) + cast("bytes", response.body))

    async def hijack(self, head: bytes) -> tuple[socket.socket, bytes]:
        """See Request.hijack."""
        self._transport.set_write_buffer_limits(high=0)
        await self.write(head)
        self._transport.pause_reading()
        if self.lost:
            raise ClientGone("the client closed the connection")
        self._hijacked = True
        self._known.discard(self)
        if isinstance(self._transport, Face):
            return await self._transport.give_away(ended=self.eof), bytes(self.buffer)
        mine: socket.socket = self._transport.get_extra_info("socket")
        taken = socket.socket(fileno=socket.dup(mine.fileno()))
        taken.setblocking(False)
        self._transport.abort()
        return taken, bytes(self.buffer)


class _Exchange:
    """The body of one request, and the way to take its connection over."""

    def __init__(self, connection: Connection, head: Head):
        self._connection = connection
        self._left = head.content_length()
        self._chunks = Chunks() if self._left is None else None
        self._continue = head.expects_continue and self._left != 0
        self._done = self._left == 0

    async def body(self) -> AsyncIterator[bytes]:
        connection = self._connection
        if self._done:
            return
        if self._continue:
            self._continue = False
            await connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.reading_body = True
        try:
            while True:
                connection.look()
                for piece in self._take():
                    yield piece
                if self._finished():
                    break
                if connection.eof or connection.lost:
                    raise ClientGone("unexpected EOF: the client closed the connection inside a body")
                await connection.more()
        finally:
            connection.reading_body = False

    def _finished(self) -> bool:
        return self._done

    def _take(self) -> list[bytes]:
        """What has arrived of the body."""
        connection = self._connection
        data = bytes(connection.buffer if self._left is None else connection.buffer[: self._left])
        if not data:
            return []
        connection.consume(len(data))
        if self._chunks is not None:
            pieces = self._chunks.feed(data)
            if self._chunks.done:
                connection.buffer[:0] = self._chunks.rest
                self._done = True
            return pieces
        assert self._left is not None
        self._left -= len(data)
        self._done = self._left == 0
        return [data]

    async def drain(self, limit: int = 1 << 20) -> bool:
        """Reads what the handler left of the body; False if that is too much, so that the connection must end."""
        if self._done:
            return True
        if self._continue:
            return False
        seen = 0
        async for piece in self.body():
            seen += len(piece)
            if seen > limit:
                return False
        return True

    async def hijack(self, head: bytes) -> tuple[socket.socket, bytes]:
        await self.drain()
        return await self._connection.hijack(head)
