"""`knarr build`'s flags as what a builder is asked: frontend attributes, exporters, caches, and what is lent. Reads nothing.

The words and their meaning are docker buildx's. Raises Failed for what makes no sense.
"""

import csv
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from knarr.cli.common import Failed
from knarr.cli.flags import Options

_BUILDS = ("moby", "image", "registry", "docker")
_FILES = ("oci", "docker", "tar")
_TYPES = (*_BUILDS, "oci", "tar", "local", "cacheonly")
_LEVEL = r"(?:manifest|index)(?:-descriptor)?(?:\[[^\]]+\])?"
_LEVELS = re.compile(rf"({_LEVEL}(?:,{_LEVEL})*):(.*)")
_URL = ("http://", "https://", "git://", "git@", "ssh://", "github.com/")


class Output(NamedTuple):
    """Where a result goes. `dest` is a path of this machine, "-" standard output, "" nowhere of its own."""

    type: str
    attrs: Mapping[str, str]
    dest: str = ""


class Secret(NamedTuple):
    """A secret's value is in a file or in a variable."""

    file: str = ""
    variable: str = ""


def fields(text: str, flag: str) -> list[str]:
    """One line of comma-separated values."""
    try:
        return next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise Failed(f"invalid value {text} for --{flag}: {error}") from None


def pairs(text: str, flag: str) -> dict[str, str]:
    """key=value words."""
    found = {}
    for word in fields(text, flag):
        key, equals, value = word.partition("=")
        if not equals:
            raise Failed(f"invalid value {word} for --{flag}: it must be a key=value pair")
        found[key.strip().lower()] = value
    return found


def outputs(options: Options) -> list[Output]:
    """Where results go; this engine's images where nothing is said."""
    found = [_output(text) for text in options.output]
    if options.load and not any(each.type in ("moby", "docker") and not each.dest for each in found):
        found.append(Output("moby", {}))
    if options.push:
        pushed = [
            each._replace(attrs={**each.attrs, "push": "true"}) if each.type == "image" else each
            for each in found
        ]
        if not any(each.attrs.get("push") for each in pushed):
            pushed.append(Output("image", {"push": "true"}))
        found = pushed
    if not found:
        found = [Output("moby", {})]
    names = ",".join(options.tag)
    annotations = _annotations(options.annotation)
    return [_completed(each, names, annotations) for each in found]


def _output(text: str) -> Output:
    if text == "-":
        return Output("tar", {}, "-")
    if "=" not in text:
        return Output("local", {}, text)
    attrs = pairs(text, "output")
    kind, dest = attrs.pop("type", ""), attrs.pop("dest", "")
    if kind not in _TYPES:
        raise Failed(f"type is required for output: {text}" if not kind else f"unknown output type {kind!r}")
    if kind == "registry":
        kind, attrs = "image", {**attrs, "push": attrs.get("push", "true")}
    if kind == "docker" and not dest:
        kind = "moby"
    if kind == "local" and not dest:
        raise Failed("dest is required for local output")
    if kind == "local" and dest == "-":
        raise Failed("dest file not allowed for local exporter: use type=tar")
    if kind == "oci" and not dest and attrs.get("tar") == "false":
        raise Failed("dest is required for oci output with tar=false")
    if kind in _FILES and not dest:
        dest = "-"
    return Output(kind, attrs, dest)


def _annotations(words: Iterable[str]) -> dict[str, str]:
    """By BuildKit's keys; a word may name what is annotated before a colon."""
    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise Failed(f"invalid annotation {word!r}, expected key=value")
        match = _LEVELS.fullmatch(key)
        levels = match[1].split(",") if match else [""]
        for level in levels:
            found[f"annotation{'-' * bool(level)}{level}.{match[2] if match else key}"] = value
    return found


def _completed(each: Output, names: str, annotations: Mapping[str, str]) -> Output:
    attrs = dict(each.attrs)
    if each.type in (*_BUILDS, "oci"):
        if names and "name" not in attrs:
            attrs["name"] = names
        attrs.update(annotations)
    return each._replace(attrs=attrs)


def secrets(words: Iterable[str]) -> dict[str, Secret]:
    """By their ids."""
    found = {}
    for word in words:
        given = {"id": "", "src": "", "source": "", "env": "", "type": "", **pairs(word, "secret")}
        kind, name = given["type"], given["id"]
        file, variable = given["src"] or given["source"], given["env"]
        if kind not in ("", "file", "env"):
            raise Failed(f"unsupported secret type {kind!r}")
        if kind == "env" and file:
            variable, file = file, ""
        if not name:
            raise Failed("secret is missing an id" if not file else f"secret {file} is missing an id")
        if not file and not variable:
            if kind != "file" and name in os.environ:
                variable = name
            else:
                file = name
        found[name] = Secret(file, variable)
    return found


