"""Builds: BuildKit's clients take the connection over (/grpc, /session), older ones send an archive (/build).

The builder is loaded when the first of them comes.
"""

import binascii
import posixpath
import secrets
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TypeVar

import msgspec

from knarr.api.server.call import Call, Route
from knarr.api.server.replies import encode, reply
from knarr.api.server.streams import Body, error_line
from knarr.api.spec.decode import syntax
from knarr.loop.http.messages import Response
from knarr.loop.http.parser import HTTP2
from knarr.model.durations import parse_duration
from knarr.model.errors import Invalid, Unsupported
from knarr.model.reference import Reference

T = TypeVar("T")
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
    from knarr.engine.building.requests import ClassicWish

    wish = ClassicWish(
        ref=secrets.token_hex(12),
        attrs=_attributes(call),
        hosts=call.texts("extrahosts"),
        names=[str(Reference.parse(name).tagged()) for name in call.texts("t") if name],
        credentials=_credentials(call.request.headers.get("x-registry-config", "")),
        quiet=call.flag("q"),
        cache_from=_cache_from(call),
    )
    lines = await call.engine.classic_build(wish, call.request.body())

    async def body() -> AsyncIterator[bytes]:
        try:
            async for line in lines:
                yield encode(line) + b"\r\n"
        except Exception as error:
            yield error_line(error)

    return Response(200, Body(body(), lines), {"Content-Type": "application/json"})


def _refuse(call: Call) -> None:
    """What the classic API knows, and this builder does not. Raises Invalid, Unsupported."""
    version = call.text("version")
    if version == "2":
        raise Unsupported("POST /build with version=2 is not supported: BuildKit's clients use /grpc")
    if version not in ("", "1"):
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


def _attributes(call: Call) -> dict[str, str]:
    """The query by the frontend's names. Raises Invalid."""
    attrs = {"filename": call.text("dockerfile") or "Dockerfile", "image-resolve-mode": "default"}
    for name, value in _json(call, "buildargs", "build args", dict[str, str | None]).items():
        if value is not None:
            attrs[f"build-arg:{name}"] = str(value)
    for name, value in _json(call, "labels", "labels", dict[str, str]).items():
        attrs[f"label:{name}"] = str(value)
    if call.text("remote"):
        attrs["context"] = call.text("remote")
    if call.flag("nocache"):
        attrs["no-cache"] = ""
    if call.flag("pull"):
        attrs["image-resolve-mode"] = "pull"
    for key, name in _PLAIN.items():
        if call.text(key):
            attrs[name] = call.text(key)
    for key in _NUMBERS:
        # What is no number is none to dockerd.
        if call.text(key).removeprefix("-").isdigit() and int(call.text(key)):
            attrs[key] = call.text(key)
    ulimits = _json(call, "ulimits", "ulimit settings", list[_Ulimit])
    if ulimits:
        attrs["ulimit"] = ",".join(f"{each.Name}={each.Soft}:{each.Hard}" for each in ulimits)
    network = call.text("networkmode")
    if network in ("host", "none"):
        attrs["force-network-mode"] = network
    elif network not in ("", "default", "bridge"):
        attrs["network"] = network
    return attrs


_PLAIN = {
    "target": "target",
    "platform": "platform",
    "shmsize": "shm-size",
    "cgroupparent": "cgroup-parent",
    "cpusetcpus": "cpusetcpus",
    "cpusetmems": "cpusetmems",
}


_NUMBERS = ("memory", "memswap", "cpushares", "cpuperiod", "cpuquota")


class _Ulimit(msgspec.Struct):
    """One of them, as Docker has it."""

    Name: str
    Soft: int = 0
    Hard: int = 0


def _json(call: Call, key: str, name: str, kind: type[T]) -> T:
    """A field of the query that is JSON. Raises Invalid."""
    text = call.text(key)
    try:
        return msgspec.json.decode(text, type=kind | None) or kind() if text else kind()
    except msgspec.DecodeError as error:
        raise Invalid(f"error reading {name}: {syntax(text.encode(), str(error))}") from None


def _cache_from(call: Call) -> list[str] | None:
    """The images that are named; None for none. What cannot be read is none, as dockerd has it."""
    try:
        return msgspec.json.decode(call.text("cachefrom") or "null", type=list[str] | None) or None
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None


class _Login(msgspec.Struct):
    """One entry of X-Registry-Config."""

    username: str = ""
    password: str = ""
    auth: str = ""
    identitytoken: str = ""


def _credentials(header: str) -> dict[str, tuple[str, str]]:
    """User and secret by registry host; what cannot be read is nothing, as dockerd has it."""
    try:
        data = urlsafe_b64decode(header + "=" * (-len(header) % 4)) or b"{}"
        logins = msgspec.json.decode(data, type=dict[str, _Login])
    except (binascii.Error, ValueError, msgspec.DecodeError, msgspec.ValidationError):
        return {}
    return {
        _host(name): (login.username, login.identitytoken or login.password) for name, login in logins.items()
    }


def _host(name: str) -> str:
    """Docker Hub's entry has the address of its old index."""
    bare = name.partition("://")[2] or name
    return "registry-1.docker.io" if bare.startswith("index.docker.io") else bare.partition("/")[0]


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
    Route("POST", "/build/prune", prune),
)
