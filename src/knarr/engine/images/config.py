"""An image's configuration: the JSON of the OCI image spec (config.md) to `model.image` values and back. Pure."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from knarr.engine.images.errors import BadImage
from knarr.model.container import Healthcheck
from knarr.model.digest import Digest
from knarr.model.errors import Invalid
from knarr.model.image import History, Image, ImageConfig
from knarr.model.moments import parse_rfc3339, rfc3339
from knarr.model.platform import Platform
from knarr.model.ports import Port

Json = dict[str, Any]
# What was read is typed once more: a row that cannot be read back would stand in the way of every list.
_NO_TEXT = re.compile("[\ud800-\udfff]")
_image_type = msgspec.json.Decoder(Image)
_history_type = msgspec.json.Decoder(tuple[History, ...])


def load_json(data: bytes, what: str) -> Json:
    """An object. Raises BadImage."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadImage(f"invalid {what}: {error}") from None
    if not isinstance(value, dict):
        raise BadImage(f"invalid {what}: not an object")
    return value


def dump_json(value: Mapping[str, Any] | Sequence[Any]) -> bytes:
    """The one form in which this store writes JSON: compact, in the order given."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return _NO_TEXT.sub("\ufffd", text).encode()


def parse_image(data: bytes, *, manifest: Digest | None = None) -> Image:
    """Reads a configuration blob; its digest is the image's id. Raises BadImage."""
    value = load_json(data, "image configuration")
    try:
        return _image_type.decode(msgspec.json.encode(_image(value, Digest.of(data), manifest)))
    except (Invalid, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise BadImage(f"invalid image configuration: {error!r}") from None


def _image(value: Json, identity: Digest, manifest: Digest | None) -> Image:
    rootfs = value.get("rootfs") or {}
    if rootfs.get("type", "layers") != "layers":
        raise BadImage(f"unsupported rootfs type {rootfs.get('type')!r}")
    return Image(
        id=identity,
        platform=Platform(
            value.get("os") or "linux", value.get("architecture") or "amd64", value.get("variant") or ""
        ),
        config=parse_config(value.get("config") or {}),
        layers=tuple(Digest.parse(text) for text in rootfs.get("diff_ids") or ()),
        created=_moment(value.get("created")),
        author=value.get("author") or "",
        comment=value.get("comment") or "",
        docker_version=value.get("docker_version") or "",
        os_version=value.get("os.version") or "",
        manifest=manifest,
    )


def _moment(text: str | None) -> int:
    return parse_rfc3339(text) if text else 0


def parse_config(value: Json) -> ImageConfig:
    """The `config` member: what containers inherit."""
    return ImageConfig(
        user=value.get("User") or "",
        exposed_ports=tuple(sorted(Port.parse(text) for text in value.get("ExposedPorts") or ())),
        environment=tuple(value.get("Env") or ()),
        entrypoint=_words(value.get("Entrypoint")),
        command=_words(value.get("Cmd")),
        volumes=tuple(sorted(value.get("Volumes") or ())),
        working_dir=value.get("WorkingDir") or "",
        labels=value.get("Labels"),
        stop_signal=value.get("StopSignal") or "",
        healthcheck=_healthcheck(value.get("Healthcheck")),
        shell=tuple(value.get("Shell") or ()),
        on_build=tuple(value.get("OnBuild") or ()),
        args_escaped=bool(value.get("ArgsEscaped")),
    )


def _words(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    return (value,) if isinstance(value, str) else tuple(value)


def _healthcheck(value: Json | None) -> Healthcheck | None:
    if not value:
        return None
    return Healthcheck(
        test=tuple(value.get("Test") or ()),
        interval=value.get("Interval") or 0,
        timeout=value.get("Timeout") or 0,
        start_period=value.get("StartPeriod") or 0,
        start_interval=value.get("StartInterval") or 0,
        retries=value.get("Retries") or 0,
    )


def dump_config(config: ImageConfig) -> Json:
    """The `config` member, without what it does not say."""
    check = config.healthcheck
    value: Json = {
        "User": config.user,
        "ExposedPorts": {str(port): {} for port in config.exposed_ports},
        "Env": list(config.environment),
        "Entrypoint": None if config.entrypoint is None else list(config.entrypoint),
        "Cmd": None if config.command is None else list(config.command),
        "Volumes": {path: {} for path in config.volumes},
        "WorkingDir": config.working_dir,
        "Labels": dict(config.labels) if config.labels else None,
        "StopSignal": config.stop_signal,
        "Healthcheck": None if check is None else _dump_healthcheck(check),
        "Shell": list(config.shell),
        "OnBuild": list(config.on_build),
    }
    return {key: member for key, member in value.items() if member not in ("", None, [], {})}


def _dump_healthcheck(check: Healthcheck) -> Json:
    value = {
        "Test": list(check.test),
        "Interval": check.interval,
        "Timeout": check.timeout,
        "StartPeriod": check.start_period,
        "StartInterval": check.start_interval,
        "Retries": check.retries,
    }
    return {key: member for key, member in value.items() if member}


def dump_image(
    *,
    platform: Platform,
    config: ImageConfig,
    layers: Sequence[Digest],
    created: int,
    author: str = "",
    comment: str = "",
    history: Sequence[History] = (),
) -> bytes:
    """A new configuration blob."""
    value: Json = {
        "architecture": platform.architecture,
        "os": platform.os,
        "config": dump_config(config),
        "created": rfc3339(created),
        "history": [_dump_history(step) for step in history],
        "rootfs": {"type": "layers", "diff_ids": [str(layer) for layer in layers]},
    }
    optional = {"variant": platform.variant, "author": author, "comment": comment}
    value.update({key: text for key, text in optional.items() if text})
    return dump_json(dict(sorted(value.items())))


def _dump_history(step: History) -> Json:
    value: Json = {"created": rfc3339(step.created)}
    optional = {"created_by": step.created_by, "author": step.author, "comment": step.comment}
    value.update({key: text for key, text in optional.items() if text})
    if step.empty_layer:
        value["empty_layer"] = True
    return value


def parse_history(data: bytes) -> tuple[History, ...]:
    """The steps of a configuration blob, oldest first, without ids, tags and sizes. Raises BadImage."""
    steps = load_json(data, "image configuration").get("history") or ()
    try:
        found = tuple(
            History(
                created=_moment(step.get("created")),
                created_by=step.get("created_by") or "",
                author=step.get("author") or "",
                comment=step.get("comment") or "",
                empty_layer=bool(step.get("empty_layer")),
            )
            for step in steps
        )
        return _history_type.decode(msgspec.json.encode(found))
    except (Invalid, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise BadImage(f"invalid image history: {error!r}") from None