def agents(words: Iterable[str]) -> dict[str, list[str]]:
    """The paths for each ssh id: a socket, or keys; none is the person's own agent."""
    found = {}
    for word in words:
        name, equals, paths = word.partition("=")
        found[name] = paths.split(",") if equals else []
    return found


def caches(words: Iterable[str], flag: str) -> list[tuple[str, dict[str, str]]]:
    """Types and attributes; a bare word is a reference in a registry."""
    found = []
    for word in words:
        if "=" not in word:
            found += [("registry", {"ref": name}) for name in fields(word, flag)]
            continue
        attrs = pairs(word, flag)
        kind = attrs.pop("type", "")
        if not kind:
            raise Failed(f"type required form> {word!r}")
        if flag == "cache-to" and kind != "inline":
            attrs.setdefault("mode", "min")
        found.append((kind, attrs))
    return found


def attestations(options: Options) -> dict[str, str]:
    """`attest:TYPE` attributes; those that are turned off are left out."""
    found: dict[str, str] = {}
    words = list(options.attest)
    for name in ("provenance", "sbom"):
        text = getattr(options, name)
        if text:
            plain = text.lower() in ("true", "1")
            off = text.lower() in ("false", "0")
            words.append(f"type={name}" + ("" if plain else ",disabled=true" if off else f",{text}"))
    for word in words:
        attrs = pairs(word, "attest")
        kind = attrs.pop("type", "")
        if not kind:
            raise Failed(f"attestation type not specified: {word}")
        if attrs.pop("disabled", "false").lower() in ("true", "1"):
            found.pop(f"attest:{kind}", None)
        else:
            found[f"attest:{kind}"] = ",".join(f"{key}={value}" for key, value in attrs.items())
    return found


def is_remote(path: str) -> bool:
    """Whether a context is an address."""
    return path.startswith(_URL)


def attributes(options: Options, proxies: Sequence[str]) -> dict[str, str]:
    """What the frontend is told, but for contexts."""
    attrs = {"image-resolve-mode": "pull" if options.pull else "local"}
    for word in proxies:
        name, _, value = word.partition("=")
        attrs[f"build-arg:{name}"] = value
    if epoch := os.environ.get("SOURCE_DATE_EPOCH"):
        attrs["build-arg:SOURCE_DATE_EPOCH"] = epoch
    for word in options.build_arg:
        name, equals, value = word.partition("=")
        if equals:
            attrs[f"build-arg:{name}"] = value
        elif name in os.environ:
            attrs[f"build-arg:{name}"] = os.environ[name]
    if options.explain_cache:
        attrs["build-arg:KNARR_EXPLAIN_CACHE"] = "1"
    for word in options.label:
        name, _, value = word.partition("=")
        attrs[f"label:{name}"] = value
    if options.no_cache and options.no_cache_filter:
        raise Failed("--no-cache and --no-cache-filter cannot currently be used together")
    if options.no_cache or options.no_cache_filter:
        attrs["no-cache"] = ",".join(options.no_cache_filter)
    if options.platform:
        attrs["platform"] = ",".join(options.platform)
    if options.target:
        attrs["target"] = options.target
    attrs.update(_limits(options))
    attrs.update(attestations(options))
    return attrs


def _limits(options: Options) -> dict[str, str]:
    attrs = {}
    if options.network not in ("", "default", "host", "none"):
        raise Failed(
            f'network mode "{options.network}" not supported by buildkit - '
            "you can define a custom network for your builder using the network driver-opt in buildx create"
        )
    if options.network in ("host", "none"):
        attrs["force-network-mode"] = options.network
    if options.add_host:
        attrs["add-hosts"] = ",".join(map(_host, options.add_host))
    if options.ulimit:
        attrs["ulimit"] = ",".join(options.ulimit)
    if options.shm_size:
        attrs["shm-size"] = str(options.shm_size)
    if options.cgroup_parent:
        attrs["cgroup-parent"] = options.cgroup_parent
    return attrs


def _host(word: str) -> str:
    name, equals, address = word.partition("=")
    if not equals:
        name, _, address = word.partition(":")
    if not name or not address:
        raise Failed(f"invalid host {word}")
    return f"{name}={address.strip('[]')}"


def entitlements(options: Options) -> list[str]:
    """What the build may do that others may not."""
    found = list(options.allow)
    if options.network == "host" and "network.host" not in found:
        found.append("network.host")
    for each in found:
        if each not in ("network.host", "security.insecure", "device") and not each.startswith(
            ("device=", "fs.")
        ):
            raise Failed(f"unknown entitlement key {each}")
    return found


def metadata(told: Mapping[str, str]) -> dict[str, object]:
    """`--metadata-file`: the builder's answers, those that are JSON in base64 as what they are."""
    import base64
    import json

    found: dict[str, object] = {}
    for key, text in sorted(told.items()):
        found[key] = text
        try:
            value = json.loads(base64.b64decode(text, validate=True))
        except ValueError:
            continue
        if isinstance(value, dict):
            found[key] = value
    return found
