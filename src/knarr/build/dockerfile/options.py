"""What a client asks of a build: BuildKit's frontend attributes (`target`, `build-arg:NAME`, `context:NAME` …) as a value."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from knarr.build.dockerfile import checks, platforms
from knarr.build.dockerfile.errors import DockerfileError
from knarr.build.dockerfile.flags import fields
from knarr.build.dockerfile.golike import int_error, parse_bool, parse_int, quote
from knarr.build.graph import Edge, Resources
from knarr.build.operations import Device, Host, Network, Ulimit
from knarr.model.errors import Invalid
from knarr.model.platform import Platform

_HERE = Platform("linux", "amd64")
_LIMITS = (
    "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
    "rttime", "sigpending", "stack",
)  # fmt: skip
_NETWORKS = {"": Network.SANDBOX, "sandbox": Network.SANDBOX, "none": Network.NONE, "host": Network.HOST}
_CPUSET = re.compile(r"[0-9]+(?:-[0-9]+)?(?:,[0-9]+(?:-[0-9]+)?)*\Z")


class Input(NamedTuple):
    """The result of another build, used as a named context, and its image configuration."""

    edge: Edge | None
    config: bytes | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """A build's options. Nothing here is of one Dockerfile."""

    build_args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    contexts: Mapping[str, str] = field(default_factory=dict)
    shared_keys: Mapping[str, str] = field(default_factory=dict)
    sessions: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, Input] = field(default_factory=dict)
    target: str = ""
    platforms: tuple[Platform, ...] = ()
    here: Platform = _HERE
    multi_platform: bool = False
    no_cache: tuple[str, ...] | None = None
    resolve_mode: str = "default"
    network: Network = Network.SANDBOX
    hosts: tuple[Host, ...] = ()
    ulimits: tuple[Ulimit, ...] = ()
    devices: tuple[Device, ...] = ()
    resources: Resources | None = None
    hostname: str = ""
    cgroup_parent: str = ""
    shm_size: int = 0
    cache_namespace: str = ""
    lint: checks.Linter | None = None
    session: str = ""
    context_name: str = "context"
    remote_context: str = ""
    context_subdir: str = ""
    keep_git_dir: bool = False
    filename: str = "Dockerfile"
    syntax: str = ""
    request_id: str = ""

    def skips_cache(self, stage: str) -> bool:
        """Whether a stage must not be served from the cache; an empty tuple means all."""
        if not self.no_cache:
            return self.no_cache is not None
        return any(name.lower() == stage.lower() for name in self.no_cache)


