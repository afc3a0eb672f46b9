"""The `--change` of import and commit: a few Dockerfile instructions applied to a configuration. Pure."""

import json
import posixpath
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace

from knarr.model.container import Healthcheck
from knarr.model.durations import parse_duration
from knarr.model.errors import Invalid
from knarr.model.image import ImageConfig
from knarr.model.ports import Port

_SHELL = ("/bin/sh", "-c")
_VARIABLE = re.compile(r"\\(.)|\$(?:\{(\w+)\}|(\w+))")


def apply_changes(config: ImageConfig, changes: Sequence[str]) -> ImageConfig:
    """Each change is an instruction, or several in lines. Raises Invalid."""
    for line in (line.strip() for change in changes for line in change.splitlines()):
        if not line or line.startswith("#"):
            continue
        word, _, rest = line.partition(" ")
        instruction = _INSTRUCTIONS.get(word.upper())
        if instruction is None:
            raise Invalid(f"{word} is not a valid change command")
        if not rest.strip() and word.upper() not in ("CMD", "ENTRYPOINT"):
            raise Invalid(f"{word.upper()} requires at least one argument")
        config = instruction(config, rest.strip())
    return config


def _command(text: str) -> tuple[str, ...] | None:
    if not text:
        return None
    listed = _json_list(text)
    return (*_SHELL, text) if listed is None else listed


def _json_list(text: str) -> tuple[str, ...] | None:
    try:
        value = json.loads(text) if text.startswith("[") else None
    except ValueError:
        return None
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        return tuple(value)
    return None


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise Invalid(f"cannot parse {text!r}: {error}") from None


def _expand(config: ImageConfig, text: str) -> str:
    """`$NAME` and `${NAME}` from the configuration's environment."""
    known = dict(entry.partition("=")[::2] for entry in config.environment)

    def value(match: re.Match[str]) -> str:
        return (match[1] and "\\" + match[1]) or known.get(match[2] or match[3], "")

    return _VARIABLE.sub(value, text)


def _pairs(name: str, text: str) -> dict[str, str]:
    """`k=v k2="v 2"`, or the old form `k v with spaces`."""
    first = text.split(None, 1)
    if "=" not in first[0]:
        if len(first) < 2:
            raise Invalid(f"{name} must have two arguments")
        return {first[0]: first[1].strip().strip('"')}
    pairs = {}
    for word in _words(text):
        key, equals, value = word.partition("=")
        if not equals:
            raise Invalid(f"Syntax error - can't find = in {word!r}. Must be of the form: name=value")
        if not key:
            raise Invalid(f"{name} names can not be blank")
        pairs[key] = value
    return pairs


def _env(config: ImageConfig, text: str) -> ImageConfig:
    values = dict(entry.partition("=")[::2] for entry in config.environment)
    values.update(_pairs("ENV", _expand(config, text)))
    return replace(config, environment=tuple(f"{key}={value}" for key, value in values.items()))


def _label(config: ImageConfig, text: str) -> ImageConfig:
    return replace(config, labels={**(config.labels or {}), **_pairs("LABEL", _expand(config, text))})


def _expose(config: ImageConfig, text: str) -> ImageConfig:
    ports = set(config.exposed_ports)
    for word in _words(_expand(config, text)):
        numbers, slash, protocol = word.partition("/")
        first, dash, last = numbers.partition("-")
        low = Port.parse(first + slash + protocol)
        high = Port.parse(last + slash + protocol) if dash else low
        ports.update(low._replace(number=number) for number in range(low.number, high.number + 1))
    return replace(config, exposed_ports=tuple(sorted(ports)))


def _volume(config: ImageConfig, text: str) -> ImageConfig:
    paths = _json_list(text)
    found = _words(_expand(config, text)) if paths is None else paths
    if not all(found):
        raise Invalid("VOLUME specified can not be an empty string")
    return replace(config, volumes=tuple(sorted({*config.volumes, *found})))


def _workdir(config: ImageConfig, text: str) -> ImageConfig:
    path = posixpath.join(config.working_dir or "/", _expand(config, text))
    return replace(config, working_dir=posixpath.normpath("/" + path.lstrip("/")))


def _entrypoint(config: ImageConfig, text: str) -> ImageConfig:
    """As in a Dockerfile, a command that the base had goes with its entrypoint only if none was set before."""
    return replace(config, entrypoint=_command(text))


def _on_build(config: ImageConfig, text: str) -> ImageConfig:
    if text.split()[0].upper() in ("ONBUILD", "FROM", "MAINTAINER"):
        raise Invalid(f"{text.split()[0].upper()} isn't allowed as an ONBUILD trigger")
    return replace(config, on_build=(*config.on_build, text))


def _healthcheck(config: ImageConfig, text: str) -> ImageConfig:
    if text.upper() == "NONE":
        return replace(config, healthcheck=Healthcheck(test=("NONE",)))
    options: dict[str, int] = {}
    while text.startswith("--"):
        option, _, text = text.partition(" ")
        name, _, value = option[2:].partition("=")
        text = text.strip()
        if name == "retries" and value.isdigit():
            options["retries"] = int(value)
        elif name in ("interval", "timeout", "start-period", "start-interval"):
            options[name.replace("-", "_")] = parse_duration(value)
        else:
            raise Invalid(f"Unknown flag: {name}")
    word, _, rest = text.partition(" ")
    if word.upper() != "CMD" or not rest.strip():
        raise Invalid("HEALTHCHECK requires at least one argument: CMD and a command, or NONE")
    listed = _json_list(rest.strip())
    test = ("CMD-SHELL", rest.strip()) if listed is None else ("CMD", *listed)
    return replace(config, healthcheck=Healthcheck(test=test, **options))


_INSTRUCTIONS: dict[str, Callable[[ImageConfig, str], ImageConfig]] = {
    "CMD": lambda config, text: replace(config, command=_command(text)),
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "ONBUILD": _on_build,
    "STOPSIGNAL": lambda config, text: replace(config, stop_signal=_expand(config, text)),
    "USER": lambda config, text: replace(config, user=_expand(config, text)),
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
