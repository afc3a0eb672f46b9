"""A packet socket on the event loop: JSON objects with descriptors, both ways (kernel.sockets has the blocking end)."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from knarr.kernel.sockets import recv_packet, send_packet

encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_TURN = 32
"""Packets taken from one socket before others have their turn."""


class PacketChannel:
    """Owns `sock`. One reader at a time, `receive` or `listen`; writers may overlap, packets stay whole."""

    def __init__(self, sock: socket.socket):
        sock.setblocking(False)
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._sending = asyncio.Lock()
        self._waiters: set[asyncio.Future[None]] = set()
        self._posting: set[asyncio.Task[None]] = set()

    def fileno(self) -> int:
        """The socket's descriptor, -1 once closed."""
        return self._sock.fileno()

    async def send(self, message: Mapping[str, Any], fds: Sequence[int] = ()) -> None:
        """Sends one object; the descriptors stay the caller's. Raises OSError when the peer is gone."""
        await self.send_text(encode(message), fds)

    async def send_text(self, text: bytes, fds: Sequence[int] = ()) -> None:
        """An object that is encoded already."""
        async with self._sending:
            while True:
                try:
                    return send_packet(self._sock, text, tuple(fds))
                except BlockingIOError:
                    await self._ready(self._loop.add_writer, self._loop.remove_writer)

    def post(self, message: Mapping[str, Any], fds: Sequence[int] = ()) -> None:
        """Sends one object now, or without descriptors as soon as there is room; a peer that is gone is no error here."""
        text = encode(message)
        try:
            if not self._sending.locked():
                send_packet(self._sock, text, tuple(fds))
                return
        except BlockingIOError:
            pass
        except OSError:
            return
        task = self._loop.create_task(self._send_later(text))
        self._posting.add(task)
        task.add_done_callback(self._posting.discard)

    async def _send_later(self, text: bytes) -> None:
        with contextlib.suppress(OSError):
            await self.send_text(text)

    async def receive(self) -> tuple[dict[str, Any] | None, list[int]]:
        """The next object and its descriptors, which are the caller's; (None, []) at the end. Raises OSError, ValueError."""
        while True:
            try:
                return self._take()
            except BlockingIOError:
                await self._ready(self._loop.add_reader, self._loop.remove_reader)

    def listen(self, hear: Callable[[dict[str, Any] | None], None]) -> None:
        """Calls `hear` with every object from now on, and with None once, at the end. Descriptors are not expected."""
        self._loop.add_reader(self._sock.fileno(), self._drain, hear)
        self._loop.call_soon(self._drain, hear)

    def _drain(self, hear: Callable[[dict[str, Any] | None], None]) -> None:
        for _ in range(_TURN):
            if self._sock.fileno() < 0:
                return
            try:
                message, fds = self._take()
            except BlockingIOError:
                return
            except (OSError, ValueError):
                message, fds = None, []
            for fd in fds:
                os.close(fd)
            if message is None:
                self._loop.remove_reader(self._sock.fileno())
                hear(None)
                return
            hear(message)

    def _take(self) -> tuple[dict[str, Any] | None, list[int]]:
        data, fds = self._packet()
        if not data:
            return None, []
        try:
            return _decode(data), fds
        except msgspec.DecodeError as error:
            for fd in fds:
                os.close(fd)
            raise ValueError(f"not a JSON object: {error}") from None

    def _packet(self) -> tuple[bytes, list[int]]:
        """A peer that closed with packets unread is an error once (unix(7), ECONNRESET); what it had said is still there."""
        for _ in range(2):
            with contextlib.suppress(ConnectionResetError):
                return recv_packet(self._sock)
        return b"", []

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
        """May be called again. Whoever waits here for the peer gets ConnectionAbortedError; `listen` hears no more."""
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
