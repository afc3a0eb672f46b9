"""A client's half as `knarr build` runs it, on a thread of its own, and the builder's way to it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

from knarr.build.client.exchange import Link
from knarr.build.client.turns import Turns
from knarr.grpc.client import Caller
from knarr.grpc.services import Service


def lend(sock: socket.socket, *services: Service) -> None:
    """Blocks until the builder goes."""
    turns = Turns()
    link = Link(turns, sock, b"", services)
    try:
        turns.run(lambda: link.over)
    finally:
        turns.close()
        link.close()


@contextlib.asynccontextmanager
async def called(*services: Service) -> AsyncIterator[Caller]:
    """The builder's way to a client with those services."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    serving = asyncio.create_task(asyncio.to_thread(lend, theirs, *services))
    caller = await Caller.over(ours)
    try:
        yield caller
    finally:
        caller.close()
        await serving
