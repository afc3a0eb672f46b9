"""/containers: their lives. (`archive` has docker cp, `execs` the processes beside them.)"""

import asyncio
import re
import time
from collections.abc import Awaitable
from typing import Any

from knarr.api.server import asking, listing, streams, telling
from knarr.api.server.call import Call, Route
from knarr.api.server.errors import message, status
from knarr.api.server.images import reference
from knarr.api.server.replies import encode, nothing, reply
from knarr.api.spec import containers as spec
from knarr.engine.committing import Commit
from knarr.engine.errors import BadName, NameTaken
from knarr.engine.values import AttachOptions, LogOptions, PortChange, Waited
from knarr.loop.http.messages import Response
from knarr.model.errors import Invalid, KnarrError
from knarr.model.platform import Platform
from knarr.wire import detachkeys

_UNIX = re.compile(r"(-?\d+)(?:\.(\d{1,9})\d*)?\Z")


async def create(call: Call) -> Response:
    """POST /containers/create"""
    body = await call.json(spec.Create, needed=True)
    platform = call.text("platform")
    if platform:
        Platform.parse(platform)
    asked = asking.container(body, call.version, platform)
    created = await call.engine.containers.create(asked, name=call.text("name") or None)
    warnings = (*created.warnings, *asking.warnings(body, call.version))
    return reply({"Id": created.id, "Warnings": list(warnings)}, 201)


async def list_(call: Call) -> Response:
    """GET /containers/json"""
    views = await call.engine.containers.list(
        all=call.flag("all"),
        limit=call.integer("limit") or 0,
        size=call.flag("size"),
        filters=call.filters(),
    )
    now = time.time_ns()
    return reply([listing.summary(view, call.version, now) for view in views])


async def inspect(call: Call) -> Response:
    """GET /containers/{name}/json"""
    view = await call.engine.containers.inspect(call.name, size=call.flag("size"))
    return reply(telling.inspect(view, call.version))


async def start(call: Call) -> Response:
    """POST /containers/{name}/start; knarr's own `?explain=1` answers with the steps that were walked."""
    if call.text("checkpoint"):
        raise Invalid("checkpoint is only supported in experimental mode")
    if len(await call.request.read(1 << 20)) > 7:
        raise Invalid(
            "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24"
        )
    explain = call.flag("explain")
    steps = await call.engine.containers.start(
        call.name, detach_keys=call.text("detachKeys"), explain=explain
    )
    if not explain:
        return nothing()
    return reply(
        [
            {
                "Room": step.room,
                "Name": step.name,
                "Reason": step.reason,
                "At": step.at,
                "Duration": step.duration,
                "Objects": dict(step.objects),
            }
            for step in steps
        ]
    )


async def stop(call: Call) -> Response:
    """POST /containers/{name}/stop"""
    timeout = call.integer("t")
    try:
        await call.engine.containers.stop(call.name, signal=call.text("signal"), timeout=timeout)
    except Invalid as error:
        raise Invalid(f"cannot stop container: {call.name}: {error}") from None
    return nothing()


async def restart(call: Call) -> Response:
    """POST /containers/{name}/restart"""
    timeout = call.integer("t")
    try:
        await call.engine.containers.restart(call.name, signal=call.text("signal"), timeout=timeout)
    except Invalid as error:
        raise Invalid(f"Cannot restart container {call.name}: {error}") from None
    return nothing()


async def kill(call: Call) -> Response:
    """POST /containers/{name}/kill"""
    try:
        await call.engine.containers.kill(call.name, call.text("signal") or "SIGKILL")
    except KnarrError as error:
        return reply({"message": f"cannot kill container: {call.name}: {message(error)}"}, status(error))
    return nothing()


async def pause(call: Call) -> Response:
    """POST /containers/{name}/pause"""
    await call.engine.containers.pause(call.name)
    return nothing()


async def unpause(call: Call) -> Response:
    """POST /containers/{name}/unpause"""
    await call.engine.containers.unpause(call.name)
    return nothing()


