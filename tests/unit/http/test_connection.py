"""The server over real sockets, by raw bytes."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from knarr.loop.http.connection import Handler
from knarr.loop.http.messages import Request, Response
from knarr.loop.http.server import Server


@contextlib.asynccontextmanager
async def serving(tmp_path: Path, handler: Handler) -> AsyncIterator[str]:
    server = Server(handler)
    path = str(tmp_path / "s")
    await server.listen_unix(path)
    try:
        yield path
    finally:
        await server.close(1)


async def exchange(path: str, *sent: bytes, half_close: bool = False) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    for piece in sent:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    if half_close:
        writer.write_eof()
    data = await reader.read()
    writer.close()
    return data


async def echo(request: Request) -> Response:
    return Response(200, await request.read())


async def test_pipelined_requests_are_answered_in_turn(tmp_path: Path) -> None:
    async with serving(tmp_path, echo) as path:
        answer = await exchange(
            path,
            b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhiPOST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyou\r\n0\r\n\r\n",
            b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
        )
    assert answer.count(b"200 OK") == 3
    assert b"\r\n\r\nhi" in answer
    assert b"\r\n\r\nyou" in answer


async def test_continue_is_sent_before_the_body(tmp_path: Path) -> None:
    async with serving(tmp_path, echo) as path:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(
            b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
        )
        assert (await reader.readline()).startswith(b"HTTP/1.1 100")
        await reader.readline()
        writer.write(b"ok")
        assert (await reader.read()).endswith(b"ok")
        writer.close()


async def test_a_bad_request_is_400(tmp_path: Path) -> None:
    async with serving(tmp_path, echo) as path:
        assert (await exchange(path, b"nonsense\r\n\r\n")).startswith(b"HTTP/1.1 400 ")


async def test_streams_are_chunked_for_1_1_and_plain_for_1_0(tmp_path: Path) -> None:
    async def stream(_: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            yield b"a"
            yield b"bc"

        return Response(200, body())

    async with serving(tmp_path, stream) as path:
        assert (await exchange(path, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")).endswith(
            b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"
        )
        assert (await exchange(path, b"GET / HTTP/1.0\r\n\r\n")).endswith(b"\r\n\r\nabc")


async def test_a_taken_connection_loses_no_byte(tmp_path: Path) -> None:
    taken: list[tuple[socket.socket, bytes]] = []

    async def take(request: Request) -> None:
        assert await request.read() == b"{}"
        taken.append(await request.hijack(b"HTTP/1.1 101 UPGRADED\r\n\r\n"))

    async with serving(tmp_path, take) as path:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(
            b"POST / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 2\r\n\r\n{}behind"
        )
        writer.write_eof()
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 101 UPGRADED\r\n\r\n"
        sock, tail = taken[0]
        sock.setblocking(True)
        while chunk := sock.recv(100):
            tail += chunk
        assert tail == b"behind"
        sock.sendall(b"x" * 1_000_00)
        sock.close()
        assert await reader.read() == b"x" * 1_000_00
        writer.close()


async def test_a_client_that_goes_cancels_its_handler(tmp_path: Path) -> None:
    cancelled, begun = asyncio.Event(), asyncio.Event()

    async def wait(_: Request) -> Response:
        begun.set()
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return Response()

    async with serving(tmp_path, wait) as path:
        _, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await asyncio.wait_for(begun.wait(), 30)
        writer.close()
        await asyncio.wait_for(cancelled.wait(), 30)


async def test_a_slow_reader_holds_the_writer_back(tmp_path: Path) -> None:
    produced = 0

    async def flood(_: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            nonlocal produced
            for _ in range(1000):
                produced += 1
                yield bytes(65536)

        return Response(200, body())

    async with serving(tmp_path, flood) as path:
        reader, writer = await asyncio.open_unix_connection(path, limit=65536)
        writer.write(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        await reader.read(1)
        for _ in range(100):
            await asyncio.sleep(0)
        assert produced < 1000
        total = 1
        while piece := await reader.read(1 << 20):
            total += len(piece)
        assert total > 65536 * 1000
        writer.close()


async def test_a_left_socket_is_replaced_and_a_living_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with serving(tmp_path, echo):
        with pytest.raises(OSError, match="another daemon"):
            await Server(echo).listen_unix(str(path))
    assert not path.exists()


@pytest.mark.parametrize("chunked", [False, True])
async def test_what_arrives_while_a_body_is_worked_on_is_not_missed(tmp_path: Path, chunked: bool) -> None:
    """The rest of the body comes while the handler holds the first piece, and nothing comes after it."""
    first = asyncio.Event()

    async def slow(request: Request) -> Response:
        data = bytearray()
        async for piece in request.body():
            data += piece
            if not first.is_set():
                first.set()
                connection = request._wire._connection  # type: ignore[attr-defined]
                while not connection.buffer:  # noqa: ASYNC110 - the point is what the loop does meanwhile
                    await asyncio.sleep(0.001)
        return Response(200, bytes(data))

    async with serving(tmp_path, slow) as path:
        reader, writer = await asyncio.open_unix_connection(path)
        kind = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 6"
        writer.write(b"POST / HTTP/1.1\r\nConnection: close\r\n" + kind + b"\r\n\r\n")
        writer.write(b"3\r\none\r\n" if chunked else b"one")
        await asyncio.wait_for(first.wait(), 60)
        writer.write(b"3\r\ntwo\r\n0\r\n\r\n" if chunked else b"two")
        answer = await asyncio.wait_for(reader.read(), 60)
        writer.close()
    assert answer.endswith(b"\r\n\r\nonetwo")


async def test_a_client_that_is_still_sending_reads_its_refusal(tmp_path: Path) -> None:
    async def refuse(_: Request) -> Response:
        return Response(500, b"no room")

    size = 20 << 20
    head = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size
    async with serving(tmp_path, refuse) as path:
        answer = await exchange(path, head, *[bytes(size // 8)] * 8)
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert answer.endswith(b"no room")
