"""Builds: BuildKit's clients take the connection over (/grpc, /session), older ones send an archive (/build).

The builder is loaded when the first of them comes.
"""

import posixpath
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from knarr.api.server import directbuilds
from knarr.api.server.buildqueries import attributes, cache_from, credentials
from knarr.api.server.call import Call, Route
from knarr.api.server.replies import encode, reply
from knarr.api.server.streams import Body, error_line
from knarr.loop.http.messages import Response
from knarr.loop.http.parser import HTTP2
from knarr.model.durations import parse_duration
from knarr.model.errors import Invalid
from knarr.model.reference import Reference

_HEAD = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"


async def grpc(call: Call) -> Response | None:
    """POST /grpc: the client calls the builder."""
    _check(call)
    door = await call.engine.front_door()
    await door.grpc(*await call.request.hijack(_HEAD))
    return None


async def native(call: Call) -> Response | None:
    """A connection that speaks HTTP/2 from its first byte: all that it can want is the builder."""
    door = await call.engine.front_door()
    sock, tail = await call.request.hijack(b"")
    await door.grpc(sock, HTTP2 + tail)
    return None


async def session(call: Call) -> Response | None:
    """POST /session: the builder calls the client."""
    _check(call)
    door = await call.engine.front_door()

    def headers(name: str) -> Sequence[str]:
        return [value for value in call.request.headers.get(name, "").split(", ") if value]

    await door.session(*await call.request.hijack(_HEAD), headers)
    return None


async def build(call: Call) -> Response:
    """POST /build: the classic API. What is wrong with the Dockerfile has a status, a step that fails is a line."""
    _refuse(call)
    if call.text("version") == "2":
        return _streamed(await call.engine.direct_build(directbuilds.wish(call), call.request.body()))
    from knarr.engine.building.requests import ClassicWish

    wish = ClassicWish(
        ref=secrets.token_hex(12),
        attrs=attributes(call),
        hosts=call.texts("extrahosts"),
        names=[str(Reference.parse(name).tagged()) for name in call.texts("t") if name],
        credentials=credentials(call.request.headers.get("x-registry-config", "")),
        quiet=call.flag("q"),
        cache_from=cache_from(call),
    )
    return _streamed(await call.engine.classic_build(wish, call.request.body()))


def _streamed(lines: AsyncIterator[dict[str, Any]]) -> Response:
    async def body() -> AsyncIterator[bytes]:
        try:
            async for line in lines:
                yield encode(line) + b"\r\n"
        except Exception as error:
            yield error_line(error)

    return Response(200, Body(body(), lines), {"Content-Type": "application/json"})


async def cancel(call: Call) -> Response:
    """POST /build/cancel: the build that a client called so."""
    if not call.text("id"):
        raise Invalid("build ID not provided")
    call.engine.cancel_build(call.text("id"))
    return Response(200, b"", {"Content-Type": "application/json"})


def _refuse(call: Call) -> None:
    """What the classic API knows, and this builder does not. Raises Invalid, Unsupported."""
    version = call.text("version")
    if version not in ("", "1", "2"):
        raise Invalid(f'invalid version "{version}"')
    file = call.text("dockerfile")
    if posixpath.normpath(file).startswith(".."):
        raise Invalid(f"forbidden path outside the build context: {file} ()")
    if call.flag("squash"):
        raise Invalid("squash is only supported with experimental mode")
    if call.texts("securityopt"):
        raise Invalid("security options are not supported on linux")
    if call.text("isolation") not in ("", "default"):
        raise Invalid(f'unsupported isolation: "{call.text("isolation")}"')


async def prune(call: Call) -> Response:
    """POST /build/prune"""
    from knarr.build.pruning import Pruning
    from knarr.engine import filters as docker_filters

    filters = call.filters()
    docker_filters.check(filters, _PRUNE_FILTERS)
    if "label" in filters:
        # `docker system prune` sends its own on; what a build leaves has no labels.
        return reply({"CachesDeleted": None, "SpaceReclaimed": 0})
    filters.pop("label!", None)
    ages = [*filters.pop("until", ()), *filters.pop("unused-for", ())]
    if len(ages) > 1:
        raise Invalid("filters expect only one value")
    wish = Pruning(
        all=call.flag("all"),
        filters=_terms(filters),
        unused=parse_duration(ages[0]) if ages else 0,
        reserved=call.integer("reserved-space") or call.integer("keep-storage") or 0,
        max_used=call.integer("max-used-space") or 0,
        min_free=call.integer("min-free-space") or 0,
    )
    gone = await call.engine.build_cache().prune(wish)
    freed = sum(each.size for each in gone if not each.shared)
    return reply({"CachesDeleted": [each.id for each in gone] or None, "SpaceReclaimed": freed})


def _terms(filters: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Docker's filters as BuildKit's: all of them in one. Raises Invalid."""
    terms = []
    for name, values in filters.items():
        if len(values) > 1:
            raise Invalid("filters expect only one value")
        operator = "~=" if name == "id" else "=="
        terms.append(f"{name}{operator}{values[0]}" if values and values[0] else name)
    return (",".join(terms),) if terms else ()


_PRUNE_FILTERS = frozenset(
    {
        "description",
        "id",
        "inuse",
        "label",
        "label!",
        "parent",
        "private",
        "shared",
        "type",
        "until",
        "unused-for",
    }
)


def _check(call: Call) -> None:
    wanted = call.request.headers.get("upgrade", "")
    if not wanted:
        raise Invalid("no upgrade proto in request")
    if wanted.lower() != "h2c":
        raise Invalid(f"protocol {wanted} not supported")


ROUTES = (
    Route("POST", "/grpc", grpc),
    Route("PRI", "*", native),
    Route("POST", "/session", session),
    Route("POST", "/build", build),
    Route("POST", "/build/cancel", cancel),
    Route("POST", "/build/prune", prune),
)