async def rename(call: Call) -> Response:
    """POST /containers/{name}/rename"""
    try:
        await call.engine.containers.rename(call.name, call.text("name"))
    except (NameTaken, BadName) as error:
        return reply({"message": f"Error when allocating new name: {error}"}, status(error))
    return nothing()


async def remove(call: Call) -> Response:
    """DELETE /containers/{name}"""
    await call.engine.containers.remove(
        call.name, force=call.flag("force"), volumes=call.flag("v"), link=call.flag("link")
    )
    return nothing()


async def update(call: Call) -> Response:
    """POST /containers/{name}/update"""
    body = await call.json(spec.Update)
    warnings = await call.engine.containers.update(
        call.name,
        asking.changes(body, call.version),
        asking.restart(body.RestartPolicy),
        body.OnUnhealthy,
        PortChange(add=asking.bindings(body.PublishAdd or {}), remove=asking.bindings(body.PublishRm or {})),
    )
    return reply({"Warnings": list(warnings) or None})


async def wait(call: Call) -> Response:
    """POST /containers/{name}/wait: from 1.30 the head goes out as soon as nothing can be missed any more."""
    condition = call.text("condition") or "not-running"
    if condition not in ("not-running", "next-exit", "removed"):
        raise Invalid(f'invalid condition: "{condition}"')
    waiting = await call.engine.containers.begin_wait(call.name, condition)
    headers = {"Content-Type": "application/json"}
    if call.version < (1, 30):
        return Response(200, _waited(await waiting), headers)
    return Response(200, _Wait(waiting), headers)


class _Wait:
    """The body of a wait: one piece, when it is over."""

    def __init__(self, waiting: Awaitable[Waited]):
        self._waiting = asyncio.ensure_future(waiting)
        self._told = False

    def __aiter__(self) -> "_Wait":
        return self

    async def __anext__(self) -> bytes:
        if self._told:
            raise StopAsyncIteration
        self._told = True
        return _waited(await self._waiting)

    async def aclose(self) -> None:
        self._waiting.cancel()


def _waited(result: Waited) -> bytes:
    value: dict[str, Any] = {"StatusCode": result.code}
    if result.error:
        value["Error"] = {"Message": result.error}
    return encode(value) + b"\n"


async def logs(call: Call) -> Response:
    """GET /containers/{name}/logs"""
    stdout, stderr = call.flag("stdout"), call.flag("stderr")
    if not stdout and not stderr:
        raise Invalid("Bad parameters: you must choose at least one stream")
    tail = call.text("tail")
    options = LogOptions(
        stdout=stdout,
        stderr=stderr,
        since=unix_time("since", call.text("since")),
        until=unix_time("until", call.text("until")),
        tail=int(tail) if tail.isdigit() else None,
        follow=call.flag("follow"),
    )
    view = await call.engine.containers.inspect(call.name)
    lines = await call.engine.containers.logs(view.id, options)
    framed = not view.spec.tty
    encoded = streams.log_encoder(framed, call.flag("timestamps"), call.flag("details"))
    kind = streams.content_type(call, framed)
    return Response(200, streams.joined(lines, encoded), {"Content-Type": kind})


def unix_time(field: str, text: str) -> int:
    """Seconds since the epoch with a fraction, as nanoseconds; 0 for none. Raises Invalid."""
    if not text:
        return 0
    match = _UNIX.match(text)
    if not match:
        raise Invalid(f'invalid value for "{field}": failed to parse value as time or duration: {text}')
    return int(match[1]) * 1_000_000_000 + int((match[2] or "").ljust(9, "0"))