def parse(attributes: Mapping[str, str], here: Platform = _HERE, session: str = "") -> Options:
    """The options of BuildKit's frontend attributes. Raises DockerfileError in its words."""
    get = attributes.get
    wanted = (
        tuple(_platform(text, here) for text in get("platform", "").split(",")) if get("platform") else ()
    )
    arguments = _prefixed(attributes, "build-arg:")
    key = attributes.get("contextkey", "context")
    return Options(
        build_args=arguments,
        labels=_prefixed(attributes, "label:"),
        contexts=_prefixed(attributes, "context:"),
        shared_keys=_prefixed(attributes, "sharedkey:localdir:"),
        sessions=_prefixed(attributes, "local-sessionid:"),
        target=get("target", ""),
        platforms=wanted,
        here=here,
        multi_platform=_multi_platform(
            arguments.get("BUILDKIT_MULTI_PLATFORM") or get("multi-platform", ""), len(wanted)
        ),
        no_cache=_no_cache(get("no-cache")),
        resolve_mode=_resolve_mode(get("image-resolve-mode", "")),
        network=_network(get("force-network-mode", "")),
        hosts=_hosts(get("add-hosts", "")),
        ulimits=_ulimits(get("ulimit", "")),
        resources=_resources(attributes),
        hostname=arguments.get("BUILDKIT_SANDBOX_HOSTNAME") or get("hostname", ""),
        cgroup_parent=get("cgroup-parent", ""),
        shm_size=_number(get("shm-size", ""), "failed to parse shm size"),
        cache_namespace=arguments.get("BUILDKIT_CACHE_MOUNT_NS", ""),
        lint=_lint(arguments.get("BUILDKIT_DOCKERFILE_CHECK")),
        session=session,
        remote_context=get(key, ""),
        context_subdir=get("contextsubdir", ""),
        keep_git_dir=bool(parse_bool(arguments.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR", ""))),
        filename=get("filename", "Dockerfile"),
        syntax=arguments.get("BUILDKIT_SYNTAX", ""),
        request_id=get("requestid", ""),
    )


def _prefixed(attributes: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {name[len(prefix) :]: value for name, value in attributes.items() if name.startswith(prefix)}


def _platform(text: str, here: Platform) -> Platform:
    try:
        return platforms.normalise(platforms.parse(text, here))
    except DockerfileError as error:
        raise error.wrapped(f"failed to parse target platform {text}") from None


def _multi_platform(text: str, count: int) -> bool:
    if not text:
        return count > 1
    flag = parse_bool(text)
    if flag is None:
        raise DockerfileError(f"invalid boolean value for multi-platform: {text}")
    if not flag and count > 1:
        raise DockerfileError("conflicting config: returning multiple target platforms is not allowed")
    return flag


def _no_cache(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(text.split(",")) if text else ()


def _resolve_mode(text: str) -> str:
    if text not in ("", "default", "pull", "local"):
        raise DockerfileError(f"invalid image-resolve-mode: {text}")
    return text or "default"


def _network(text: str) -> Network:
    if text not in _NETWORKS:
        raise DockerfileError(f"invalid netmode {text}")
    return _NETWORKS[text]


def _lint(text: str | None) -> checks.Linter | None:
    if text is None:
        return None
    try:
        return checks.parse_options(text)
    except DockerfileError as error:
        raise error.wrapped("failed to parse build-arg:BUILDKIT_DOCKERFILE_CHECK") from None


def _list(text: str, what: str) -> list[str]:
    try:
        return fields(text) if text else []
    except Invalid as error:
        raise DockerfileError(f"{what}: {error}") from None


def _hosts(text: str) -> tuple[Host, ...]:
    what, hosts = "failed to parse additional hosts", []
    for field_ in _list(text, what):
        name, equals, address = field_.lower().partition("=")
        if not equals:
            raise DockerfileError(f"{what}: invalid key-value pair {field_}")
        try:
            hosts.append(Host(name, str(ipaddress.ip_address(address))))
        except ValueError:
            raise DockerfileError(f"{what}: failed to parse IP {address}") from None
    return tuple(hosts)


def _ulimits(text: str) -> tuple[Ulimit, ...]:
    what = "failed to parse ulimit"
    return tuple(_ulimit(field_, what) for field_ in _list(text, what))


def _ulimit(text: str, what: str) -> Ulimit:
    name, equals, value = text.partition("=")
    if not equals:
        raise DockerfileError(f"{what}: invalid ulimit argument: {text}")
    if name not in _LIMITS:
        raise DockerfileError(f"{what}: invalid ulimit type: {name}")
    limits = value.split(":")
    if len(limits) > 2:
        raise DockerfileError(
            f"{what}: too many limit value arguments - {value}, can only have up to two, `soft[:hard]`"
        )
    hard, soft = (_number(limit, what, empty=False) for limit in (limits[-1], limits[0]))
    rule = f"{what}: ulimit soft limit must be less than or equal to hard limit"
    if hard != -1 and soft == -1:
        raise DockerfileError(f"{rule}: soft: -1 (unlimited), hard: {hard}")
    if hard != -1 and soft > hard:
        raise DockerfileError(f"{rule}: {soft} > {hard}")
    return Ulimit(name, soft, hard)


def _number(text: str, what: str, *, empty: bool = True) -> int:
    if not text and empty:
        return 0
    value = parse_int(text)
    if value is None:
        raise DockerfileError(f"{what}: {int_error(text, 64)}")
    return value


def _resources(attributes: Mapping[str, str]) -> Resources | None:
    values: list[int] = []
    for name in ("memory", "memswap", "cpushares", "cpuperiod", "cpuquota"):
        text = attributes.get(name, "")
        what = f"failed to parse resource limits: invalid {name} value: {text}"
        value = _number(text, what)
        if text and value <= 0 and not (name == "memswap" and value == -1):
            bound = "-1 (unlimited) or > 0" if name == "memswap" else "> 0"
            raise DockerfileError(f"{what}: must be {bound}")
        values.append(value)
    cpus, mems = (_cpuset(name, attributes.get(name, "")) for name in ("cpusetcpus", "cpusetmems"))
    memory, swap, shares, period, quota = values
    resources = Resources(memory, swap, shares, period, quota, cpus, mems, attributes.get("network", ""))
    return resources if any(resources) else None


def _cpuset(name: str, text: str) -> str:
    if text and not _CPUSET.match(text):
        raise DockerfileError(f"failed to parse resource limits: invalid {name} value: {quote(text)}")
    return text
