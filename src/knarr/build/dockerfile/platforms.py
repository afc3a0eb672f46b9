"""Platform texts as containerd reads them: `linux/amd64`, `arm64`, `linux/arm/v7`. Versions of an OS are not supported."""

import re

from knarr.build.dockerfile.errors import DockerfileError
from knarr.build.dockerfile.golike import quote
from knarr.model.platform import Platform

_COMPONENT = r"^[A-Za-z0-9_.-]+$"
_OS = r"^([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.%-]*)((?:\+[A-Za-z0-9_.%-]+)*)\))?$"
_SYSTEMS = "aix android darwin dragonfly freebsd hurd illumos ios js linux nacl netbsd openbsd plan9 solaris windows zos"
_ARCHITECTURES = (
    "386 amd64 amd64p32 arm armbe arm64 arm64be ppc64 ppc64le loong64 mips mipsle mips64 mips64le mips64p32 mips64p32le"
    " ppc riscv riscv64 s390 s390x sparc sparc64 wasm"
)
_KNOWN_OS, _KNOWN_ARCHITECTURES = frozenset(_SYSTEMS.split()), frozenset(_ARCHITECTURES.split())
_SAME = {
    "i386": ("386", ""), "x86_64": ("amd64", None), "x86-64": ("amd64", None), "aarch64": ("arm64", None),
    "armhf": ("arm", "v7"), "armel": ("arm", "v6"),
}  # fmt: skip
_VARIANTS = {
    ("amd64", "v1"): "", ("arm64", "8"): "", ("arm64", "v8"): "", ("arm64", "v8.0"): "", ("arm64", "9"): "v9",
    ("arm64", "9.0"): "v9", ("arm64", "v9.0"): "v9", ("arm", ""): "v7", ("arm", "7"): "v7", ("arm", "5"): "v5",
    ("arm", "6"): "v6", ("arm", "8"): "v8",
}  # fmt: skip


def _normal(architecture: str, variant: str) -> tuple[str, str]:
    architecture, variant = architecture.lower(), variant.lower()
    architecture, fixed = _SAME.get(architecture, (architecture, None))
    variant = variant if fixed is None else fixed
    return architecture, _VARIANTS.get((architecture, variant), variant)


def normalise(platform: Platform) -> Platform:
    """platforms.Normalize"""
    os = platform.os.lower() or "linux"
    return Platform("darwin" if os == "macos" else os, *_normal(platform.architecture, platform.variant))


def parse(text: str, here: Platform) -> Platform:
    """Raises DockerfileError; `here` gives what a text of one word leaves out."""
    if "*" in text:
        raise DockerfileError(f"{quote(text)}: wildcards not yet supported: invalid argument")
    parts = text.split("/", 3)
    os = _os(parts[0], text)
    for part in parts[1:]:
        if not re.match(_COMPONENT[:-1] + r"\Z", part):
            raise DockerfileError(
                f"{quote(part)} is an invalid component of {quote(text)}: platform specifier component must match {quote(_COMPONENT)}: invalid argument"
            )
    if len(parts) == 1:
        return _one_word(text, os, here)
    if len(parts) == 2:
        architecture, variant = _normal(parts[1], "")
        return Platform(os, architecture, "" if (architecture, variant) == ("arm", "v7") else variant)
    if len(parts) == 3:
        architecture, variant = _normal(parts[1], parts[2])
        return Platform(os, architecture, "v8" if architecture == "arm64" and not variant else variant)
    raise DockerfileError(f"{quote(text)}: cannot parse platform specifier: invalid argument")


def _os(part: str, text: str) -> str:
    found = re.match(_OS[:-1] + r"\Z", part)
    if found is None:
        raise DockerfileError(
            f"{quote(part)} is an invalid OS component of {quote(text)}: OSAndVersion specifier component must match {quote(_OS)}: invalid argument"
        )
    if found[2] or found[3]:
        raise DockerfileError(
            f"{quote(text)}: versions and features of an operating system are not supported"
        )
    os = found[1].lower()
    return "darwin" if os == "macos" else os


def _one_word(text: str, os: str, here: Platform) -> Platform:
    if os in _KNOWN_OS:
        return Platform(os, here.architecture, here.variant if here.architecture == "arm" else "")
    architecture, variant = _normal(text, "")
    if architecture in _KNOWN_ARCHITECTURES:
        return Platform(here.os, architecture, "" if (architecture, variant) == ("arm", "v7") else variant)
    raise DockerfileError(f"{quote(text)}: unknown operating system or architecture: invalid argument")
