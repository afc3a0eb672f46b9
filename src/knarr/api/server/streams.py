"""Connections that become streams: the head that says so, and bodies that are logs or progress.

A client that asked for an upgrade gets 101, an older one 200; from 1.42 on the content type tells frames from raw bytes.
"""

import asyncio
import contextlib
import socket
import termios
from collections.abc import AsyncIterator, Callable
from fcntl import ioctl
from typing import Any, TypeVar
from urllib.parse import quote_plus

from knarr.api.server.call import Call
from knarr.api.server.errors import message
from knarr.api.server.replies import encode
from knarr.engine.values import LogLine
from knarr.loop.http.messages import Response
from knarr.model.image import Progress
from knarr.model.moments import rfc3339_fixed
from knarr.wire import mux

RAW = "application/vnd.docker.raw-stream"
FRAMED = "application/vnd.docker.multiplexed-stream"
_FLUSH = 32 << 10
# Clients that read the head through a buffer and the stream past it: what comes in one piece with the head is lost to them.
_LOSERS = ("docker-sdk-python/", "tc-python/")
_PATIENCE = 5.0
T = TypeVar("T")


def content_type(call: Call, framed: bool) -> str:
    """What the stream is said to be."""
    return FRAMED if framed and call.version >= (1, 42) else RAW


async def take_over(call: Call, framed: bool) -> tuple[socket.socket, bytes]:
    """Answers the head and gives the client's socket, and what it sent already."""
    if "upgrade" in call.request.headers:
        head = (
            f"HTTP/1.1 101 UPGRADED\r\nContent-Type: {content_type(call, framed)}\r\n"
            "Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        )
    else:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {RAW}\r\n\r\n"
    sock, tail = await call.request.hijack(head.encode())
    if call.request.headers.get("user-agent", "").startswith(_LOSERS):
        await _read(sock)
    return sock, tail


async def _read(sock: socket.socket) -> None:
    """Waits until the client has taken what was sent to it; on a unix socket the kernel knows (SIOCOUTQ, unix(7))."""
    if sock.family != socket.AF_UNIX:
        return
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(_PATIENCE):
            while ioctl(sock, termios.TIOCOUTQ, b"\0" * 4) != b"\0" * 4:  # noqa: ASYNC110  (the kernel tells nobody)
                await asyncio.sleep(0.001)


async def tell(sock: socket.socket, data: bytes) -> None:
    """A last word on a stream that nobody else writes to."""
    sock.setblocking(False)
    with contextlib.suppress(OSError):
        await asyncio.get_running_loop().sock_sendall(sock, data)


class Body:
    """The pieces of an answer, and what must be closed with it even if it is never begun."""

    def __init__(self, pieces: AsyncIterator[bytes], *sources: AsyncIterator[Any]):
        self._pieces = pieces
        self._sources = sources

    def __aiter__(self) -> "Body":
        return self

    async def __anext__(self) -> bytes:
        return await self._pieces.__anext__()

    async def aclose(self) -> None:
        """Closes the pieces, then what they come from."""
        for each in (self._pieces, *self._sources):
            await close(each)


def joined(items: AsyncIterator[T], encoded: Callable[[T], bytes]) -> Body:
    """Many small pieces as few larger ones, without holding back what there is. Closes `items`."""
    return Body(_joined(items, encoded), items)


async def _joined(items: AsyncIterator[T], encoded: Callable[[T], bytes]) -> AsyncIterator[bytes]:
    pending = bytearray()
    source = items.__aiter__()
    step: asyncio.Future[T] | None = None
    try:
        while True:
            step = asyncio.ensure_future(_next(source))
            await asyncio.sleep(0)
            if pending and (not step.done() or len(pending) >= _FLUSH):
                yield bytes(pending)
                pending.clear()
            try:
                pending += encoded(await step)
            except StopAsyncIteration:
                break
        if pending:
            yield bytes(pending)
    finally:
        if step is not None and not step.done():
            step.cancel()
            await asyncio.wait([step])


async def _next(source: AsyncIterator[T]) -> T:
    return await source.__anext__()


async def close(items: AsyncIterator[Any]) -> None:
    """Ends an iterator that may be a generator."""
    closing = getattr(items, "aclose", None)
    if closing is not None:
        await closing()


def log_encoder(framed: bool, timestamps: bool, details: bool) -> Callable[[LogLine], bytes]:
    """How a line of a log is sent."""

    def encoded(line: LogLine) -> bytes:
        data = line.data
        if details:
            told = ",".join(f"{quote_plus(key)}={quote_plus(line.attrs[key])}" for key in sorted(line.attrs))
            data = told.encode() + b" " + data
        if timestamps:
            data = rfc3339_fixed(line.at).encode() + b" " + data
        return mux.encode(mux.STDERR if line.stream == "stderr" else mux.STDOUT, data) if framed else data

    return encoded


def progress_line(line: Progress) -> bytes:
    """Docker's JSONMessage and its line end."""
    value: dict[str, Any] = {}
    if line.stream:
        value["stream"] = line.stream
    if line.status or line.id:
        value["status"] = line.status
    if line.current or line.total:
        detail = {"current": line.current, "total": line.total}
        value["progressDetail"] = {key: number for key, number in detail.items() if number}
        value["progress"] = bar(line.current, line.total)
    elif line.id or line.aux is not None:
        value["progressDetail"] = {}
    if line.id:
        value["id"] = line.id
    if line.aux is not None:
        value["aux"] = line.aux
    return encode(value) + b"\r\n"


def error_line(error: BaseException) -> bytes:
    """The error of a stream whose status has been sent."""
    text = message(error)
    return encode({"errorDetail": {"message": text}, "error": text}) + b"\r\n"


async def progress(lines: AsyncIterator[Progress], *, always: bool = False) -> Response:
    """Answers with the lines. What goes wrong before the first is raised, so that it has a status; afterwards (`always`: in
    every case) it is a line."""
    source = lines.__aiter__()
    first: Progress | None = None
    try:
        first = await source.__anext__()
    except StopAsyncIteration:
        pass
    except Exception as error:
        await close(lines)
        if always:
            return Response(200, error_line(error), {"Content-Type": "application/json"})
        raise
    except BaseException:
        await close(lines)
        raise

    async def body() -> AsyncIterator[bytes]:
        try:
            if first is not None:
                yield progress_line(first)
            async for line in source:
                yield progress_line(line)
        except Exception as error:
            yield error_line(error)

    return Response(200, Body(body(), lines), {"Content-Type": "application/json"})


def bar(current: int, total: int) -> str:
    """Docker's progress bar, 50 signs wide, as older clients print it."""
    if total <= 0 or current > total:
        return _size(current)
    done = min(current * 50 // total, 50)
    drawn = "=" * done + (">" if done < 50 else "") + " " * (49 - done)
    return f"[{drawn}] {_size(current):>8}/{_size(total)}"


def _size(number: int) -> str:
    """go-units' HumanSize: four significant digits, decimal units."""
    value, units = float(number), iter(("B", "kB", "MB", "GB", "TB", "PB"))
    unit = next(units)
    while value >= 1000 and unit != "PB":
        value /= 1000
        unit = next(units)
    return f"{value:.4g}{unit}"
