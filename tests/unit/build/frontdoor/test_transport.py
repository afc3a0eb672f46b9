"""gRPC over connections that exist already: grpclib's two private hooks still fit."""

import asyncio
import socket

import pytest
from grpclib.client import UnaryUnaryMethod
from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError

from knarr.build.errors import BuildFailed, Place
from knarr.build.frontdoor.services import Service
from knarr.build.frontdoor.transport import Caller, serve, translated
from knarr.build.proto.session_pb2 import BytesMessage

ECHO = "/test.Echo/Say"


class _Echo:
    async def say(self, asked: BytesMessage, _: object) -> BytesMessage:
        if asked.data == b"fail":
            raise BuildFailed("it failed", place=Place(filename="Dockerfile", source=b"FROM x"))
        if asked.data == b"wait":
            await asyncio.Event().wait()
        return BytesMessage(data=asked.data[::-1])


class _Crowd:
    """Answers nobody before all have come."""

    def __init__(self, size: int) -> None:
        self._barrier = asyncio.Barrier(size)

    async def say(self, asked: BytesMessage, _: object) -> BytesMessage:
        await self._barrier.wait()
        return asked


def _service() -> Service:
    service = Service("test.Echo")
    service.unary("Say", _Echo().say, BytesMessage, BytesMessage)
    return service


async def _ask(caller: Caller, data: bytes) -> bytes:
    method = UnaryUnaryMethod[BytesMessage, BytesMessage](caller, ECHO, BytesMessage, BytesMessage)
    return (await method(BytesMessage(data=data))).data


def _pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


async def test_calls_go_over_a_socket_that_was_taken_over() -> None:
    ours, theirs = _pair()
    serving = asyncio.create_task(serve(theirs, b"", [_service()]))
    caller = Caller(ours)
    assert await _ask(caller, b"abc") == b"cba"
    assert await _ask(caller, bytes(range(256)) * 4096) == (bytes(range(256)) * 4096)[::-1]
    caller.close()
    await asyncio.wait_for(serving, 10)


async def test_bytes_that_came_before_are_served_first() -> None:
    ours, theirs = _pair()
    caller = Caller(ours)
    asking = asyncio.create_task(_ask(caller, b"abc"))
    loop = asyncio.get_running_loop()
    early = await loop.sock_recv(theirs, 1 << 16)
    serving = asyncio.create_task(serve(theirs, early, [_service()]))
    assert await asking == b"cba"
    caller.close()
    await asyncio.wait_for(serving, 10)


async def test_hundreds_of_calls_wait_at_the_same_time() -> None:
    """As those of a bake of many targets: each build has a call that waits for its end, and one that waits for news."""
    ours, theirs = _pair()
    crowd = _Crowd(300)
    service = Service("test.Echo")
    service.unary("Say", crowd.say, BytesMessage, BytesMessage)
    serving = asyncio.create_task(serve(theirs, b"", [service]))
    caller = Caller(ours)
    async with asyncio.timeout(30):
        answers = await asyncio.gather(*(_ask(caller, b"%d" % at) for at in range(300)))
    assert answers == [b"%d" % at for at in range(300)]
    caller.close()
    await asyncio.wait_for(serving, 10)


async def test_an_error_keeps_its_words_and_its_place() -> None:
    ours, theirs = _pair()
    serving = asyncio.create_task(serve(theirs, b"", [_service()]))
    caller = Caller(ours)
    with pytest.raises(GRPCError) as caught:
        await _ask(caller, b"fail")
    assert (caught.value.status, caught.value.message) == (Status.UNKNOWN, "it failed")
    caller.close()
    await asyncio.wait_for(serving, 10)


async def test_a_client_that_goes_cancels_its_calls() -> None:
    ours, theirs = _pair()
    serving = asyncio.create_task(serve(theirs, b"", [_service()]))
    caller = Caller(ours)
    waiting = asyncio.create_task(_ask(caller, b"wait"))
    await asyncio.sleep(0.01)
    caller.close()
    with pytest.raises(StreamTerminatedError):
        await waiting
    await asyncio.wait_for(serving, 10)


async def test_a_session_that_has_ended_is_a_failed_build() -> None:
    ours, theirs = _pair()
    caller = Caller(ours)
    await caller.__connect__()
    theirs.close()
    await asyncio.wait_for(caller.ended.wait(), 10)
    with pytest.raises(BuildFailed, match="the client's session ended"), translated():
        await _ask(caller, b"abc")
    caller.close()
