"""A process that one talks to: an exec, or a container that is attached to. Output as it comes, input, half-close, exit code."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Self

from knarr.api.client.aio import Channel
from knarr.library.values import ExecResult, Output
from knarr.model.errors import Unavailable
from knarr.wire import mux

_PIECE = 64 << 10


class Process:
    """Use it with `async with`; leaving the block hangs up, which does not end the process."""

    def __init__(
        self,
        channel: Channel,
        framed: bool,
        ended: Callable[[], Awaitable[int]],
        resized: Callable[[int, int], Awaitable[None]],
    ):
        self._channel = channel
        self._out = channel.take_over()
        self._turn = asyncio.Lock()
        self._decoder = mux.Decoder() if framed else None
        self._ended, self._resized = ended, resized
        self._over = False

    async def write(self, data: bytes) -> None:
        """To its stdin; waits while too much is on the way. Raises Unavailable where nobody reads any more."""
        try:
            async with self._turn:
                await asyncio.get_running_loop().sock_sendall(self._out, data)
        except OSError as error:
            raise Unavailable(f"cannot write to the process: {error}") from None

    async def close_stdin(self) -> None:
        """Nothing more follows; its output still comes."""
        async with self._turn:
            with contextlib.suppress(OSError):
                self._out.shutdown(socket.SHUT_WR)

    async def resize(self, width: int, height: int) -> None:
        """Of its terminal, in characters."""
        await self._resized(width, height)

    async def __aiter__(self) -> AsyncIterator[Output]:
        while not self._over:
            data = await self._channel.reader.read(_PIECE)
            self._over = not data
            if self._decoder is None:
                if data:
                    yield Output("stdout", data)
                continue
            for frame in self._decoder.feed(data):
                yield Output("stderr" if frame.stream == mux.STDERR else "stdout", frame.data)

    async def wait(self) -> int:
        """Its exit code, once it has ended and its output is over; what was not read is dropped."""
        async for _ in self:
            pass
        return await self._ended()

    async def communicate(self, data: bytes | None = None) -> ExecResult:
        """Sends `data`, closes stdin (a terminal's has no end), and reads all to the end."""
        sending = asyncio.ensure_future(self._feed(data))
        found: dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        try:
            async for stream, piece in self:
                found[stream] += piece
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        return ExecResult(await self._ended(), bytes(found["stdout"]), bytes(found["stderr"]))

    async def _feed(self, data: bytes | None) -> None:
        if data:
            with contextlib.suppress(Unavailable):  # it may end without having read all
                await self.write(data)
        if self._decoder is not None:
            await self.close_stdin()

    async def close(self) -> None:
        """Hangs up."""
        self._over = True
        self._out.close()
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
