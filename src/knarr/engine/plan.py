"""A request and an image's configuration become the specification of a container. Pure: facts come in as arguments.

Docker's order: the request is checked, then merged, then what it left open is filled in. `checks` has the checks.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from knarr.engine import checks, limits, logdrivers, userns
from knarr.engine.nets import asked_for
from knarr.model.container import (
    ContainerSpec,
    Healthcheck,
    MountSpec,
    Resources,
    RestartPolicy,
    Status,
    Ulimit,
)
from knarr.model.errors import Invalid
from knarr.model.image import ImageConfig
from knarr.model.ports import PortBinding

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BACKOFF_FIRST = 100_000_000
BACKOFF_LAST = 60_000_000_000
STEADY = 10_000_000_000


class Host(NamedTuple):
    """What a plan must know of the machine and of the daemon's defaults."""

    cpus: int
    hostname: str
    shm_size: int = 64 << 20
    log_driver: str = "json-file"
    log_options: Mapping[str, str] = MappingProxyType({})
    ipc_mode: str = "private"
    cgroupns_mode: str = "private"
    cgroup_version: int = 1
    ulimits: tuple[Ulimit, ...] = ()
    remapped: bool = False
    abilities: frozenset[limits.Ability] = limits.ALL


class Planned(NamedTuple):
    """The merged specification, what is executed, and what the user should know."""

    spec: ContainerSpec
    path: str
    args: tuple[str, ...]
    warnings: tuple[str, ...]


def plan_container(container_id: str, asked: ContainerSpec, image: ImageConfig, host: Host) -> Planned:
    """Raises Invalid with Docker's words."""
    checks.check(asked, host.cpus)
    userns.check(asked, host.remapped)
    spec = _fill(container_id, merge(asked, image), host)
    resources, discarded = limits.settle(spec.resources, host.abilities)
    spec = replace(spec, resources=resources)
    command = (*(spec.entrypoint or ()), *(spec.command or ()))
    if not command:
        raise Invalid("no command specified")
    return Planned(spec, command[0], tuple(command[1:]), (*discarded, *_warnings(asked)))


def merge(asked: ContainerSpec, image: ImageConfig) -> ContainerSpec:
    """The request over the image's configuration."""
    entrypoint, command = _command(asked, image)
    return replace(
        asked,
        user=asked.user or image.user,
        exposed_ports=tuple(dict.fromkeys((*asked.exposed_ports, *image.exposed_ports))),
        environment=_environment(asked.environment, image.environment),
        entrypoint=entrypoint,
        command=command,
        volumes=tuple(dict.fromkeys((*asked.volumes, *image.volumes))),
        working_dir=asked.working_dir or image.working_dir,
        labels={**(image.labels or {}), **asked.labels},
        stop_signal=asked.stop_signal or image.stop_signal,
        healthcheck=_healthcheck(asked.healthcheck, image.healthcheck),
        shell=asked.shell or image.shell,
        on_build=asked.on_build or image.on_build,
    )


def _command(
    asked: ContainerSpec, image: ImageConfig
) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """A request with its own entrypoint takes nothing of the image; ("",) empties the entrypoint."""
    entrypoint, command = asked.entrypoint, asked.command
    if not entrypoint:
        if not command:
            command = image.command
        if entrypoint is None:
            entrypoint = image.entrypoint
    if entrypoint == ("",):
        entrypoint = None
    return entrypoint, command


def _environment(asked: Sequence[str], image: Sequence[str]) -> tuple[str, ...]:
    known = {entry.partition("=")[0] for entry in asked}
    return (*asked, *(entry for entry in image if entry.partition("=")[0] not in known))


def _healthcheck(mine: Healthcheck | None, theirs: Healthcheck | None) -> Healthcheck | None:
    if mine is None or theirs is None:
        return mine or theirs
    return replace(
        mine,
        test=mine.test or theirs.test,
        interval=mine.interval or theirs.interval,
        timeout=mine.timeout or theirs.timeout,
        start_period=mine.start_period or theirs.start_period,
        start_interval=mine.start_interval or theirs.start_interval,
        retries=mine.retries or theirs.retries,
    )


