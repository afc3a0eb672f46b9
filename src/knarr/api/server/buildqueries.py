"""The query of POST /build: its fields by the Dockerfile frontend's names. Pure."""

import binascii
from base64 import urlsafe_b64decode
from typing import TypeVar

import msgspec

from knarr.api.server.call import Call
from knarr.api.spec.decode import syntax
from knarr.model.errors import Invalid

T = TypeVar("T")


def attributes(call: Call) -> dict[str, str]:
    """The query by the frontend's names. Raises Invalid."""
    attrs = {"filename": call.text("dockerfile") or "Dockerfile", "image-resolve-mode": "default"}
    for name, value in json_field(call, "buildargs", "build args", dict[str, str | None]).items():
        if value is not None:
            attrs[f"build-arg:{name}"] = str(value)
    for name, value in json_field(call, "labels", "labels", dict[str, str]).items():
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
    ulimits = json_field(call, "ulimits", "ulimit settings", list[_Ulimit])
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


def json_field(call: Call, key: str, name: str, kind: type[T]) -> T:
    """A field of the query that is JSON. Raises Invalid."""
    text = call.text(key)
    try:
        return msgspec.json.decode(text, type=kind | None) or kind() if text else kind()
    except msgspec.DecodeError as error:
        raise Invalid(f"error reading {name}: {syntax(text.encode(), str(error))}") from None


def cache_from(call: Call) -> list[str] | None:
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


def credentials(header: str) -> dict[str, tuple[str, str]]:
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