async def attach(call: Call) -> Response | None:
    """POST /containers/{name}/attach: the client's socket goes to the container's shim."""
    keys = call.text("detachKeys")
    try:
        detachkeys.parse(keys)
    except Invalid:
        raise Invalid(f"Invalid detach keys ({keys}) provided") from None
    view = await call.engine.containers.check_attach(call.name)
    framed = not view.spec.tty
    options = AttachOptions(
        stdin=call.flag("stdin"),
        stdout=call.flag("stdout"),
        stderr=call.flag("stderr"),
        logs=call.flag("logs"),
        stream=call.flag("stream"),
        detach_keys=keys,
        framed=framed,
    )
    sock, tail = await streams.take_over(call, framed)
    with sock:
        try:
            await call.engine.containers.attach(view.id, sock, options, tail)
        except KnarrError as error:
            await streams.tell(sock, f"Error attaching: {error}\n".encode())
    return None


async def resize(call: Call) -> Response:
    """POST /containers/{name}/resize"""
    height, width = size(call)
    await call.engine.containers.resize(call.name, width, height)
    return Response(200)


def size(call: Call) -> tuple[int, int]:
    """The query's height and width. Raises Invalid."""
    found = []
    for key, word in (("h", "height"), ("w", "width")):
        text = call.text(key)
        if not text.isdigit():
            reason = "value out of range" if text.removeprefix("-").isdigit() else "invalid syntax"
            raise Invalid(f'invalid resize {word} "{text}": {reason}')
        if int(text) >= 1 << 32:
            raise Invalid(f'invalid resize {word} "{text}": value out of range')
        found.append(int(text))
    return found[0], found[1]


async def top(call: Call) -> Response:
    """GET /containers/{name}/top"""
    table = await call.engine.containers.top(call.name, call.text("ps_args") or "-ef")
    return reply({"Titles": list(table.titles), "Processes": [list(row) for row in table.rows]})


async def changes(call: Call) -> Response:
    """GET /containers/{name}/changes"""
    found = await call.engine.containers.changes(call.name)
    return reply([{"Kind": each.kind, "Path": each.path} for each in found] or None)


async def export(call: Call) -> Response:
    """GET /containers/{name}/export"""
    body = await call.engine.containers.export(call.name)
    return Response(200, body, {"Content-Type": "application/octet-stream"})


async def commit(call: Call) -> Response:
    """POST /commit"""
    name = call.text("container")
    if not name:
        raise Invalid('invalid name or ID supplied: ""')
    body = await call.json(spec.Config)
    wish = Commit(
        ref=reference(call.text("repo"), call.text("tag")),
        config=asking.program(body, call.version),
        changes=call.texts("changes"),
        author=call.text("author"),
        comment=call.text("comment"),
        pause=call.flag("pause", True),
    )
    image = await call.engine.containers.commit(name, wish)
    return reply({"Id": str(image.id)}, 201)


async def prune(call: Call) -> Response:
    """POST /containers/prune"""
    pruned = await call.engine.containers.prune(call.filters())
    return reply({"ContainersDeleted": list(pruned.ids) or None, "SpaceReclaimed": pruned.space})


ROUTES = (
    Route("GET", "/containers/json", list_),
    Route("POST", "/containers/create", create),
    Route("POST", "/containers/prune", prune, lasting=True),
    Route("GET", "/containers/{name}/json", inspect),
    Route("POST", "/containers/{name}/start", start),
    Route("POST", "/containers/{name}/stop", stop, lasting=True),
    Route("POST", "/containers/{name}/restart", restart, lasting=True),
    Route("POST", "/containers/{name}/kill", kill, lasting=True),
    Route("POST", "/containers/{name}/pause", pause, lasting=True),
    Route("POST", "/containers/{name}/unpause", unpause, lasting=True),
    Route("POST", "/containers/{name}/rename", rename, lasting=True),
    Route("POST", "/containers/{name}/update", update, lasting=True),
    Route("POST", "/containers/{name}/wait", wait),
    Route("GET", "/containers/{name}/logs", logs),
    Route("POST", "/containers/{name}/attach", attach),
    Route("POST", "/containers/{name}/resize", resize),
    Route("GET", "/containers/{name}/top", top),
    Route("GET", "/containers/{name}/changes", changes),
    Route("GET", "/containers/{name}/export", export),
    Route("POST", "/commit", commit),
    Route("DELETE", "/containers/{name:path}", remove),
)