def _fill(container_id: str, spec: ContainerSpec, host: Host) -> ContainerSpec:
    network = "bridge" if spec.network_mode in ("", "default") else spec.network_mode
    hostname = spec.hostname
    if not hostname and not network.startswith("container:"):
        hostname = host.hostname if "host" in (network, spec.uts_mode) else container_id[:12]
    log = logdrivers.settled(spec.log, host.log_driver, host.log_options)
    logdrivers.check_driver(log.driver, log.options)
    cgroupns = "host" if spec.privileged and host.cgroup_version == 1 else host.cgroupns_mode
    return replace(
        spec,
        network_mode="none" if spec.network_disabled else network,
        endpoints=() if spec.network_disabled else asked_for(replace(spec, network_mode=network)),
        hostname=hostname,
        log=log,
        shm_size=spec.shm_size or host.shm_size,
        ipc_mode=spec.ipc_mode or host.ipc_mode,
        cgroupns_mode=spec.cgroupns_mode or cgroupns,
        restart=spec.restart if spec.restart.name else RestartPolicy(),
        runtime=spec.runtime or "runc",
        resources=_with_ulimits(fill_resources(spec.resources), host.ulimits),
    )


def fill_resources(resources: Resources) -> Resources:
    """Memory without a word on swap means as much swap again."""
    if resources.memory > 0 and resources.memory_swap == 0:
        return replace(resources, memory_swap=2 * resources.memory)
    return resources


def _with_ulimits(resources: Resources, defaults: Sequence[Ulimit]) -> Resources:
    mine = {limit.name for limit in resources.ulimits}
    more = tuple(limit for limit in defaults if limit.name not in mine)
    return replace(resources, ulimits=(*resources.ulimits, *more)) if more else resources


def _warnings(asked: ContainerSpec) -> tuple[str, ...]:
    if asked.network_mode == "host" and asked.port_bindings:
        return ("Published ports are discarded when using host network mode",)
    return ()


def bindings(spec: ContainerSpec) -> tuple[PortBinding, ...]:
    """The ports to publish; with -P also every exposed one that has no binding."""
    bound = {binding.port for binding in spec.port_bindings}
    exposed = sorted(spec.exposed_ports) if spec.publish_all else ()
    return (*spec.port_bindings, *(PortBinding(port) for port in exposed if port not in bound))


def process_environment(spec: ContainerSpec) -> list[str]:
    """What the process sees: Docker's own variables, then the specification's; a bare NAME unsets."""
    values = {"PATH": DEFAULT_PATH, "HOSTNAME": spec.hostname}
    if spec.tty:
        values["TERM"] = "xterm"
    return overlay_environment(values, spec.environment)


def overlay_environment(values: dict[str, str], entries: Iterable[str]) -> list[str]:
    """`entries` over `values`, in Docker's list form."""
    for entry in entries:
        name, equals, value = entry.partition("=")
        if equals:
            values[name] = value
        else:
            values.pop(name, None)
    return [f"{name}={value}" for name, value in values.items()]


def plan_mounts(spec: ContainerSpec, inherited: Sequence[MountSpec]) -> tuple[MountSpec, ...]:
    """Every mount of the container once: volumes-from, over it -v, --mount and --tmpfs, then the image's volumes.

    Parents come before what lies below them. Raises Invalid for a target asked for twice.
    """
    chosen = {checks.clean(mount.target): mount for mount in inherited}
    mine: dict[str, str] = {}
    for mount in spec.mounts:
        target = checks.clean(mount.target)
        if target in mine and {mine[target], mount.asked_by} != {"mounts", "tmpfs"}:
            raise Invalid(f"Duplicate mount point: {target}")
        mine[target] = mount.asked_by
        chosen[target] = replace(mount, target=target)
    for path in spec.volumes:
        target = checks.clean(path)
        if target not in chosen:
            chosen[target] = MountSpec(
                type="volume", target=target, asked_by="image", driver=spec.volume_driver
            )
    return tuple(chosen[target] for target in sorted(chosen, key=lambda path: (path.count("/"), path)))


def restart_delay(failures: int) -> int:
    """How long to wait before the next life, in nanoseconds: doubling up to a minute."""
    return min(BACKOFF_FIRST << min(failures, 20), BACKOFF_LAST)


def next_failures(failures: int, lived: int) -> int:
    """The count of failures after a life of `lived` nanoseconds; a steady life forgets the earlier ones."""
    return 0 if lived >= STEADY else failures + 1


def should_restart(policy: RestartPolicy, exit_code: int, restarts: int, *, stopped_by_user: bool) -> bool:
    """Whether a container that ended begins another life."""
    if stopped_by_user:
        return False
    if policy.name in ("always", "unless-stopped"):
        return True
    if policy.name == "on-failure":
        return exit_code != 0 and (policy.maximum_retries == 0 or restarts < policy.maximum_retries)
    return False


def should_start_with_daemon(policy: RestartPolicy, status: Status, *, stopped_by_user: bool) -> bool:
    """Whether a container that does not run is started when the daemon starts."""
    if status is Status.CREATED:
        return False
    return policy.name == "always" or (policy.name == "unless-stopped" and not stopped_by_user)
