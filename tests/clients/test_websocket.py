"""Attach by WebSocket, with aiohttp's client."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest

from tests.support.daemons import Daemon

PATIENCE = 60
Message = aiohttp.WSMessage


@asynccontextmanager
async def attached(
    daemon: Daemon, name: str, query: str, version: str = "1.51"
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A connection."""
    connector = aiohttp.UnixConnector(str(daemon.socket))
    async with aiohttp.ClientSession(connector=connector) as session:
        url = f"http://docker/v{version}/containers/{name}/attach/ws?{query}"
        async with session.ws_connect(url) as connection:
            yield connection


async def hear(connection: aiohttp.ClientWebSocketResponse, enough: Callable[[bytes], bool]) -> bytes:
    """What comes, until it is enough or the other side closes."""
    heard = b""
    async with asyncio.timeout(PATIENCE):
        while not enough(heard):
            message = await connection.receive()
            if message.type is aiohttp.WSMsgType.TEXT:
                heard += message.data.encode()
            elif message.type is aiohttp.WSMsgType.BINARY:
                heard += message.data
            else:
                break
    return heard


@pytest.fixture
def cat(daemon: Daemon) -> str:
    """A container that repeats what it is told."""
    return daemon.docker("run", "-di", "busybox", "cat").stdout.strip()


async def test_input_and_output_are_messages(daemon: Daemon, cat: str) -> None:
    async with attached(daemon, cat, "stream=1&stdin=1&stdout=1&stderr=1") as connection:
        await connection.send_str("one\n")
        await connection.send_bytes(b"two\n")
        assert await hear(connection, lambda heard: heard == b"one\ntwo\n") == b"one\ntwo\n"
        message = b"x" * (1 << 18) + b"\n"
        await connection.send_bytes(message)
        assert await hear(connection, lambda heard: len(heard) >= len(message)) == message


@pytest.mark.parametrize(
    ("version", "kind"), [("1.27", aiohttp.WSMsgType.TEXT), ("1.51", aiohttp.WSMsgType.BINARY)]
)
async def test_older_versions_talk_in_text(
    daemon: Daemon, cat: str, version: str, kind: aiohttp.WSMsgType
) -> None:
    async with attached(daemon, cat, "stream=1&stdin=1&stdout=1", version) as connection:
        await connection.send_str("text\n")
        async with asyncio.timeout(PATIENCE):
            assert (await connection.receive()).type is kind


async def test_only_the_streams_that_are_asked_for(daemon: Daemon) -> None:
    script = "read line; echo out; echo err >&2; read line; echo end >&2"
    name = daemon.docker("run", "-di", "busybox", "sh", "-c", script).stdout.strip()
    async with attached(daemon, name, "stream=1&stderr=1") as errors:
        async with attached(daemon, name, "stream=1&stdin=1&stdout=1") as output:
            await output.send_str("go\n")
            assert await hear(output, lambda heard: b"\n" in heard) == b"out\n"
            assert await hear(errors, lambda heard: b"\n" in heard) == b"err\n"
            await output.send_str("end\n")
            assert await hear(output, lambda _: False) == b""
            assert await hear(errors, lambda _: False) == b"end\n"


async def test_the_end_of_a_container_closes(daemon: Daemon) -> None:
    name = daemon.docker("create", "busybox", "echo", "bye").stdout.strip()
    async with attached(daemon, name, "stream=1&stdout=1&stderr=1") as connection:
        await asyncio.to_thread(daemon.docker, "start", name)
        assert await hear(connection, lambda _: False) == b"bye\n"
        assert connection.closed


async def test_a_closing_client_ends_the_input(daemon: Daemon) -> None:
    name = daemon.docker("create", "-i", "busybox", "sh", "-c", "cat; echo over").stdout.strip()
    async with attached(daemon, name, "stream=1&stdin=1&stdout=1") as connection:
        await asyncio.to_thread(daemon.docker, "start", name)
        await connection.send_str("last\n")
        await hear(connection, lambda heard: heard == b"last\n")
    assert daemon.docker("wait", name).stdout == "0\n"
    assert daemon.docker("logs", name).stdout == "last\nover\n"


async def test_logs_come_first(daemon: Daemon) -> None:
    name = daemon.docker("run", "-di", "busybox", "sh", "-c", "echo before; exec cat").stdout.strip()
    while not daemon.docker("logs", name).stdout:
        pass
    async with attached(daemon, name, "stream=1&logs=1&stdin=1&stdout=1") as connection:
        assert await hear(connection, lambda heard: b"\n" in heard) == b"before\n"
        await connection.send_str("after\n")
        assert await hear(connection, lambda heard: b"\n" in heard) == b"after\n"


async def test_refusals(daemon: Daemon, peer: bool) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as error:
        async with attached(daemon, "nothing", "stream=1"):
            pass
    assert error.value.status == 404
    if not peer:  # dockerd waits for ever
        status, value = daemon.api(
            "GET", f"/containers/{daemon.docker('create', 'busybox').stdout.strip()}/attach/ws"
        )
        assert status == 400
        assert "WebSocket" in value["message"]
