"""Build arguments outside stages: the platform's, those before the first FROM, proxies, and SOURCE_DATE_EPOCH's forms."""

from collections.abc import Mapping
from typing import NamedTuple

from knarr.build import operations as ops
from knarr.build.dockerfile import instructions as i
from knarr.build.dockerfile.errors import DockerfileError, located
from knarr.build.dockerfile.remotes import (
    check_digest,
    git_source,
    http_filename,
    http_source,
    is_http,
    parse_git,
)
from knarr.build.dockerfile.shell import Lexer
from knarr.build.dockerfile.units import SCRATCH, Declared
from knarr.model.platform import Platform

EPOCH = "SOURCE_DATE_EPOCH"
_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")


class Globals(NamedTuple):
    """The values of arguments in FROM lines, and the declarations."""

    values: dict[str, str]
    declared: dict[str, Declared]


def platform_arguments(
    here: Platform, target: Platform, given: Mapping[str, str], stage: str
) -> dict[str, str]:
    """BUILDPLATFORM, TARGETARCH and the like; a given build argument overrides."""
    values = {
        "BUILDPLATFORM": str(here),
        "BUILDOS": here.os,
        "BUILDOSVERSION": "",
        "BUILDARCH": here.architecture,
        "BUILDVARIANT": here.variant,
        "TARGETPLATFORM": str(target),
        "TARGETOS": target.os,
        "TARGETOSVERSION": "",
        "TARGETARCH": target.architecture,
        "TARGETVARIANT": target.variant,
        "TARGETSTAGE": stage or "default",
    }
    return {name: given.get(name, value) for name, value in values.items()}


def global_arguments(
    values: dict[str, str], lexer: Lexer, commands: list[i.Arg], given: Mapping[str, str]
) -> Globals:
    """The arguments before the first FROM, with the values given or their defaults."""
    values = dict(values)
    declared: dict[str, Declared] = {}
    for command in commands:
        for variable in command.variables:
            name, value, needs = variable.name, variable.value, frozenset[str]()
            if name in given:
                value = given[name]
            elif value is not None:
                with located(command.said.lines):
                    found = lexer.expand(value, values)
                value, needs = found.text, frozenset(found.found)
                if name in needs:
                    needs -= {name}
                    needs |= declared[name].needs if name in declared else frozenset()
            if value is not None:
                values.pop(name, None)
                values[name] = value
            declared[name] = Declared(variable, value or "", command.said.lines, needs)
    return Globals(values, declared)


def proxy(given: Mapping[str, str]) -> ops.Proxy | None:
    """The proxies among the build arguments, in whatever case."""
    chosen = {name.lower(): given[name] for name in sorted(given) if name.lower() in _PROXIES}
    return ops.Proxy(*(chosen.get(name, "") for name in _PROXIES)) if chosen else None


def epoch_source(
    stage: i.Stage, given: Mapping[str, str], values: Mapping[str, str], lexer: Lexer
) -> ops.Source:
    """The one remote ADD of a stage that SOURCE_DATE_EPOCH names."""
    env = {name: value for name, value in values.items() if name != EPOCH}
    try:
        base = lexer.text(stage.base, env)
    except DockerfileError as error:
        raise error.wrapped(f"failed to process source stage base name {stage.base!r}") from None
    if base != SCRATCH:
        raise DockerfileError(f"{EPOCH} stage must use FROM scratch")
    source: ops.Source | None = None
    for command in stage.commands:
        if isinstance(command, i.Arg):
            for variable in command.variables:
                if variable.name in given:
                    env[variable.name] = given[variable.name]
                elif variable.value is not None:
                    env[variable.name] = lexer.text(variable.value, env)
        elif not isinstance(command, i.Transfer) or not command.add:
            raise DockerfileError(
                f"{EPOCH} stage does not meet source-only requirements: unsupported {command.said.name} instruction"
            )
        elif source is not None:
            raise DockerfileError(f"{EPOCH} stage must contain exactly one remote ADD")
        else:
            source = _add_source(command, env, lexer)
    if source is None:
        raise DockerfileError(f"{EPOCH} stage must contain exactly one remote ADD")
    return source


def _add_source(command: i.Transfer, env: Mapping[str, str], lexer: Lexer) -> ops.Source:
    if command.inlines or len(command.sources) != 1:
        raise DockerfileError(f"{EPOCH} stage must contain exactly one remote ADD source")
    text = lexer.text(command.sources[0], env)
    checksum = lexer.text(command.checksum, env)
    if is_http(text):
        return http_source(text, http_filename(text), check_digest(checksum) if checksum else "")
    reference = parse_git(text)
    if reference is None or reference.like_local:
        raise DockerfileError(f"{EPOCH} stage source must be a single HTTP(S) or Git ADD")
    keep = bool(command.keep_git_dir) or bool(reference.keep_git_dir)
    return git_source(reference, checksum, keep)
