"""An image's configuration while a stage is built: what instructions change in it, and its JSON.

The fields are those of the OCI and Docker image specifications; others of a base image are dropped, as BuildKit drops them.
"""

import json
from dataclasses import dataclass, field, replace
from typing import Any

from knarr.build.dockerfile.errors import DockerfileError
from knarr.build.dockerfile.golike import quote
from knarr.build.dockerfile.instructions import Health
from knarr.model.durations import format_duration
from knarr.model.platform import Platform

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
COMMENT = "buildkit.dockerfile.v0"
Json = dict[str, Any]
_HISTORY = ("created", "created_by", "author", "comment", "empty_layer")
_HEALTH = ("Test", "Interval", "Timeout", "StartPeriod", "StartInterval", "Retries")


@dataclass(slots=True)
class Image:
    """A configuration. Lists are replaced, never changed in place, so copies may share them."""

    os: str = ""
    architecture: str = ""
    variant: str = ""
    os_version: str = ""
    os_features: list[str] | None = None
    author: str = ""
    layers: list[str] | None = None
    layers_type: str = ""
    history: list[Json] = field(default_factory=list)
    user: str = ""
    ports: dict[str, Json] | None = None
    env: list[str] = field(default_factory=list)
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    volumes: dict[str, Json] | None = None
    workdir: str = ""
    labels: dict[str, str] | None = None
    stop_signal: str = ""
    args_escaped: bool = False
    health: Json | None = None
    onbuild: list[str] = field(default_factory=list)
    shell: list[str] = field(default_factory=list)
    created: str = ""

    def copied(self) -> "Image":
        """A copy for a stage that builds on this one."""
        return replace(self)

    @property
    def platform(self) -> Platform:
        """What it runs on."""
        return Platform(self.os, self.architecture, self.variant)

    def record(self, created_by: str, *, layer: bool = False, created: str = "") -> None:
        """A line of the history."""
        entry: Json = {"created": created} if created else {}
        entry |= {"created_by": created_by, "comment": COMMENT}
        if not layer:
            entry["empty_layer"] = True
        self.history = [*self.history, entry]

    def set_env(self, name: str, value: str) -> None:
        """Sets a variable where it stands, or at the end."""
        env = list(self.env)
        for index, variable in enumerate(env):
            if variable.partition("=")[0] == name:
                env[index] = f"{name}={value}"
                break
        else:
            env.append(f"{name}={value}")
        self.env = env

    def to_json(self) -> Json:
        """In the order in which BuildKit writes it."""
        health = self.health
        config: Json = {
            "User": self.user,
            "ExposedPorts": _sorted(self.ports),
            "Env": self.env,
            "Entrypoint": self.entrypoint,
            "Cmd": self.cmd,
            "Volumes": _sorted(self.volumes),
            "WorkingDir": self.workdir,
            "Labels": _sorted(self.labels),
            "StopSignal": self.stop_signal,
            "ArgsEscaped": self.args_escaped,
            "Healthcheck": None if health is None else {k: health[k] for k in _HEALTH if health.get(k)},
            "OnBuild": self.onbuild,
            "Shell": self.shell,
        }
        head = {
            "created": self.created,
            "author": self.author,
        }
        tail = {"os.version": self.os_version, "os.features": self.os_features, "variant": self.variant}
        return {
            **_given(head),
            "architecture": self.architecture,
            "os": self.os,
            **_given(tail),
            "rootfs": {"type": self.layers_type, "diff_ids": self.layers},
            **_given({"history": [_entry(entry) for entry in self.history]}),
            "config": {
                name: value
                for name, value in config.items()
                if value or (name == "Healthcheck" and value is not None)
            },
        }


def _entry(entry: Json) -> Json:
    return {name: entry[name] for name in _HISTORY if entry.get(name)}


def _given(values: Json) -> Json:
    return {name: value for name, value in values.items() if value}


def _sorted(values: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if values is None else dict(sorted(values.items()))


def empty(platform: Platform) -> Image:
    """What `FROM scratch` begins with."""
    return Image(
        platform.os,
        platform.architecture,
        platform.variant,
        layers_type="layers",
        workdir="/",
        env=[f"PATH={PATH}"],
    )


def from_json(data: bytes) -> Image:
    """A base image's configuration. Raises DockerfileError when it is none."""
    try:
        document = json.loads(data)
        return _read(document)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DockerfileError(f"failed to parse image config: {error}") from None


def _read(document: Json) -> Image:
    config = _object(document.get("config"))
    rootfs = _object(document.get("rootfs"))
    return Image(
        os=_text(document.get("os")),
        architecture=_text(document.get("architecture")),
        variant=_text(document.get("variant")),
        os_version=_text(document.get("os.version")),
        os_features=_list(document.get("os.features")),
        author=_text(document.get("author")),
        layers=_list(rootfs.get("diff_ids")),
        layers_type=_text(rootfs.get("type")),
        history=[_entry(_object(entry)) for entry in document.get("history") or []],
        user=_text(config.get("User")),
        ports=_keys(config.get("ExposedPorts")),
        env=_list(config.get("Env")) or [],
        entrypoint=_list(config.get("Entrypoint")),
        cmd=_list(config.get("Cmd")),
        volumes=_keys(config.get("Volumes")),
        workdir=_text(config.get("WorkingDir")),
        labels=None if config.get("Labels") is None else {k: _text(v) for k, v in config["Labels"].items()},
        stop_signal=_text(config.get("StopSignal")),
        args_escaped=bool(config.get("ArgsEscaped")),
        health=_health(config.get("Healthcheck")),
        onbuild=_list(config.get("OnBuild")) or [],
        shell=_list(config.get("Shell")) or [],
        created=_text(document.get("created")),
    )


def _health(value: object) -> Json | None:
    return (
        None if value is None else {name: _object(value)[name] for name in _HEALTH if name in _object(value)}
    )


def _object(value: object) -> Json:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise TypeError(f"cannot read {type(value).__name__} as an object")
    return value


def _text(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError(f"cannot read {type(value).__name__} as a string")
    return value


def _list(value: object) -> list[str] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise TypeError(f"cannot read {type(value).__name__} as a list")
    return [_text(item) for item in value]


def _keys(value: object) -> dict[str, Json] | None:
    return None if value is None else {name: {} for name in _object(value)}


def health_json(health: Health) -> Json:
    """The configuration's form of HEALTHCHECK."""
    return dict(zip(_HEALTH, (list(health.test), *health[1:]), strict=True))


def health_text(health: Health) -> str:
    """The history's form: Go's %+v of the structure."""
    durations = " ".join(
        f"{name}:{format_duration(value)}" for name, value in zip(_HEALTH[1:5], health[1:5], strict=True)
    )
    return f"{{Test:[{' '.join(health.test)}] {durations} Retries:{health.retries}}}"


def go_list(words: tuple[str, ...] | list[str]) -> str:
    """Go's %v of a slice of strings."""
    return f"[{' '.join(words)}]"


def go_quoted_list(words: tuple[str, ...] | list[str]) -> str:
    """Go's %q of a slice of strings."""
    return f"[{' '.join(quote(word) for word in words)}]"
