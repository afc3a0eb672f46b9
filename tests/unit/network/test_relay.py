"""The relay over the loopback."""

import asyncio
import socket

from knarr.network.relay import Relay


def listening() -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    sock.setblocking(False)
    return sock


async def test_a_stream_is_carried_with_its_half_close() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read())[::-1])
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    entry = listening()
    relay = Relay(entry, server.sockets[0].getsockname())
    reader, writer = await asyncio.open_connection(*entry.getsockname())
    data = bytes(range(256)) * 4096
    writer.write(data)
    writer.write_eof()
    assert await reader.read() == data[::-1]
    writer.close()
    await writer.wait_closed()
    relay.close()
    entry.close()
    server.close()
    await server.wait_closed()


async def test_a_dead_target_ends_the_connection() -> None:
    dead = listening()
    target = dead.getsockname()
    dead.close()
    entry = listening()
    relay = Relay(entry, target)
    reader, writer = await asyncio.open_connection(*entry.getsockname())
    assert await reader.read() == b""
    writer.close()
    relay.close()
    entry.close()


async def test_closing_drops_what_is_under_way() -> None:
    target, entry = listening(), listening()
    relay = Relay(entry, target.getsockname())
    reader, writer = await asyncio.open_connection(*entry.getsockname())
    loop = asyncio.get_running_loop()
    upstream, _ = await loop.sock_accept(target)
    relay.close()
    assert await reader.read() == b""
    assert await loop.sock_recv(upstream, 1) == b""
    for each in (writer, upstream, target, entry):
        each.close()


async def test_datagrams_find_their_way_back_to_each_client() -> None:
    loop = asyncio.get_running_loop()
    server, entry = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    for sock in (server, entry, *clients):
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
    relay = Relay(entry, server.getsockname())
    for number, client in enumerate(clients):
        await loop.sock_sendto(client, b"from %d" % number, entry.getsockname())
    for _ in clients:
        data, peer = await loop.sock_recvfrom(server, 100)
        await loop.sock_sendto(server, data.upper(), peer)
    assert [await loop.sock_recv(client, 100) for client in clients] == [b"FROM 0", b"FROM 1"]
    relay.close()
    for sock in (server, entry, *clients):
        sock.close()
