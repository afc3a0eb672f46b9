"""Both halves of gRPC against each other over a socket pair."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable

import pytest
from google.protobuf.any_pb2 import Any as Packed

from knarr.build.proto.session_pb2 import BytesMessage
from knarr.grpc import core, frames
from knarr.grpc.client import Caller
from knarr.grpc.server import serve
from knarr.grpc.services import Call, Service
from knarr.grpc.status import Lost, RpcError, Status
from knarr.grpc.streams import MESSAGE, WINDOW
from knarr.grpc.transport import Link

SAY, TALK, FILL = "/test.Echo/Say", "/test.Echo/Talk", "/test.Echo/Fill"
Bytes = Call[BytesMessage]


class Echo:
    """What the tests call. `ended` gets the name of each call that was cancelled."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.ended: asyncio.Queue[str] = asyncio.Queue()
        self.service = Service("test.Echo")
        self.service.unary("Say", self.say, BytesMessage)
        self.service.streaming("Talk", self.talk, BytesMessage)
        self.service.streaming("Fill", self.fill, BytesMessage)

    async def say(self, asked: BytesMessage, metadata: object) -> BytesMessage:
        match asked.data:
            case b"wait":
                self.begun.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    self.ended.put_nowait("say")
            case b"fail":
                detail = Packed(type_url="x/y", value=b"z" * 300_000)
                raise RpcError(Status.ABORTED, "100 % nö\n", [detail])
            case b"bug":
                raise ZeroDivisionError("of ours")
        return BytesMessage(data=asked.data[::-1])

    async def talk(self, stream: Bytes) -> None:
        await stream.send_headers([("x-said", ",".join(stream.metadata.all("x-word")))])
        while (message := await stream.receive()) is not None:
            if message.data == b"stop":
                return
            await stream.send(message)

    async def fill(self, stream: Bytes) -> None:
        """As many bytes as are asked for, in messages of such a size."""
        asked = await stream.receive()
        assert asked is not None
        total, size = map(int, asked.data.split())
        self.begun.set()
        try:
            for _ in range(total // size):
                await stream.send(BytesMessage(data=bytes(size)))
        finally:
            self.ended.put_nowait("fill")


@contextlib.asynccontextmanager
async def called(*services: Service) -> AsyncIterator[Caller]:
    ours, theirs = pair()
    serving = asyncio.create_task(serve(theirs, b"", services))
    caller = await Caller.over(ours)
    try:
        async with asyncio.timeout(60):
            yield caller
    finally:
        caller.close()
        await asyncio.wait_for(serving, 60)


def pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


async def ask(caller: Caller, data: bytes) -> bytes:
    return (await caller.unary(SAY, BytesMessage(data=data), BytesMessage)).data


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while True:
            if condition():
                return
            await asyncio.sleep(0.001)


async def test_calls_go_over_a_socket_that_was_taken_over() -> None:
    async with called(Echo().service) as caller:
        assert await ask(caller, b"abc") == b"cba"
        assert await ask(caller, bytes(range(256)) * 4096) == (bytes(range(256)) * 4096)[::-1]
        assert await ask(caller, b"") == b""


async def test_bytes_that_came_before_are_served_first() -> None:
    ours, theirs = pair()
    caller = await Caller.over(ours)
    asking = asyncio.create_task(ask(caller, b"abc"))
    early = b""
    while b"abc" not in early:
        early += await asyncio.get_running_loop().sock_recv(theirs, 1 << 16)
    serving = asyncio.create_task(serve(theirs, early, [Echo().service]))
    assert await asyncio.wait_for(asking, 60) == b"cba"
    caller.close()
    await asyncio.wait_for(serving, 60)


async def test_hundreds_of_calls_wait_at_the_same_time() -> None:
    """As those of a bake of many targets: each build has a call that waits for its end, and one that waits for news."""
    barrier = asyncio.Barrier(300)

    async def meet(asked: BytesMessage, _: object) -> BytesMessage:
        await barrier.wait()
        return asked

    service = Service("test.Echo")
    service.unary("Say", meet, BytesMessage)
    async with called(service) as caller:
        answers = await asyncio.gather(*(ask(caller, b"%d" % at) for at in range(300)))
    assert answers == [b"%d" % at for at in range(300)]


async def test_an_error_keeps_its_words_and_its_details() -> None:
    async with called(Echo().service) as caller:
        with pytest.raises(RpcError) as caught:
            await ask(caller, b"fail")
        assert (caught.value.status, caught.value.message) == (Status.ABORTED, "100 % nö\n")
        (detail,) = caught.value.details
        assert (detail.type_url, detail.value) == ("x/y", b"z" * 300_000)
        assert await ask(caller, b"on") == b"no"


async def test_a_bug_is_told_to_the_loop_and_not_to_the_client() -> None:
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
    async with called(Echo().service) as caller:
        with pytest.raises(RpcError, match="internal error"):
            await ask(caller, b"bug")
    assert [type(each) for each in told] == [ZeroDivisionError]


async def test_what_is_not_there_is_unimplemented() -> None:
    async with called(Echo().service) as caller:
        for path in ("/test.Echo/None", "/none", "/"):
            with pytest.raises(RpcError) as caught:
                await caller.unary(path, BytesMessage(), BytesMessage)
            assert caught.value.status == Status.UNIMPLEMENTED


async def test_a_stream_goes_both_ways_at_once() -> None:
    async with called(Echo().service) as caller:
        async with caller.stream(TALK, BytesMessage, [("X-Word", "a"), ("x-word", "b")]) as stream:
            for word in (b"a", b"", b"c" * 100_000):
                await stream.send(BytesMessage(data=word))
                answer = await stream.receive()
                assert answer is not None
                assert answer.data == word
            await stream.send_many([BytesMessage(data=b"%d" % at) for at in range(1000)])
            await stream.end()
            found = []
            while messages := await stream.receive_many():
                found += [message.data for message in messages]
            assert found == [b"%d" % at for at in range(1000)]
            assert await stream.receive() is None
            assert await stream.receive_many() == []


async def test_who_sends_after_the_servers_last_word_hears_of_it() -> None:
    async with called(Echo().service) as caller:
        with pytest.raises(Lost):
            async with caller.stream(TALK, BytesMessage) as stream:
                await stream.send(BytesMessage(data=b"stop"))
                assert await stream.receive() is None
                await stream.send(BytesMessage())
        with pytest.raises(RpcError) as caught:
            async with caller.stream("/none/none", BytesMessage) as stream:
                while True:
                    await stream.send(BytesMessage(data=bytes(1000)))
        assert caught.value.status == Status.UNIMPLEMENTED


@pytest.mark.parametrize("size", [1, 1000, 1 << 20, WINDOW + 1, MESSAGE - 10])
async def test_more_than_every_window_comes_through(size: int) -> None:
    total = max(40 << 20, size) if size > 1 else 100_000
    async with called(Echo().service) as caller:
        async with caller.stream(FILL, BytesMessage) as stream:
            await stream.send(BytesMessage(data=b"%d %d" % (total, size)), end=True)
            came = 0
            while messages := await stream.receive_many():
                came += sum(len(message.data) for message in messages)
            assert came == total // size * size


async def test_a_message_that_is_too_large_is_refused_and_no_more() -> None:
    async with called(Echo().service) as caller:
        with pytest.raises(RpcError) as caught:
            await ask(caller, bytes(MESSAGE + 1))
        assert caught.value.status == Status.RESOURCE_EXHAUSTED
        assert await ask(caller, b"on") == b"no"


async def test_who_does_not_receive_holds_up_the_sender_and_nobody_else() -> None:
    echo = Echo()
    async with called(echo.service) as caller:
        with pytest.raises(RpcError, match="given up"):
            async with caller.stream(FILL, BytesMessage) as stalled:
                await stalled.send(BytesMessage(data=b"%d %d" % (100 << 20, 1 << 16)), end=True)
                await until(lambda: stalled.waiting >= WINDOW - (1 << 16))
                assert stalled.waiting <= WINDOW
                assert echo.ended.empty()
                assert await ask(caller, bytes(1 << 20)) == bytes(1 << 20)
                assert stalled.waiting <= WINDOW
                stalled.cancel()
        assert await echo.ended.get() == "fill"


async def test_messages_of_several_tasks_do_not_mix() -> None:
    async with called(Echo().service) as caller:
        async with caller.stream(TALK, BytesMessage) as stream:

            async def send(letter: bytes) -> None:
                for _ in range(20):
                    await stream.send(BytesMessage(data=letter * 300_000))

            async def take() -> set[bytes]:
                found = set()
                for _ in range(80):
                    message = await stream.receive()
                    assert message is not None
                    found.add(message.data)
                return found

            *_, found = await asyncio.gather(*map(send, (b"a", b"b", b"c", b"d")), take())
            assert found == {letter * 300_000 for letter in (b"a", b"b", b"c", b"d")}


async def test_a_call_that_is_given_up_is_cancelled_there() -> None:
    echo = Echo()
    async with called(echo.service) as caller:
        asking = asyncio.create_task(ask(caller, b"wait"))
        await echo.begun.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert await echo.ended.get() == "say"
        assert await ask(caller, b"on") == b"no"


async def test_a_deadline_ends_both_halves() -> None:
    echo = Echo()
    async with called(echo.service) as caller:
        with pytest.raises(RpcError) as caught:
            await caller.unary(SAY, BytesMessage(data=b"wait"), BytesMessage, timeout=0.01)
        assert caught.value.status == Status.DEADLINE_EXCEEDED
        assert await echo.ended.get() == "say"


async def test_the_servers_clock_alone_ends_a_call_too() -> None:
    echo = Echo()
    async with called(echo.service) as caller:
        with pytest.raises(RpcError) as caught:
            async with caller.stream(SAY, BytesMessage, [("grpc-timeout", "10m")]) as stream:
                await stream.send(BytesMessage(data=b"wait"), end=True)
                await stream.receive()
        assert caught.value.status == Status.DEADLINE_EXCEEDED


async def test_a_client_that_goes_cancels_its_calls() -> None:
    echo = Echo()
    ours, theirs = pair()
    serving = asyncio.create_task(serve(theirs, b"", [echo.service]))
    caller = await Caller.over(ours)
    waiting = asyncio.create_task(ask(caller, b"wait"))
    await echo.begun.wait()
    caller.close()
    with pytest.raises(Lost):
        await waiting
    await asyncio.wait_for(serving, 60)
    assert echo.ended.get_nowait() == "say"
    with pytest.raises(Lost):
        await ask(caller, b"abc")


async def test_a_server_that_goes_ends_the_calls() -> None:
    echo = Echo()
    ours, theirs = pair()
    serving = asyncio.create_task(serve(theirs, b"", [echo.service]))
    caller = await Caller.over(ours)
    waiting = asyncio.create_task(ask(caller, b"wait"))
    await echo.begun.wait()
    serving.cancel()
    with pytest.raises((Lost, RpcError)):
        await waiting
    await asyncio.wait_for(caller.ended.wait(), 60)
    with contextlib.suppress(asyncio.CancelledError):
        await serving


async def test_a_peer_that_is_no_http2_is_told_and_left() -> None:
    ours, theirs = pair()
    serving = asyncio.create_task(serve(theirs, b"", [Echo().service]))
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(ours, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    said = b""
    while data := await asyncio.wait_for(loop.sock_recv(ours, 1 << 16), 60):
        said += data
    kinds = [frame[0] for frame in frames.Decoder().feed(said)]
    assert kinds == [frames.SETTINGS, frames.WINDOW_UPDATE, frames.GOAWAY]
    await asyncio.wait_for(serving, 60)
    ours.close()


async def test_calls_wait_where_a_peer_takes_few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "STREAMS", 8)
    now, most = 0, 0

    async def count(asked: BytesMessage, _: object) -> BytesMessage:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1
        return asked

    service = Service("test.Echo")
    service.unary("Say", count, BytesMessage)
    async with called(service) as caller:
        await ask(caller, b"settings have come now")
        answers = await asyncio.gather(*(ask(caller, b"%d" % at) for at in range(100)))
        given_up = [asyncio.create_task(ask(caller, b"x")) for _ in range(50)]
        await asyncio.sleep(0)
        caller.close()
        ends = await asyncio.gather(*given_up, return_exceptions=True)
    assert answers == [b"%d" % at for at in range(100)]
    assert 1 < most <= 8
    assert {type(each) for each in ends} <= {Lost, bytes}


async def test_many_messages_are_few_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[Link] = []
    flush = Link.flush

    def counted(link: Link) -> None:
        writes.append(link)
        flush(link)

    monkeypatch.setattr(Link, "flush", counted)
    async with called(Echo().service) as caller:
        async with caller.stream(FILL, BytesMessage) as stream:
            await stream.send(BytesMessage(data=b"100000 10"), end=True)
            came = 0
            while messages := await stream.receive_many():
                came += len(messages)
    assert came == 10_000
    assert len(writes) < 100
