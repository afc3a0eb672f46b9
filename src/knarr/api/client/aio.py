"""HTTP/1.1 to a daemon on an event loop: requests, answers that stream, connections that are taken over.

Refusals are raised as the kinds of model/errors.py. A connection whose answer was read to its end serves the next request.
Where connections come from is the caller's (`dial`): that is all that tells a daemon from an engine in this process.
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from typing import Any

from knarr.api.client.dial import Dial
from knarr.api.client.http import encode, quote
from knarr.api.client.refusals import message, refusal
from knarr.api.spec.versions import LATEST, Version
from knarr.model.errors import Unavailable

_PIECE = 64 << 10
_IDLE = 8
_GONE = "the daemon closed the connection"


class Reader(asyncio.StreamReader):
    """With `lenient` a connection that breaks ends: what came before is still there to be read."""

    lenient = False

    def set_exception(self, exc: Exception) -> None:
        """Of the connection."""
        if self.lenient:
            self.feed_eof()
        else:
            super().set_exception(exc)


class Channel:
    """One connection: its socket, its streams, and the task that still sends a body."""

    def __init__(self, sock: socket.socket, reader: Reader, writer: asyncio.StreamWriter):
        self.sock, self.reader, self.writer = sock, reader, writer
        self.sender: asyncio.Future[None] | None = None

    @classmethod
    async def open(cls, dial: Dial) -> "Channel":
        """Raises Unavailable."""
        sock = await dial()
        loop = asyncio.get_running_loop()
        reader = Reader(limit=1 << 20, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.create_connection(lambda: protocol, sock=sock)
        return cls(sock, reader, asyncio.StreamWriter(transport, protocol, reader, loop))

    def take_over(self) -> socket.socket:
        """The way to write from now on, the caller's to close: asyncio drops what it has not read yet when a write fails."""
        self.reader.lenient = True
        return self.sock.dup()

    async def close(self) -> None:
        """May be called again."""
        if self.sender is not None:
            self.sender.cancel()
            await asyncio.gather(self.sender, return_exceptions=True)
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


