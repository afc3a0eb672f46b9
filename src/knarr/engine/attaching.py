"""Hands clients' sockets over to shims, at once or when the container starts.

The shim's copy of a socket lives on; ours is closed here. A client that goes away before the start is noticed by the
loop: its socket hangs up.
"""

import asyncio
import contextlib
import os
import select
import socket

from knarr.engine.birth import Birth
from knarr.engine.live import Live, PendingAttach
from knarr.engine.logs import read_log
from knarr.engine.shims import Shim
from knarr.engine.values import AttachOptions, LogOptions
from knarr.engine.world import World
from knarr.loop.blocking import blocking
from knarr.model.errors import KnarrError
from knarr.wire.mux import STDERR, STDOUT, encode

_STREAMS = {"stdout": STDOUT, "stderr": STDERR}
_PATIENCE = 60.0


def announce(birth: Birth, pending: PendingAttach) -> None:
    """Brings a socket that waited to a shim that is on its way; without a terminal. The caller closes it in the end."""
    asyncio.get_running_loop().remove_reader(pending.sock.fileno())
    options = pending.options
    birth.attach(
        pending.sock.fileno(),
        stdin=options.stdin,
        stdout=options.stdout,
        stderr=options.stderr,
        framed=options.framed,
        detach_keys=options.detach_keys,
        tail=pending.tail,
    )


async def hand_over(shim: Shim, pending: PendingAttach, tty: bool) -> None:
    """Gives a socket that waited to the shim; a client that is gone is no error."""
    asyncio.get_running_loop().remove_reader(pending.sock.fileno())
    try:
        with contextlib.suppress(KnarrError, OSError):
            await give(shim, pending.sock, pending.options, pending.tail, tty)
    finally:
        pending.sock.close()


async def give(shim: Shim, sock: socket.socket, options: AttachOptions, tail: bytes, tty: bool) -> None:
    """Now. A terminal's output has no frames."""
    await shim.attach(
        sock.fileno(),
        stdin=options.stdin,
        stdout=options.stdout,
        stderr=options.stderr,
        framed=options.framed and not tty,
        detach_keys=options.detach_keys,
        tail=tail,
    )


async def send_logs(world: World, live: Live, sock: socket.socket, options: AttachOptions) -> None:
    """What it wrote before; a client that does not read is given up by its own time-out."""
    copy = sock.dup()
    try:
        copy.settimeout(_PATIENCE)
        lines = await read_log(world, live, LogOptions(stdout=options.stdout, stderr=options.stderr))
        async for line in lines:
            framed = options.framed and not live.spec.tty
            data = encode(_STREAMS[line.stream], line.data) if framed else line.data
            await blocking(copy.sendall, data)
    finally:
        copy.close()


def keep(live: Live, sock: socket.socket, options: AttachOptions, tail: bytes) -> None:
    """Until the container starts."""
    copy = socket.socket(fileno=os.dup(sock.fileno()))
    copy.setblocking(False)
    pending = PendingAttach(copy, options, tail)
    live.pending.append(pending)
    asyncio.get_running_loop().add_reader(copy.fileno(), _look, live, pending)


def _look(live: Live, pending: PendingAttach) -> None:
    """Something came before the start: data stays in the socket for the shim, a hang-up drops the client.

    End of file alone is no hang-up: a client without standard input ends its half at once and waits for output.
    """
    asyncio.get_running_loop().remove_reader(pending.sock.fileno())
    poller = select.poll()
    poller.register(pending.sock, 0)
    gone = any(event & (select.POLLHUP | select.POLLERR) for _, event in poller.poll(0))
    if gone and pending in live.pending:
        live.pending.remove(pending)
        pending.sock.close()


def drop(live: Live) -> None:
    """The container will not start: its waiting clients see the end."""
    for pending in live.pending:
        asyncio.get_running_loop().remove_reader(pending.sock.fileno())
        pending.sock.close()
    live.pending.clear()
