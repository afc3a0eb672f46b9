"""The names of steps in the progress display: `[stage 2/5] RUN make`."""

import math
from collections.abc import Mapping

from knarr.build.dockerfile import platforms
from knarr.build.dockerfile.errors import DockerfileError
from knarr.build.dockerfile.shell import Lexer
from knarr.build.dockerfile.units import Unit
from knarr.model.platform import Platform


def prefixed(
    unit: Unit, text: str, platform: Platform | None, env: Mapping[str, str], show_platform: bool
) -> str:
    """The step's text behind its stage and number; counts the step."""
    if not unit.total:
        return text
    place = ""
    if show_platform and platform is not None:
        place = f"{platform}{_cross(platform, _chosen(env))} "
    if unit.label:
        place += f"{unit.label} "
    unit.number += 1
    width = int(1 + math.log10(unit.total))
    triggered = "ONBUILD " if unit.triggered else ""
    return f"[{place}{unit.number:>{width}d}/{unit.total}] {triggered}{text}"


def expanded(code: str, lexer: Lexer, env: Mapping[str, str]) -> str:
    """An instruction as people see it: its name in capitals, its variables replaced where that is possible."""
    try:
        code = lexer.text(code, env)
    except DockerfileError:
        pass
    name, space, rest = code.partition(" ")
    return name.upper() + space + rest


def _chosen(env: Mapping[str, str]) -> Platform | None:
    """The platform that a stage builds for, by its TARGET… variables."""
    parts = {}
    for name, value in env.items():
        if name == "TARGETPLATFORM":
            try:
                return platforms.parse(value, Platform("linux", "amd64"))
            except DockerfileError:
                continue
        if name in ("TARGETOS", "TARGETARCH", "TARGETVARIANT"):
            parts[name] = value
    if not parts:
        return None
    return Platform(parts.get("TARGETOS", ""), parts.get("TARGETARCH", ""), parts.get("TARGETVARIANT", ""))


def _cross(base: Platform, target: Platform | None) -> str:
    if target is None:
        return ""
    target = platforms.normalise(
        target._replace(os=target.os or base.os, architecture=target.architecture or base.architecture)
    )
    if target.os != base.os:
        return f"->{target}"
    if target.architecture == base.architecture:
        return ""
    return f"->{target.architecture}" + (f"/{target.variant}" if target.variant else "")


def heredoc_summary(text: str) -> str:
    """A heredoc's first line."""
    first, newline, _ = text.strip().replace("\r\n", "\n").partition("\n")
    return first + "..." * bool(newline)