class Answer:
    """A response whose body has not been read yet; use it with `async with`."""

    def __init__(self, channel: Channel, pool: "Http", status: int, headers: Mapping[str, str], empty: bool):
        self._channel, self._pool = channel, pool
        self.status, self.headers = status, headers
        length = headers.get("content-length")
        self._chunked = not empty and headers.get("transfer-encoding", "").lower() == "chunked"
        self._left = 0 if empty else int(length) if length else None
        self._kept = headers.get("connection", "").lower() != "close"
        self._ended = not self._chunked and self._left == 0
        self._released = False

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises Unavailable where it is cut."""
        reader = self._channel.reader
        while not self._ended:
            try:
                piece = await (self._chunk(reader) if self._chunked else self._plain(reader))
            except (OSError, asyncio.IncompleteReadError, ValueError):
                raise Unavailable(f"{_GONE} in the middle of its answer") from None
            if piece:
                yield piece

    async def _plain(self, reader: asyncio.StreamReader) -> bytes:
        piece = await reader.read(_PIECE if self._left is None else min(_PIECE, self._left))
        if self._left is None:
            self._ended, self._kept = not piece, False
            return piece
        if not piece:
            raise ConnectionResetError(_GONE)
        self._left -= len(piece)
        self._ended = self._left == 0
        return piece

    async def _chunk(self, reader: asyncio.StreamReader) -> bytes:
        line = await reader.readuntil(b"\n")
        size = int(line.partition(b";")[0], 16)
        piece = await reader.readexactly(size)
        await reader.readuntil(b"\n")
        self._ended = size == 0
        return piece

    async def read(self) -> bytes:
        """The whole body; the connection may serve the next request then."""
        data = b"".join([piece async for piece in self.pieces()])
        await self.close()
        return data

    async def json(self) -> Any:
        """The whole body as a JSON value; None for an empty one."""
        data = await self.read()
        return json.loads(data) if data.strip() else None

    async def lines(self) -> AsyncIterator[Any]:
        """A stream of JSON values, one a line."""
        buffer = b""
        async for piece in self.pieces():
            *whole, buffer = (buffer + piece).split(b"\n")
            for line in whole:
                if line.strip():
                    yield json.loads(line)
        if buffer.strip():
            yield json.loads(buffer)

    async def close(self) -> None:
        """May be called again."""
        if self._released:
            return
        self._released = True
        sender = self._channel.sender
        if self._ended and self._kept and (sender is None or (sender.done() and not sender.exception())):
            self._channel.sender = None
            self._pool.keep(self._channel)
        else:
            await self._channel.close()

    async def __aenter__(self) -> "Answer":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class Http:
    """The daemon that `dial` leads to. `version` is what is spoken: the newest that both know, once `negotiate` was called."""

    def __init__(self, dial: Dial, version: str = ""):
        self._dial = dial
        self._idle: list[Channel] = []
        self._closed = False
        self.version = version

    async def negotiate(self) -> None:
        """Asks for the daemon's version, unless one was given. Raises Unavailable."""
        if not self.version:
            async with await self.request("GET", "/_ping", bare=True) as answer:
                await answer.read()
            theirs = Version.parse(answer.headers.get("api-version") or str(LATEST))
            self.version = str(min(LATEST, theirs))

    async def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        stream: AsyncIterable[bytes] | None = None,
        starting: bool = False,
        bare: bool = False,
    ) -> Answer:
        """Sends a request; `body` goes as JSON, `stream` as chunks. Raises what the daemon says, or Unavailable."""
        head, data = self._head(method, path, query, body, dict(headers or {}), stream is not None, bare)
        channel, status, found = await self._exchange(head, data, stream, again=method in ("GET", "HEAD"))
        answer = Answer(channel, self, status, found, method == "HEAD" or status in (204, 304))
        if status >= 400 or status == 304:
            async with answer:
                raise refusal(status, message(await answer.read(), status), starting=starting)
        return answer

    async def ask(
        self, method: str, path: str, query: Mapping[str, Any] | None = None, body: Any = None
    ) -> Any:
        """The answer's JSON value; None for an empty one."""
        async with await self.request(method, path, query, body) as answer:
            return await answer.json()

    async def hijack(
        self, path: str, query: Mapping[str, Any] | None = None, body: Any = None
    ) -> tuple[Channel, bool]:
        """Takes the connection over; whether output comes in frames. Raises what the daemon says, or Unavailable."""
        upgrade = {"Connection": "Upgrade", "Upgrade": "tcp"}
        head, data = self._head("POST", path, query, body, upgrade, False, False)
        channel, status, found = await self._exchange(head, data, None, again=False)
        if status >= 400:
            async with Answer(channel, self, status, found, False) as answer:
                raise refusal(status, message(await answer.read(), status))
        return channel, found.get("content-type", "") != "application/vnd.docker.raw-stream"

    async def _exchange(
        self, head: bytes, data: bytes, stream: AsyncIterable[bytes] | None, *, again: bool
    ) -> tuple[Channel, int, Mapping[str, str]]:
        while True:
            used = self._take()
            channel = used or await Channel.open(self._dial)
            try:
                return channel, *await self._speak(channel, head, data, stream)
            except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
                await channel.close()
                # Only a connection that was idle may have ended without the daemon having seen the request.
                if used is None or not again:
                    raise Unavailable(f"{_GONE} ({error})" if str(error) else _GONE) from None
            except BaseException:
                await channel.close()
                raise

    async def _speak(
        self, channel: Channel, head: bytes, data: bytes, stream: AsyncIterable[bytes] | None
    ) -> tuple[int, Mapping[str, str]]:
        channel.writer.write(head + data)
        reading = asyncio.ensure_future(_read_head(channel.reader))
        try:
            if stream is not None:
                channel.sender = sender = asyncio.ensure_future(_send(channel.writer, stream))
                waited: set[asyncio.Future[Any]] = {sender, reading}
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                # The daemon may have refused while the body was on its way: then its answer says why.
                if sender.done() and not isinstance(sender.exception(), ConnectionError):
                    sender.result()
            return await reading
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    def _head(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: Any,
        headers: dict[str, str],
        streamed: bool,
        bare: bool,
    ) -> tuple[bytes, bytes]:
        data = b""
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        if streamed:
            headers["Transfer-Encoding"] = "chunked"
            headers.setdefault("Content-Type", "application/x-tar")
        elif method not in ("GET", "HEAD"):
            headers["Content-Length"] = str(len(data))
        prefix = "" if bare else f"/v{self.version or LATEST}"
        lines = [f"{method} {prefix}{quote(path)}{encode(query or {})} HTTP/1.1", "Host: knarr"]
        lines += ["User-Agent: knarr-library", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode(), data

    def _take(self) -> Channel | None:
        while self._idle:
            channel = self._idle.pop()
            if not channel.reader.at_eof() and not channel.writer.is_closing():
                return channel
            channel.writer.close()
        return None

    def keep(self, channel: Channel) -> None:
        """An idle connection, for the next request."""
        if self._closed or len(self._idle) >= _IDLE or channel.reader.at_eof():
            channel.writer.close()
        else:
            self._idle.append(channel)

    async def close(self) -> None:
        """Ends the idle connections; those in use end with their answers."""
        self._closed = True
        while self._idle:
            await self._idle.pop().close()


async def _send(writer: asyncio.StreamWriter, stream: AsyncIterable[bytes]) -> None:
    try:
        async for piece in stream:
            if piece:
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()
    except BaseException:
        writer.transport.abort()  # or the daemon would wait for the rest
        raise


async def _read_head(reader: asyncio.StreamReader) -> tuple[int, Mapping[str, str]]:
    while True:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        words = first.split(None, 2)
        if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdigit():
            raise ConnectionError("the daemon's answer is no HTTP")
        if words[1] != "100":
            break
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.lower()] = value.strip()
    return int(words[1]), headers
