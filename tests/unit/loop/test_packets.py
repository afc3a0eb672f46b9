"""Packet channels on the event loop: whole objects, owned descriptors, an end that everybody hears of."""

import asyncio
import os
import socket
from collections.abc import Iterator

import pytest

from knarr.kernel import memfd
from knarr.kernel.sockets import recv_packet, send_packet, socketpair
from knarr.loop.packets import PacketChannel

PATIENCE = 30


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    here, there = socketpair()
    with here, there:
        yield here, there


async def test_objects_and_descriptors_arrive(pair: tuple[socket.socket, socket.socket]) -> None:
    here, there = (PacketChannel(sock) for sock in pair)
    fd = memfd.sealed("x", b"payload")
    await here.send({"a": [1, "ü"]}, [fd])
    os.close(fd)
    value, fds = await there.receive()
    assert value == {"a": [1, "ü"]}
    assert memfd.contents(fds[0]) == b"payload"
    os.close(fds[0])


async def test_a_receiver_waits(pair: tuple[socket.socket, socket.socket]) -> None:
    channel = PacketChannel(pair[0])
    waiting = asyncio.create_task(channel.receive())
    await asyncio.sleep(0)
    send_packet(pair[1], b'{"late": 1}')
    assert await asyncio.wait_for(waiting, PATIENCE) == ({"late": 1}, [])


async def test_packets_of_overlapping_senders_stay_whole(pair: tuple[socket.socket, socket.socket]) -> None:
    channel = PacketChannel(pair[0])
    reader = PacketChannel(pair[1])
    text = "x" * 50_000
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        for number in range(40):
            group.create_task(channel.send({"number": number, "text": text}))
        seen = {(await reader.receive())[0]["number"] for _ in range(40)}  # type: ignore[index]
    assert seen == set(range(40))


async def test_the_end_is_none(pair: tuple[socket.socket, socket.socket]) -> None:
    channel = PacketChannel(pair[0])
    pair[1].close()
    assert await channel.receive() == (None, [])
    with pytest.raises(OSError):
        await channel.send({})


async def test_last_words_of_a_peer_that_did_not_listen(pair: tuple[socket.socket, socket.socket]) -> None:
    channel = PacketChannel(pair[0])
    await channel.send({"unread": 1})
    send_packet(pair[1], b'{"error": 1}')
    pair[1].close()
    assert await channel.receive() == ({"error": 1}, [])
    assert await channel.receive() == (None, [])
    channel.close()


async def test_closing_wakes_who_waits(pair: tuple[socket.socket, socket.socket]) -> None:
    channel = PacketChannel(pair[0])
    waiting = asyncio.create_task(channel.receive())
    await asyncio.sleep(0)
    channel.close()
    channel.close()
    with pytest.raises(ConnectionAbortedError):
        await asyncio.wait_for(waiting, PATIENCE)
    with pytest.raises(OSError):
        await channel.receive()


async def test_a_late_cancellation_leaves_the_next_owner_of_the_number_alone() -> None:
    first, peer = socketpair()
    channel = PacketChannel(first)
    number = first.fileno()
    waiting = asyncio.create_task(channel.receive())
    await asyncio.sleep(0)
    here, there = socketpair()
    waiting.cancel()
    channel.close()
    with peer, here, there:
        os.dup2(here.fileno(), number, inheritable=False)
        heard = asyncio.Event()
        asyncio.get_running_loop().add_reader(number, heard.set)
        await asyncio.gather(waiting, return_exceptions=True)
        send_packet(there, b"x")
        await asyncio.wait_for(heard.wait(), PATIENCE)
        asyncio.get_running_loop().remove_reader(number)
        os.close(number)


async def test_what_is_no_json_loses_no_descriptor(pair: tuple[socket.socket, socket.socket]) -> None:
    channel = PacketChannel(pair[0])
    read, write = os.pipe()
    send_packet(pair[1], b"{", [write])
    os.close(write)
    with pytest.raises(ValueError, match="not a JSON object"):
        await channel.receive()
    assert os.read(read, 1) == b""
    os.close(read)


async def test_descriptors_of_an_empty_packet_are_closed(pair: tuple[socket.socket, socket.socket]) -> None:
    read, write = os.pipe()
    send_packet(pair[1], b"", [write])
    os.close(write)
    assert recv_packet(pair[0]) == (b"", [])
    assert os.read(read, 1) == b""
    os.close(read)


async def test_descriptors_of_a_long_packet_are_closed(pair: tuple[socket.socket, socket.socket]) -> None:
    read, write = os.pipe()
    send_packet(pair[1], b"x" * 2000, [write])
    os.close(write)
    with pytest.raises(OSError, match="too long"):
        recv_packet(pair[0], 1000)
    assert os.read(read, 1) == b""
    os.close(read)


async def test_a_listener_hears_everything_and_then_the_end(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    here, there = (PacketChannel(sock) for sock in pair)
    heard: asyncio.Queue[dict[str, object] | None] = asyncio.Queue()
    there.post({"number": 0})
    here.listen(heard.put_nowait)
    for number in range(1, 100):
        there.post({"number": number})
    there.close()
    async with asyncio.timeout(PATIENCE):
        seen = [await heard.get() for _ in range(101)]
    assert seen == [*({"number": number} for number in range(100)), None]


async def test_a_closed_listener_hears_no_more(pair: tuple[socket.socket, socket.socket]) -> None:
    here, there = (PacketChannel(sock) for sock in pair)
    heard: list[object] = []
    here.listen(heard.append)
    there.post({"number": 0})
    here.close()
    await asyncio.sleep(0)
    there.post({"number": 1})
    assert heard == []


async def test_what_finds_no_room_is_posted_later(pair: tuple[socket.socket, socket.socket]) -> None:
    here, there = (PacketChannel(sock) for sock in pair)
    text = "x" * 50_000
    for number in range(40):
        here.post({"number": number, "text": text})
    async with asyncio.timeout(PATIENCE):
        seen = [(await there.receive())[0] for _ in range(40)]
    assert {message["number"] for message in seen if message} == set(range(40))
