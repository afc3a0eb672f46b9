"""Errors over gRPC: ours keep their words and their place, a client's become failures of the build."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator

import pytest

from knarr.build.errors import BuildFailed, Place
from knarr.build.frontdoor.failures import translated
from knarr.build.frontdoor.services import Service
from knarr.build.proto.session_pb2 import BytesMessage
from knarr.grpc.client import Caller
from knarr.grpc.server import serve
from knarr.grpc.status import RpcError, Status
from knarr.model.errors import Invalid, NotFound

SAY = "/test.Echo/Say"
SOURCE = b"FROM x\n" * 100_000


async def say(asked: BytesMessage, _: object) -> BytesMessage:
    match asked.data:
        case b"fail":
            raise BuildFailed("it failed", place=Place(filename="Dockerfile", source=SOURCE))
        case b"none":
            raise NotFound("no such thing")
        case _:
            raise Invalid("not so")


@contextlib.asynccontextmanager
async def called() -> AsyncIterator[Caller]:
    service = Service("test.Echo")
    service.unary("Say", say, BytesMessage)
    ours, theirs = socket.socketpair()
    for each in (ours, theirs):
        each.setblocking(False)
    serving = asyncio.create_task(serve(theirs, b"", [service]))
    caller = await Caller.over(ours)
    try:
        yield caller
    finally:
        caller.close()
        await serving


async def test_an_error_keeps_its_words_and_the_place_in_a_large_dockerfile() -> None:
    async with called() as caller:
        with pytest.raises(RpcError) as caught:
            await caller.unary(SAY, BytesMessage(data=b"fail"), BytesMessage)
    assert (caught.value.status, caught.value.message) == (Status.UNKNOWN, "it failed")
    (detail,) = caught.value.details
    assert detail.type_url.endswith("/errdefs.Source+json")
    assert len(json.loads(detail.value)["info"]["data"]) >= len(SOURCE)


@pytest.mark.parametrize(
    ("asked", "status", "words"),
    [(b"none", Status.NOT_FOUND, "no such thing"), (b"", Status.INVALID_ARGUMENT, "not so")],
)
async def test_a_kind_of_error_has_its_status(asked: bytes, status: Status, words: str) -> None:
    async with called() as caller:
        with pytest.raises(RpcError, match=words) as caught:
            await caller.unary(SAY, BytesMessage(data=asked), BytesMessage)
        assert caught.value.status == status
        with pytest.raises(BuildFailed, match=words), translated():
            await caller.unary(SAY, BytesMessage(data=asked), BytesMessage)


async def test_a_session_that_has_ended_is_a_failed_build() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    caller = await Caller.over(ours)
    theirs.close()
    await asyncio.wait_for(caller.ended.wait(), 60)
    with pytest.raises(BuildFailed, match="the client's session ended"), translated():
        await caller.unary(SAY, BytesMessage(), BytesMessage)
    caller.close()
