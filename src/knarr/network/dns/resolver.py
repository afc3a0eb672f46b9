"""One container's name server, on sockets that were opened inside its namespace.

What is not a container's name is forwarded, byte for byte, from the daemon's own namespace: to each server in turn, by the
protocol that the question came by. A server that answers with another id, or not in time, is passed over.
"""

import asyncio
import contextlib
import random
import socket
from collections.abc import Sequence

from knarr.network.dns import answers
from knarr.network.dns.answers import Names

_PATIENCE = 4.0
_SERVERS = 3
_AT_ONCE = 1024
_TALKING = 64
"""Connections and questions of one container take memory and descriptors of the daemon's: more than these are let go."""
_IDLE = 30.0


Upstream = tuple[str, int]
"""Host and port of who is asked about the rest of the world."""


class Resolver:
    """`upstreams` empty: what is not a container's name fails (an internal network)."""

    def __init__(self, names: Names, upstreams: Sequence[Upstream]) -> None:
        self._names = names
        self.upstreams = upstreams
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._talking: set[asyncio.StreamWriter] = set()
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None

    async def serve(self, udp: socket.socket, tcp: socket.socket) -> None:
        """Takes both sockets over; `tcp` is bound and need not listen yet."""
        loop = asyncio.get_running_loop()
        self._udp, _ = await loop.create_datagram_endpoint(lambda: _Questions(self), sock=udp)
        self._tcp = await asyncio.start_server(self._talk, sock=tcp)

    def close(self) -> None:
        """Questions that wait get no answer."""
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()
        for task in self._tasks:
            task.cancel()
        for writer in self._talking:
            writer.transport.abort()

    def asked(self, message: bytes, address: tuple[str, int]) -> None:
        """A datagram came."""
        query = answers.parse(message)
        if query is None or self._udp is None:
            return
        found = answers.answer(query, self._names, random.shuffle)
        if found is not None:
            self._udp.sendto(found, address)
            return
        if len(self._tasks) >= _AT_ONCE:
            return
        task = asyncio.get_running_loop().create_task(self._pass_on(message, address))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, message: bytes, address: tuple[str, int]) -> None:
        found = await self._forward(message, stream=False)
        if self._udp is not None and not self._udp.is_closing():
            self._udp.sendto(found, address)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, if there are not too many."""
        if len(self._talking) < _TALKING:
            self._talking.add(writer)
            try:
                await self._converse(reader, writer)
            finally:
                self._talking.discard(writer)
        writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """RFC 1035, 4.2.2: each message behind its length."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            while True:
                async with asyncio.timeout(_IDLE):
                    message = await _read(reader)
                query = answers.parse(message)
                if query is None:
                    break
                found = answers.answer(query, self._names, random.shuffle)
                found = found if found is not None else await self._forward(message, stream=True)
                writer.write(len(found).to_bytes(2, "big") + found)
                await writer.drain()

    async def _forward(self, message: bytes, *, stream: bool) -> bytes:
        ask = _ask_stream if stream else _ask_datagram
        async with self._slots:
            for server in self.upstreams[:_SERVERS]:
                with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                    async with asyncio.timeout(_PATIENCE):
                        return await ask(server, message)
        query = answers.parse(message)
        return answers.failure(query) if query is not None else b""


class _Questions(asyncio.DatagramProtocol):
    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._resolver.asked(data, addr)


class _Answer(asyncio.DatagramProtocol):
    def __init__(self, message: bytes) -> None:
        self._id = message[:2]
        self.future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, _addr: tuple[str, int]) -> None:
        if data[:2] == self._id and not self.future.done():
            self.future.set_result(data)

    def error_received(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


async def _ask_datagram(server: Upstream, message: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(lambda: _Answer(message), remote_addr=server)
    try:
        transport.sendto(message)
        return await protocol.future
    finally:
        transport.close()


async def _ask_stream(server: Upstream, message: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*server)
    try:
        writer.write(len(message).to_bytes(2, "big") + message)
        return await _read(reader)
    finally:
        writer.close()


async def _read(reader: asyncio.StreamReader) -> bytes:
    length = int.from_bytes(await reader.readexactly(2), "big")
    return await reader.readexactly(length)
