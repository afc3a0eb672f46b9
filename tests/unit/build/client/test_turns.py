"""Calls between a client without a loop of its own and a builder on asyncio: windows, ends, and what fails."""

import asyncio
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from knarr.build.client import lending
from knarr.build.client.exchange import Answering, Caller, Link
from knarr.build.client.packets import Raw
from knarr.build.client.turns import Bell, Turns
from knarr.build.proto.ssh_pb2 import BytesMessage
from knarr.grpc.server import serve
from knarr.grpc.services import Service
from knarr.grpc.status import Lost, RpcError, Status
from tests.unit.build.client.support import called

LARGE = 5 << 20


async def test_more_than_the_windows_goes_both_ways() -> None:
    async def echo(stream: Answering) -> None:
        while messages := await stream.receive_many():
            await stream.send_many(messages)

    service = Service("test.Echo")
    service.streaming("Echo", echo, Raw)
    async with called(service) as caller, caller.stream("/test.Echo/Echo", Raw) as stream:
        sent = [Raw(os.urandom(LARGE)) for _ in range(5)]

        async def send() -> None:
            for each in sent:
                await stream.send(each)
            await stream.end()

        sending = asyncio.create_task(send())
        assert [await stream.receive() for _ in sent] == sent
        assert await stream.receive() is None
        await sending


async def test_what_a_handler_raises() -> None:
    async def refuse(_: Raw, __: Any) -> Raw:
        raise RpcError(Status.NOT_FOUND, "not here")

    async def break_down(_: Raw, __: Any) -> Raw:
        raise KeyError("oh")

    service = Service("test.Bad")
    service.unary("Refuse", refuse, Raw)
    service.unary("Break", break_down, Raw)
    async with called(service) as caller:
        for method, status, text in (
            ("Refuse", Status.NOT_FOUND, "not here"),
            ("Break", Status.UNKNOWN, "KeyError: 'oh'"),
            ("None", Status.UNIMPLEMENTED, "unknown method /test.Bad/None"),
        ):
            with pytest.raises(RpcError) as caught:
                await caller.unary(f"/test.Bad/{method}", Raw(b"x"), Raw)
            assert (caught.value.status, caught.value.message) == (status, text)


def calling(services: list[Service], use: Callable[[Turns, Caller], Any]) -> Any:
    """What `use` gives of a server on a thread of its own."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    serving = threading.Thread(target=lambda: asyncio.run(serve(theirs, b"", services)))
    serving.start()
    turns = Turns()
    link = Link(turns, ours, b"")
    try:
        return use(turns, Caller(link))
    finally:
        turns.close()
        link.close()
        serving.join()


def test_a_call_and_its_answer() -> None:
    async def double(asked: Raw, _: Any) -> Raw:
        return Raw(asked.data * 2)

    async def refuse(_: Raw, __: Any) -> Raw:
        raise RpcError(Status.ABORTED, "no")

    service = Service("test.Two")
    service.unary("Double", double, Raw)
    service.unary("Refuse", refuse, Raw)

    def use(turns: Turns, caller: Caller) -> Any:
        data = os.urandom(LARGE)
        good = turns.start(caller.unary("/test.Two/Double", Raw(data), Raw.FromString))
        bad = turns.start(caller.unary("/test.Two/Refuse", Raw(b""), Raw.FromString))
        turns.run(lambda: good.done and bad.done)
        assert good.result().data == data * 2
        with pytest.raises(RpcError, match="no"):
            bad.result()

    calling([service], use)


def test_a_builder_that_goes_is_lost() -> None:
    ours, theirs = socket.socketpair()
    turns = Turns()
    link = Link(turns, ours, b"")
    task = turns.start(Caller(link).unary("/test/Call", Raw(b"x"), Raw.FromString))
    assert not turns.run(lambda: task.done, 0)
    theirs.close()
    turns.run(lambda: task.done)
    with pytest.raises(Lost):
        task.result()
    link.close()


def test_what_still_runs_at_the_end_is_closed() -> None:
    turns = Turns()
    ended = []

    async def wait() -> None:
        try:
            await turns.park(set())
        finally:
            ended.append(True)

    task = turns.start(wait())
    assert not turns.run(lambda: task.done, 0)
    turns.close()
    assert ended == [True]


def test_a_bell_is_heard_once_however_often_it_rang() -> None:
    turns, bell = Turns(), Bell()
    heard = []

    def hear(_: int) -> None:
        bell.hush()
        heard.append(True)

    turns.watch(bell.fileno(), 1, hear)
    bell.ring()
    bell.ring()
    turns.run(lambda: bool(heard))
    assert not turns.run(lambda: len(heard) > 1, 0)
    turns.unwatch(bell.fileno())
    bell.close()


async def test_an_agent_is_asked_and_answers(tmp_path: Path) -> None:
    path = str(tmp_path / "agent")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data.upper())
        writer.write(b"bye")
        writer.close()

    async with (
        await asyncio.start_unix_server(answer, path),
        called(lending.Agents({"default": path}).service()) as caller,
    ):
        async with caller.stream("/moby.sshforward.v1.SSH/ForwardAgent", BytesMessage) as stream:
            for text in (b"one", b"two"):
                await stream.send(BytesMessage(data=text))
                reply = await stream.receive()
                assert reply is not None
                assert reply.data == text.upper()
            await stream.end()
            reply = await stream.receive()
            assert reply is not None
            assert reply.data == b"bye"
            assert await stream.receive() is None
