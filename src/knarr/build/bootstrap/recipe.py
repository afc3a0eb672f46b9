"""Recipes: which suite, which packages, which commands, which configuration. TOML to values, checked. Pure but for `read`."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from knarr.model.errors import Invalid
from knarr.model.reference import Reference

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_KEYS = {"name", "from", "packages", "run", "config", "files"}
_CONFIG = {
    "entrypoint": "Entrypoint",
    "cmd": "Cmd",
    "env": "Env",
    "user": "User",
    "working_dir": "WorkingDir",
    "stop_signal": "StopSignal",
    "labels": "Labels",
    "exposed_ports": "ExposedPorts",
    "volumes": "Volumes",
}
_SETS = {"exposed_ports", "volumes"}


@dataclass(frozen=True, slots=True)
class File:
    """A file that the recipe itself brings."""

    path: str
    text: str
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Recipe:
    """`base` is what it stands on; `config` is the `config` object of the image, in the image spec's names."""

    name: str
    base: str
    packages: tuple[str, ...] = ()
    run: tuple[str, ...] = ()
    files: tuple[File, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)


def read(path: Path) -> Recipe:
    """Raises Invalid."""
    try:
        value = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Invalid(f"cannot read recipe {path}: {error}") from None
    return parse(value, str(path))


def parse(value: Mapping[str, Any], where: str) -> Recipe:
    """Raises Invalid for what is missing, unknown or of the wrong type."""
    unknown = set(value) - _KEYS
    if unknown:
        raise Invalid(f"recipe {where}: unknown key {min(unknown)}")
    try:
        name, base = value["name"], value["from"]
        files = tuple(
            File(entry["path"], entry["text"].removeprefix("\n"), entry.get("mode", 0o644))
            for entry in value.get("files", ())
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise Invalid(f"recipe {where}: missing or wrong {error}") from None
    Reference.parse(name)
    return Recipe(
        name,
        base,
        _texts(value, "packages", where),
        _texts(value, "run", where),
        files,
        _config(value.get("config", {}), where),
    )


def _texts(value: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    found = value.get(key, [])
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise Invalid(f"recipe {where}: {key} must be a list of strings")
    return tuple(found)


def _config(value: Mapping[str, Any], where: str) -> dict[str, Any]:
    config: dict[str, Any] = {"Env": [PATH]}
    for key, member in value.items():
        if key not in _CONFIG:
            raise Invalid(f"recipe {where}: unknown key config.{key}")
        config[_CONFIG[key]] = {text: {} for text in member} if key in _SETS else member
    return config
