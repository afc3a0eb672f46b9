"""What a container is asked to be (`ContainerSpec`), what it is now (`ContainerState`), and what a reader is told.

Sizes are bytes, times nanoseconds since the epoch, CPU shares and quotas the kernel's units; a zero or empty value means
"not asked for" unless a field says otherwise. The API room translates Docker's JSON to these and back.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from knarr.model.ports import Port, PortBinding, Published


class Status(StrEnum):
    """Docker's words for a container's state. `CREATING`, `STARTING` and `REMOVING` are intents on the way."""

    CREATING = "creating"
    CREATED = "created"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    EXITED = "exited"
    REMOVING = "removing"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ulimit:
    """setrlimit(2); -1 is unlimited."""

    name: str
    soft: int
    hard: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMapping:
    """A host device made visible in the container, with the cgroup's `rwm` permissions."""

    host: str
    container: str
    permissions: str = "rwm"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRequest:
    """Devices that a driver is to find: by number (-1 all), by name, or by what they can: one of several lists of words."""

    driver: str = ""
    count: int = 0
    ids: tuple[str, ...] = ()
    capabilities: tuple[tuple[str, ...], ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockLimit:
    """A weight or a rate (bytes or operations a second) for one block device."""

    path: str
    rate: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """cgroup limits, in Docker's HostConfig terms. `memory_swap` is memory plus swap, -1 unlimited."""

    memory: int = 0
    memory_reservation: int = 0
    memory_swap: int = 0
    memory_swappiness: int | None = None
    oom_kill_disable: bool = False
    nano_cpus: int = 0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_realtime_period: int = 0
    cpu_realtime_runtime: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_limit: int = 0
    blkio_weight: int = 0
    blkio_weight_devices: tuple[BlockLimit, ...] = ()
    blkio_read_bps: tuple[BlockLimit, ...] = ()
    blkio_write_bps: tuple[BlockLimit, ...] = ()
    blkio_read_iops: tuple[BlockLimit, ...] = ()
    blkio_write_iops: tuple[BlockLimit, ...] = ()
    devices: tuple[DeviceMapping, ...] = ()
    device_cgroup_rules: tuple[str, ...] = ()
    device_requests: tuple[DeviceRequest, ...] = ()
    ulimits: tuple[Ulimit, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """`name`: "no", "always", "unless-stopped", "on-failure" (with at most `maximum_retries`, 0 without end)."""

    name: str = "no"
    maximum_retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """The logging driver and its options; an empty driver means the daemon's default."""

    driver: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class MountSpec:
    """One wish for a mount: `type` is "bind", "volume", "tmpfs" or "image" (`source` is the image's name).

    An empty `source` of a volume means an anonymous one. `asked_by` keeps the form in which it came: "binds" (-v), "mounts"
    (--mount), "tmpfs" (--tmpfs) or "image" (VOLUME), because inspect shows each in its own list. `create_source` makes a
    missing bind source, as -v does and --mount does not. `options` are mount words such as `size=64m`. `subpath` is the part
    of a volume or image that is mounted; it must be there. A read-only bind is so with all that is mounted below it, unless
    `shallow`; `deep` insists on that.
    """

    type: str
    target: str
    source: str = ""
    read_only: bool = False
    options: tuple[str, ...] = ()
    propagation: str = ""
    no_copy: bool = False
    create_source: bool = False
    asked_by: str = "mounts"
    labels: Mapping[str, str] = field(default_factory=dict)
    driver: str = ""
    driver_options: Mapping[str, str] = field(default_factory=dict)
    subpath: str = ""
    shallow: bool = False
    deep: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSpec:
    """How a container is attached to one network."""

    network: str
    aliases: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    ipv4: str = ""
    ipv6: str = ""
    link_local: tuple[str, ...] = ()
    mac: str = ""
    driver_options: Mapping[str, str] = field(default_factory=dict)
    priority: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck:
    """`test` in Docker's form: () inherits, ("NONE",) disables, ("CMD", …) or ("CMD-SHELL", "…"). Times in ns."""

    test: tuple[str, ...] = ()
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """The whole request, merged with the image's configuration once `engine.plan` has seen it.

    `command` and `entrypoint` are None where the request says nothing (the image's are taken) and () where it empties
    them. `tty`, `open_stdin`, `stdin_once` and `attach_*` are Docker's. `None` in `masked_paths` and `readonly_paths`
    means the default lists, () none at all. `on_unhealthy` "restart" ends an unhealthy container for its restart policy. `environment` keeps Docker's list form: "NAME=value", or "NAME" to unset.
    """

    image: str
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    environment: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    groups: tuple[str, ...] = ()
    hostname: str = ""
    domainname: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    stop_signal: str = ""
    stop_timeout: int | None = None
    exposed_ports: tuple[Port, ...] = ()
    volumes: tuple[str, ...] = ()
    healthcheck: Healthcheck | None = None
    shell: tuple[str, ...] = ()
    on_build: tuple[str, ...] = ()
    network_disabled: bool = False
    mac_address: str = ""
    platform: str = ""

    port_bindings: tuple[PortBinding, ...] = ()
    publish_all: bool = False
    mounts: tuple[MountSpec, ...] = ()
    volumes_from: tuple[str, ...] = ()
    network_mode: str = ""
    endpoints: tuple[EndpointSpec, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    restart: RestartPolicy = RestartPolicy()
    on_unhealthy: str = ""
    auto_remove: bool = False
    privileged: bool = False
    read_only: bool = False
    init: bool | None = None
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security_options: tuple[str, ...] = ()
    ipc_mode: str = ""
    pid_mode: str = ""
    uts_mode: str = ""
    userns_mode: str = ""
    cgroupns_mode: str = ""
    cgroup_parent: str = ""
    runtime: str = ""
    isolation: str = ""
    volume_driver: str = ""
    shm_size: int = 0
    sysctls: Mapping[str, str] = field(default_factory=dict)
    oom_score_adj: int = 0
    storage_options: Mapping[str, str] = field(default_factory=dict)
    masked_paths: tuple[str, ...] | None = None
    readonly_paths: tuple[str, ...] | None = None
    cid_file: str = ""
    console_size: tuple[int, int] = (0, 0)
    annotations: Mapping[str, str] = field(default_factory=dict)
    log: LogConfig = LogConfig()
    resources: Resources = Resources()


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One run of a health check; `exit_code` -1 where it could not be run or took too long."""

    start: int
    end: int
    exit_code: int
    output: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """`status` is "starting", "healthy" or "unhealthy"; `log` has the last probes, oldest first."""

    status: str = "starting"
    failing_streak: int = 0
    log: tuple[Probe, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerState:
    """What a container is now. `pid` is 0 unless it runs; times are 0 where it never happened; `health` is None without a
    health check."""

    status: Status
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    started_at: int = 0
    finished_at: int = 0
    restart_count: int = 0
    stopped_by_user: bool = False
    health: Health | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MountPoint:
    """A mount as inspect tells of it."""

    type: str
    name: str
    source: str
    target: str
    driver: str
    mode: str
    writable: bool
    propagation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointView:
    """One network of a container: empty addresses while it does not run."""

    network: str
    network_id: str
    endpoint_id: str = ""
    sandbox_id: str = ""
    sandbox_key: str = ""
    gateway: str = ""
    ipv4: str = ""
    ipv4_prefix: int = 0
    ipv6_gateway: str = ""
    ipv6: str = ""
    ipv6_prefix: int = 0
    mac: str = ""
    aliases: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    driver_options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerView:
    """Everything that `ps` and inspect need to know of one container.

    `image_id` is `sha256:…`, `image` the name that the user gave. `path` and `args` are what is executed. The sizes are
    None unless they were asked for. `links` are the names that others link to it by. `files` are the host's paths: keys "resolv.conf", "hostname", "hosts", "log".
    """

    id: str
    name: str
    created: int
    spec: ContainerSpec
    state: ContainerState
    image_id: str
    path: str
    args: tuple[str, ...]
    platform: str = "linux"
    driver: str = "overlay2"
    mounts: tuple[MountPoint, ...] = ()
    endpoints: tuple[EndpointView, ...] = ()
    published: tuple[Published, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    exec_ids: tuple[str, ...] = ()
    graph_data: Mapping[str, str] = field(default_factory=dict)
    links: tuple[str, ...] = ()
    size_rw: int | None = None
    size_root_fs: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecSpec:
    """A process to run in a container that runs. `environment` adds to the container's; `user` "" is the container's."""

    command: tuple[str, ...]
    environment: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    tty: bool = False
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    privileged: bool = False
    detach_keys: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecView:
    """An exec as inspect tells of it; `exit_code` is None until it ended, `pid` 0 until it started."""

    id: str
    container_id: str
    spec: ExecSpec
    running: bool
    exit_code: int | None
    pid: int
    can_remove: bool = False
