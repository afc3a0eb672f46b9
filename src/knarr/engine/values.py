"""What the engine's facade takes and gives, beyond the shared vocabulary of `model`.

Moments are nanoseconds since the epoch, 0 where there is none; sizes are bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from knarr.model.container import ContainerView
from knarr.model.image import ImageView
from knarr.model.ports import PortBinding
from knarr.model.system import VolumeView


@dataclass(frozen=True, slots=True)
class Created:
    """A new container's id, and what the user should know about the request."""

    id: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Waited:
    """The exit code that a wait was for; `error` says why the container could not be waited for to its end."""

    code: int
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressRange:
    """One entry of a new network's IPAM configuration, as texts."""

    subnet: str = ""
    gateway: str = ""
    within: str = ""
    reserved: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpec:
    """A new network, as it is asked for; `ipv4` and `ipv6` are None where nothing is said of them. `config_only` makes values
    for others, which name it in `config_from`."""

    name: str
    driver: str = ""
    ranges: tuple[AddressRange, ...] = ()
    ipam_driver: str = ""
    ipam_options: Mapping[str, str] | None = None
    internal: bool = False
    attachable: bool = False
    ipv4: bool | None = None
    ipv6: bool | None = None
    config_only: bool = False
    config_from: str = ""
    ingress: bool = False
    scope: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortChange:
    """Ports that a container shall publish from now on, or no more; of the latter a host port of 0 means any."""

    add: tuple[PortBinding, ...] = ()
    remove: tuple[PortBinding, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.add or self.remove)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """`tail` is a number of lines, None all; `since` and `until` are moments, 0 without a bound."""

    stdout: bool = True
    stderr: bool = True
    since: int = 0
    until: int = 0
    tail: int | None = None
    follow: bool = False


@dataclass(frozen=True, slots=True)
class LogLine:
    """What a container wrote: `stream` is "stdout" or "stderr"; `data` ends with a newline unless the line goes on."""

    stream: str
    at: int
    data: bytes
    attrs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachOptions:
    """`logs`: first what it wrote before; `stream`: then what it writes; `framed`: with stdout/stderr frame heads."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    logs: bool = False
    stream: bool = True
    detach_keys: str = ""
    framed: bool = True


@dataclass(frozen=True, slots=True)
class Processes:
    """A table as ps(1) prints it."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class PathStat:
    """A path in a container: `mode` is Linux's st_mode (the API translates it to Go's), `mtime` nanoseconds."""

    name: str
    size: int
    mode: int
    mtime: int
    link_target: str = ""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a prune removed, and the bytes that it freed."""

    ids: tuple[str, ...]
    space: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """One path that differs from the image: `kind` is Docker's 0 modified, 1 added, 2 deleted."""

    kind: int
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """What `docker info` shows of the daemon and its host."""

    id: str
    name: str
    server_version: str
    containers: int
    running: int
    paused: int
    stopped: int
    images: int
    driver: str
    driver_status: tuple[tuple[str, str], ...]
    logging_driver: str
    log_drivers: tuple[str, ...]
    volume_drivers: tuple[str, ...]
    network_drivers: tuple[str, ...]
    cgroup_driver: str
    cgroup_version: str
    kernel_version: str
    operating_system: str
    os_version: str
    os_type: str
    architecture: str
    ncpu: int
    memory: int
    data_root: str
    labels: tuple[str, ...]
    default_runtime: str
    runtimes: tuple[str, ...]
    security_options: tuple[str, ...]
    registry_mirrors: tuple[str, ...]
    insecure_registries: tuple[str, ...]
    cdi_spec_dirs: tuple[str, ...]
    devices: tuple[str, ...]
    default_address_pools: tuple[tuple[str, int], ...]
    system_time: int
    event_listeners: int
    file_descriptors: int
    tasks: int
    debug: bool
    live_restore: bool
    ipv4_forwarding: bool
    memory_limit: bool
    swap_limit: bool
    cpu_cfs: bool
    cpu_shares: bool
    cpuset: bool
    pids_limit: bool
    oom_kill_disable: bool
    http_proxy: str = ""
    https_proxy: str = ""
    no_proxy: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What `docker version` shows of the server; `components` are (name, version, details)."""

    version: str
    git_commit: str
    python_version: str
    os: str
    architecture: str
    kernel_version: str
    build_time: str
    components: tuple[tuple[str, str, Mapping[str, str]], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskUsage:
    """What `docker system df` shows; views carry their sizes."""

    layers_size: int
    images: tuple[ImageView, ...] = ()
    containers: tuple[ContainerView, ...] = ()
    volumes: tuple[VolumeView, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EventOptions:
    """`until` None never ends; `since` 0 begins with what comes; `filters` are Docker's, each with its values."""

    since: int = 0
    until: int | None = None
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
