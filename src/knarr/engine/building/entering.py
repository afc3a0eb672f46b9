"""A failed step entered: a shell where the command ran, on the terminal that its client lends."""

import asyncio
import socket
from dataclasses import replace

from knarr.build.operations import Exec
from knarr.build.port import Console
from knarr.engine.shims import Shim

_PIECE = 64 << 10
_SHELL = "/bin/sh"


def shell_of(command: Exec) -> Exec:
    """The same, but for what runs: the shell that ran the command, or /bin/sh."""
    words = command.args
    with_shell = len(words) > 1 and words[1].startswith("-") and words[1].endswith("c")
    return replace(command, args=(words[0] if with_shell else _SHELL,))


async def converse(console: Console, sock: socket.socket, shim: Shim) -> None:
    """Bytes both ways until the shell ends; who leaves ends it."""
    outwards = asyncio.create_task(_outwards(console, sock))
    inwards = asyncio.create_task(_inwards(console, sock, shim))
    try:
        await asyncio.wait([outwards, inwards], return_when=asyncio.FIRST_COMPLETED)
        if not outwards.done():
            await shim.signal_all(9)
    finally:
        for task in (outwards, inwards):
            task.cancel()
        await asyncio.gather(outwards, inwards, return_exceptions=True)


async def _outwards(console: Console, sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(sock, _PIECE):
        await console.write(data)


async def _inwards(console: Console, sock: socket.socket, shim: Shim) -> None:
    loop = asyncio.get_running_loop()
    async for typed in console.typed():
        if typed.window is not None:
            await shim.resize(*typed.window)
        if typed.data:
            await loop.sock_sendall(sock, typed.data)
