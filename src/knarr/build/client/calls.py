"""One build as its client sees it: a session that lends, a call that solves, a stream that tells.

A build ends with its connections: whoever cancels these calls cancels the build.
"""

import asyncio
import base64
import contextlib
import json
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from knarr.build.client.updates import values
from knarr.build.errors import BuildFailed, Place
from knarr.build.frontdoor.services import Service
from knarr.build.proto import control_pb2 as pb
from knarr.build.proto import gateway_pb2 as gateway
from knarr.build.told import Update
from knarr.grpc.client import Caller
from knarr.grpc.server import serve
from knarr.grpc.status import RpcError

PATIENCE = 5.0
_SOLVE = "/moby.buildkit.v1.Control/Solve"
_STATUS = "/moby.buildkit.v1.Control/Status"
_FRONTEND = "/moby.buildkit.v1.frontend.LLBBridge/Solve"
_RETURN = "/moby.buildkit.v1.frontend.LLBBridge/Return"
_BUILD_ID = "buildkit-controlapi-buildid"

Headers = Sequence[tuple[str, str]]
Dial = Callable[[str, Headers], tuple[socket.socket, bytes]]
Heard = Callable[[Sequence[Update]], None]


class Kind(NamedTuple):
    """An exporter, or a cache, by its type."""

    type: str
    attrs: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What is asked for. `attrs` are the Dockerfile frontend's; `shared_key` names the context for what is sent only once."""

    attrs: Mapping[str, str]
    exporters: Sequence[Kind] = ()
    cache_from: Sequence[Kind] = ()
    cache_to: Sequence[Kind] = ()
    entitlements: Sequence[str] = ()
    shared_key: str = ""
    ref: str = field(default_factory=lambda: secrets.token_hex(12))


async def build(dial: Dial, ask: Ask, services: Sequence[Service], heard: Heard) -> dict[str, str]:
    """What the exporters tell. `dial` takes a connection over; it blocks. Raises BuildFailed."""
    async with _connected(dial, ask, services, heard) as (caller, session):
        request = _request(ask, session)
        request.Frontend = "dockerfile.v0"
        request.FrontendAttrs.update(ask.attrs)
        reply = await caller.unary(_SOLVE, request, pb.SolveResponse)
        return dict(reply.ExporterResponse)


async def question(dial: Dial, ask: Ask, services: Sequence[Service], heard: Heard) -> dict[str, bytes]:
    """The answer to a subrequest of the frontend (`requestid`): nothing is built. Raises BuildFailed."""
    async with _connected(dial, ask, services, heard) as (caller, session):
        solving = asyncio.ensure_future(caller.unary(_SOLVE, _request(ask, session), pb.SolveResponse))
        metadata = [(_BUILD_ID, ask.ref)]
        asked = gateway.SolveRequest(
            Frontend="dockerfile.v0", FrontendOpt=ask.attrs, allowResultReturn=True, allowResultArrayRef=True
        )
        try:
            reply = await caller.unary(_FRONTEND, asked, gateway.SolveResponse, metadata=metadata)
            end = gateway.ReturnRequest(result=gateway.Result(ref=gateway.Ref()))
            await caller.unary(_RETURN, end, gateway.ReturnResponse, metadata=metadata)
            await solving
        finally:
            solving.cancel()
            await asyncio.gather(solving, return_exceptions=True)
        return dict(reply.result.metadata)


def _request(ask: Ask, session: str) -> pb.SolveRequest:
    return pb.SolveRequest(
        Ref=ask.ref,
        Session=session,
        Exporters=[pb.Exporter(Type=each.type, Attrs=each.attrs) for each in ask.exporters],
        Cache=pb.CacheOptions(
            Imports=[pb.CacheOptionsEntry(Type=each.type, Attrs=each.attrs) for each in ask.cache_from],
            Exports=[pb.CacheOptionsEntry(Type=each.type, Attrs=each.attrs) for each in ask.cache_to],
        ),
        Entitlements=ask.entitlements,
    )


@contextlib.asynccontextmanager
async def _connected(
    dial: Dial, ask: Ask, services: Sequence[Service], heard: Heard
) -> AsyncIterator[tuple[Caller, str]]:
    """The way to call the builder, and the session's name. What was told is heard before this ends. Raises BuildFailed."""
    session = secrets.token_hex(12)
    tasks: list[asyncio.Task[None]] = []
    caller = await Caller.over(*_taken(dial, "/grpc", ()))
    try:
        lent = _taken(dial, "/session", _headers(session, ask.shared_key, services))
        tasks.append(asyncio.create_task(serve(*lent, services), name="session"))
        following = asyncio.create_task(_follow(caller, ask.ref, heard), name="status")
        tasks.append(following)
        try:
            yield caller, session
        except RpcError as error:
            await asyncio.wait([following], timeout=PATIENCE)
            raise _failure(error) from error
        except ConnectionError as error:
            raise BuildFailed("the daemon closed the connection") from error
        await asyncio.wait([following], timeout=PATIENCE)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        caller.close()


def _taken(dial: Dial, path: str, headers: Headers) -> tuple[socket.socket, bytes]:
    sock, tail = dial(path, headers)
    sock.setblocking(False)
    return sock, tail


def _headers(session: str, key: str, services: Sequence[Service]) -> Headers:
    return [
        ("X-Docker-Expose-Session-Uuid", session),
        ("X-Docker-Expose-Session-Name", "knarr"),
        *([("X-Docker-Expose-Session-Sharedkey", key)] if key else []),
        *(("X-Docker-Expose-Session-Grpc-Method", name) for service in services for name in service.methods),
    ]


async def _follow(caller: Caller, ref: str, heard: Heard) -> None:
    with contextlib.suppress(RpcError, ConnectionError):
        async with caller.stream(_STATUS, pb.StatusResponse) as stream:
            await stream.send(pb.StatusRequest(Ref=ref), end=True)
            while replies := await stream.receive_many():
                heard([each for reply in replies for each in values(reply)])


def _failure(error: RpcError) -> BuildFailed:
    """The builder's words, with the place in the Dockerfile where it told one."""
    found = BuildFailed(error.message or error.status.name)
    for detail in error.details or ():
        name = detail.type_url.rpartition("/")[2]
        try:
            value = json.loads(detail.value)
        except ValueError:
            continue
        if name == "errdefs.Source+json" and found.place is None:
            found.place = _place(value)
        elif name == "errdefs.Vertex+json":
            found.vertex = str(value.get("digest", ""))
        elif name == "gatewayapi.ExitMessage+json":
            found.exit_code = int(value.get("Code", 1))
    return found


def _place(value: Mapping[str, Any]) -> Place | None:
    info = value.get("info") or {}
    ranges = [
        ((int(first.get("line", 0)), 0), (int(last.get("line", 0)), 0))
        for each in value.get("ranges") or ()
        for first, last in [(each.get("start") or {}, each.get("end") or {})]
    ]
    if not ranges:
        return None
    source = base64.b64decode(info.get("data") or "")
    return Place(filename=str(info.get("filename", "")), source=source, ranges=ranges)
