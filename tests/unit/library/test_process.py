"""A process that one talks to, over a connection whose other end is the test."""

import asyncio
import socket

import pytest

from knarr.api.client.aio import Channel
from knarr.library.process import Process
from knarr.model.errors import Unavailable
from knarr.wire import mux


async def _process(framed: bool) -> tuple[Process, socket.socket]:
    mine, theirs = socket.socketpair()
    mine.setblocking(False)

    async def dial() -> socket.socket:
        return mine

    async def ended() -> int:
        return 7

    async def resized(width: int, height: int) -> None:
        """Nobody looks."""

    return Process(await Channel.open(dial), framed, ended, resized), theirs


@pytest.mark.asyncio
@pytest.mark.parametrize("framed", [True, False])
async def test_output_of_one_that_is_over_when_its_input_comes(framed: bool) -> None:
    """The connection breaks under the writing: all that came before is output all the same."""
    process, theirs = await _process(framed)
    with theirs:
        theirs.sendall(mux.encode(1, b"last line\n") if framed else b"last line\n")
    async with process:
        assert await process.communicate(b"input") == (7, b"last line\n", b"")
        with pytest.raises(Unavailable, match="cannot write"):
            await process.write(b"more")


@pytest.mark.asyncio
async def test_input_of_two_writers_keeps_their_pieces_whole() -> None:
    process, theirs = await _process(framed=True)
    pieces = [bytes([number]) * 300_000 for number in (1, 2, 3)]
    async with process:
        writing = asyncio.gather(*map(process.write, pieces))

        def read_all() -> bytes:
            with theirs.makefile("rb") as file:
                return file.read()

        reading = asyncio.ensure_future(asyncio.to_thread(read_all))
        await writing
        await process.close_stdin()
        assert await reading == b"".join(pieces)
    theirs.close()
