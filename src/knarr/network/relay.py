"""Carries connections that reach the daemon's own sockets to a container: [::] for containers that have no IPv6, and ::1.

The rest is translated by the firewall and never comes here, unless somebody flushed the rules. Runs on the event loop.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Coroutine

log = logging.getLogger(__name__)

_CHUNK = 1 << 16
_UDP_IDLE = 60.0


class Relay:
    """Serves one bound socket (listening for TCP) towards `target` until `close()`; it does not own the socket."""

    def __init__(self, sock: socket.socket, target: tuple[str, int]) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = sock
        self._target = target
        self._tasks: set[asyncio.Task[None]] = set()
        self._flows: dict[tuple[object, ...], _Flow] = {}
        stream = sock.type == socket.SOCK_STREAM
        self._loop.add_reader(sock, self._accept if stream else self._datagram)

    def close(self) -> None:
        """Stops serving and drops what is under way."""
        self._loop.remove_reader(self._socket)
        for task in self._tasks:
            task.cancel()
        for flow in tuple(self._flows.values()):
            flow.close()

    def _accept(self) -> None:
        try:
            client, _ = self._socket.accept()
        except OSError as error:
            log.debug("accept for %s:%s: %s", *self._target, error)
            return
        client.setblocking(False)
        self._spawn(self._serve(client))

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = self._loop.create_task(work, name=f"relay to {self._target[0]}:{self._target[1]}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(_family(self._target), socket.SOCK_STREAM) as upstream:
            upstream.setblocking(False)
            try:
                await self._loop.sock_connect(upstream, self._target)
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._pump(client, upstream))
                    both.create_task(self._pump(upstream, client))
            except* OSError as errors:
                log.debug("relay to %s:%s ended: %s", *self._target, errors.exceptions)

    async def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        while data := await self._loop.sock_recv(source, _CHUNK):
            await self._loop.sock_sendall(sink, data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def _datagram(self) -> None:
        try:
            data, client = self._socket.recvfrom(_CHUNK)
            flow = self._flows.get(client)
            if flow is None:
                flow = self._flows[client] = _Flow(self._socket, client, self._target, self._flows)
            flow.send(data)
        except OSError as error:
            log.debug("datagram for %s:%s: %s", *self._target, error)


class _Flow:
    """One client's datagrams, each way, until nothing came for a minute."""

    def __init__(
        self,
        server: socket.socket,
        client: tuple[object, ...],
        target: tuple[str, int],
        flows: dict[tuple[object, ...], "_Flow"],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._server, self._client, self._flows = server, client, flows
        self._upstream = socket.socket(_family(target), socket.SOCK_DGRAM)
        self._upstream.setblocking(False)
        self._upstream.connect(target)
        self._loop.add_reader(self._upstream, self._answer)
        self._last = self._loop.time()
        self._timer = self._loop.call_later(_UDP_IDLE, self._expire)

    def send(self, data: bytes) -> None:
        self._last = self._loop.time()
        self._upstream.send(data)

    def close(self) -> None:
        self._timer.cancel()
        self._loop.remove_reader(self._upstream)
        self._upstream.close()
        self._flows.pop(self._client, None)

    def _answer(self) -> None:
        self._last = self._loop.time()
        try:
            self._server.sendto(self._upstream.recv(_CHUNK), self._client)
        except OSError as error:
            log.debug("answer to %s: %s", self._client, error)

    def _expire(self) -> None:
        left = self._last + _UDP_IDLE - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._expire)
        else:
            self.close()


def _family(target: tuple[str, int]) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in target[0] else socket.AF_INET
