"""One build as its client sees it: a session that lends, a call that solves, a stream that tells.

A build ends with its connections: whoever cancels these calls cancels the build.
"""

import contextlib
import os
import socket
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from knarr.build.client.exchange import Caller, Link
from knarr.build.client.packets import Raw
from knarr.build.client.turns import Turns
from knarr.build.client.updates import values
from knarr.build.errors import BuildFailed, Place
from knarr.build.told import Update
from knarr.grpc.services import Service
from knarr.grpc.status import RpcError
from knarr.wire.protobuf import Fields, message, pairs, text

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


class Ask(NamedTuple):
    """What is asked for. `attrs` are the Dockerfile frontend's; `shared_key` names the context for what is sent only once."""

    attrs: Mapping[str, str]
    exporters: Sequence[Kind] = ()
    cache_from: Sequence[Kind] = ()
    cache_to: Sequence[Kind] = ()
    entitlements: Sequence[str] = ()
    shared_key: str = ""


class _Way(NamedTuple):
    """To a builder, for one build: its name there, and that of the session."""

    turns: Turns
    caller: Caller
    ref: str
    session: str

    def done(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Its outcome, while all the rest goes on."""
        task = self.turns.start(work)
        self.turns.run(lambda: task.done)
        return task.result()


def build(dial: Dial, ask: Ask, services: Sequence[Service], heard: Heard) -> dict[str, str]:
    """What the exporters tell. `dial` takes a connection over. Blocks, and whoever interrupts it cancels the build. Raises
    BuildFailed."""
    with _connected(dial, ask, services, heard) as way:
        frontend = text(6, "dockerfile.v0") + pairs(7, ask.attrs)
        reply = way.done(way.caller.unary(_SOLVE, _request(ask, way, frontend), Fields))
        told: dict[str, str] = reply.pairs(1)
        return told


def question(dial: Dial, ask: Ask, services: Sequence[Service], heard: Heard) -> dict[str, bytes]:
    """The answer to a subrequest of the frontend (`requestid`): nothing is built. Blocks. Raises BuildFailed."""
    from knarr.build.proto import gateway_pb2 as gateway

    with _connected(dial, ask, services, heard) as way:
        solving = way.turns.start(way.caller.unary(_SOLVE, _request(ask, way), Raw.FromString))
        metadata = [(_BUILD_ID, way.ref)]
        asked = gateway.SolveRequest(
            Frontend="dockerfile.v0", FrontendOpt=ask.attrs, allowResultReturn=True, allowResultArrayRef=True
        )
        answering = way.turns.start(
            way.caller.unary(_FRONTEND, asked, gateway.SolveResponse.FromString, metadata)
        )
        way.turns.run(lambda: answering.done or solving.done)
        if solving.done:
            solving.result()
        way.turns.run(lambda: answering.done)
        found = dict(answering.result().result.metadata)
        end = gateway.ReturnRequest(result=gateway.Result(ref=gateway.Ref()))
        way.done(way.caller.unary(_RETURN, end, Raw.FromString, metadata))
        way.turns.run(lambda: solving.done)
        solving.result()
        return found


def _request(ask: Ask, way: _Way, frontend: bytes = b"") -> Raw:
    """moby.buildkit.v1.SolveRequest."""
    caches = _kinds(4, ask.cache_to) + _kinds(5, ask.cache_from)
    return Raw(
        text(1, way.ref)
        + text(5, way.session)
        + frontend
        + message(8, caches)
        + b"".join([text(9, each) for each in ask.entitlements])
        + _kinds(13, ask.exporters)
    )


def _kinds(field: int, kinds: Sequence[Kind]) -> bytes:
    return b"".join([message(field, text(1, each.type) + pairs(2, each.attrs)) for each in kinds])


@contextlib.contextmanager
def _connected(dial: Dial, ask: Ask, services: Sequence[Service], heard: Heard) -> Iterator[_Way]:
    """What was told is heard before this ends. Raises BuildFailed."""
    turns = Turns()
    ref, session = os.urandom(12).hex(), os.urandom(12).hex()
    with contextlib.ExitStack() as stack:
        stack.callback(turns.close)
        calling = Link(turns, *dial("/grpc", ()))
        stack.callback(calling.close)
        lent = Link(turns, *dial("/session", _headers(session, ask.shared_key, services)), services)
        stack.callback(lent.close)
        way = _Way(turns, Caller(calling), ref, session)
        following = turns.start(_follow(way, heard))
        try:
            yield way
        except RpcError as error:
            turns.run(lambda: following.done, PATIENCE)
            raise _failure(error) from error
        except ConnectionError as error:
            raise BuildFailed("the daemon closed the connection") from error
        turns.run(lambda: following.done, PATIENCE)
        if following.done:
            following.result()


def _headers(session: str, key: str, services: Sequence[Service]) -> Headers:
    return [
        ("X-Docker-Expose-Session-Uuid", session),
        ("X-Docker-Expose-Session-Name", "knarr"),
        *([("X-Docker-Expose-Session-Sharedkey", key)] if key else []),
        *(("X-Docker-Expose-Session-Grpc-Method", name) for service in services for name in service.methods),
    ]


async def _follow(way: _Way, heard: Heard) -> None:
    with contextlib.suppress(RpcError, ConnectionError):
        stream = way.caller.stream(_STATUS, values)
        await stream.send(Raw(text(1, way.ref)), end=True)
        while replies := await stream.receive_many():
            heard([each for reply in replies for each in reply])


def _failure(error: RpcError) -> BuildFailed:
    """The builder's words, with the place in the Dockerfile where it told one."""
    import json

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
    import base64

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
