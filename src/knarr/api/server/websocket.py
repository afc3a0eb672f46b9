"""/containers/{name}/attach/ws: an attach whose stream is the messages of a WebSocket (RFC 6455), stdout and stderr without frames.

The protocol is the library's (websockets, its half without I/O); here are the sockets: the client's on one side, on the other a
pair whose far end goes to the container's shim as any attached client's. A closing client ends its input, as Docker has it.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from knarr.api.server.call import Call, Route
from knarr.api.server.streams import tell
from knarr.engine.values import AttachOptions
from knarr.loop.http.messages import Response
from knarr.model.errors import Invalid, KnarrError
from knarr.wire import detachkeys

if TYPE_CHECKING:
    from knarr.api.server.frames import Frames

_BLOCK = 64 << 10
_LINGER = 5.0


async def attach(call: Call) -> Response | None:
    """GET /containers/{name}/attach/ws: from 1.42 on the query says which streams; before 1.28 the messages are text."""
    keys = call.text("detachKeys")
    try:
        detachkeys.parse(keys)
    except Invalid:
        raise Invalid(f"Invalid detach keys ({keys}) provided") from None
    view = await call.engine.containers.check_attach(call.name)
    chosen = call.version >= (1, 42)
    options = AttachOptions(
        stdin=call.flag("stdin") or not chosen,
        stdout=call.flag("stdout") or not chosen,
        stderr=call.flag("stderr") or not chosen,
        logs=call.flag("logs"),
        stream=call.flag("stream"),
        detach_keys=keys,
        framed=False,
    )
    from knarr.api.server.frames import Frames

    frames = Frames(call.request, text=call.version < (1, 28))
    client, tail = await call.request.hijack(frames.pending())
    near, far = socket.socketpair()
    with client, near:
        near.setblocking(False)
        far.setblocking(False)
        async with asyncio.TaskGroup() as both:
            both.create_task(_give(call, view.id, far, options))
            await _carry(frames, client, near, tail)
    return None


async def _give(call: Call, name: str, far: socket.socket, options: AttachOptions) -> None:
    with far:
        try:
            await call.engine.containers.attach(name, far, options)
        except KnarrError as error:
            await tell(far, f"Error attaching: {error}\n".encode())


async def _carry(frames: "Frames", client: socket.socket, near: socket.socket, tail: bytes) -> None:
    """Both ways until the container's side is over, or the client."""
    sending = asyncio.Lock()
    told = asyncio.ensure_future(_tell(frames, client, near, sending))
    heard = asyncio.ensure_future(_hear(frames, client, near, sending, tail))
    try:
        done, _ = await asyncio.wait((told, heard), return_when=asyncio.FIRST_COMPLETED)
        if told in done:
            await asyncio.wait((heard,), timeout=_LINGER)
    finally:
        for each in (told, heard):
            each.cancel()
        await asyncio.wait((told, heard))


async def _tell(frames: "Frames", client: socket.socket, near: socket.socket, sending: asyncio.Lock) -> None:
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError):
        while data := await loop.sock_recv(near, _BLOCK):
            async with sending:
                frames.message(data)
                await loop.sock_sendall(client, frames.pending())
        async with sending:
            frames.close()
            await loop.sock_sendall(client, frames.pending())


async def _hear(
    frames: "Frames", client: socket.socket, near: socket.socket, sending: asyncio.Lock, tail: bytes
) -> None:
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError):
        async for data in _pieces(client, tail):
            said = frames.feed(data)
            async with sending:
                await loop.sock_sendall(client, frames.pending())
            for each in said:
                await loop.sock_sendall(near, each)
            if not frames.open:
                near.shutdown(socket.SHUT_WR)


async def _pieces(client: socket.socket, tail: bytes) -> AsyncIterator[bytes]:
    if tail:
        yield tail
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(client, _BLOCK):
        yield data
    yield b""


ROUTES = (Route("GET", "/containers/{name}/attach/ws", attach),)
