"""A packet socket on the event loop: JSON objects with descriptors, both ways (kernel.sockets has the blocking end)."""

import asyncio
import json
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from knarr.kernel.sockets import recv_packet, send_packet


class PacketChannel:
    """Owns `sock`. One reader at a time; writers may overlap, packets stay whole."""

    def __init__(self, sock: socket.socket):
        sock.setblocking(False)
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._sending = asyncio.Lock()
        self._waiters: set[asyncio.Future[None]] = set()

    def fileno(self) -> int:
        """The socket's descriptor, -1 once closed."""
        return self._sock.fileno()

    async def send(self, message: Mapping[str, Any], fds: Sequence[int] = ()) -> None:
        """Sends one object; the descriptors stay the caller's. Raises OSError when the peer is gone."""
        data = json.dumps(message, separators=(",", ":")).encode()
        async with self._sending:
            while True:
                try:
                    return send_packet(self._sock, data, tuple(fds))
                except BlockingIOError:
                    await self._ready(self._loop.add_writer, self._loop.remove_writer)

    async def receive(self) -> tuple[dict[str, Any] | None, list[int]]:
        """The next object and its descriptors, which are the caller's; (None, []) at the end. Raises OSError."""
        while True:
            try:
                data, fds = recv_packet(self._sock)
            except BlockingIOError:
                await self._ready(self._loop.add_reader, self._loop.remove_reader)
                continue
            except ConnectionResetError:
                return None, []
            if not data:
                return None, []
            try:
                value = json.loads(data)
            except ValueError:
                for fd in fds:
                    os.close(fd)
                raise
            return value, fds

    async def _ready(self, add: Any, remove: Any) -> None:
        number = self._sock.fileno()
        if number < 0:
            raise ConnectionAbortedError("the channel is closed")
        waiter = self._loop.create_future()
        self._waiters.add(waiter)
        add(number, _wake, waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)
            # After `close` the number may already be somebody else's.
            if self._sock.fileno() == number:
                remove(number)

    def close(self) -> None:
        """May be called again. Whoever waits here for the peer gets ConnectionAbortedError."""
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock.fileno())
            self._loop.remove_writer(self._sock.fileno())
            self._sock.close()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(ConnectionAbortedError("the channel is closed"))


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
