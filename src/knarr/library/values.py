"""What the library gives back: frozen values with Docker's names. Times are aware datetimes, sizes bytes; fields that are not here
are in `raw` where a value has it. (`reading` makes them.)
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple

from msgspec import Struct, field

Stream = Literal["stdout", "stderr"]


class Address(NamedTuple):
    """Where something answers: `str()` gives `host:port`."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Output(NamedTuple):
    """A piece of what a process wrote, as it came."""

    stream: Stream
    data: bytes


class LogLine(NamedTuple):
    """A line of a log without its end; `at` only where timestamps were asked for."""

    stream: Stream
    data: bytes
    at: datetime | None = None

    @property
    def text(self) -> str:
        """The line, whatever its bytes."""
        return self.data.decode(errors="replace")

    def __str__(self) -> str:
        return self.text


class ExecResult(NamedTuple):
    """How a process ended and what it wrote. With a terminal everything is in `stdout`."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """What it wrote to stdout."""
        return self.stdout.decode(errors="replace")


class Exit(NamedTuple):
    """A container's end; `error` says why it could not be waited for."""

    code: int
    error: str = ""


class Change(NamedTuple):
    """A path that differs from the image."""

    kind: Literal["modified", "added", "deleted"]
    path: str


class Pruned(NamedTuple):
    """What a prune removed, and the bytes that it freed."""

    removed: tuple[str, ...]
    space: int


class _Value(Struct, frozen=True, kw_only=True, rename="pascal"):
    """A JSON object with Docker's names."""


class Probe(_Value, frozen=True, kw_only=True):
    """One run of a health check."""

    start: datetime | None = None
    end: datetime | None = None
    exit_code: int = 0
    output: str = ""


class Health(_Value, frozen=True, kw_only=True):
    """`status` is "starting", "healthy" or "unhealthy"."""

    status: str = ""
    failing_streak: int = 0
    log: tuple[Probe, ...] = ()


class State(_Value, frozen=True, kw_only=True):
    """`status` is "created", "running", "paused", "restarting", "removing", "exited" or "dead"."""

    status: str = ""
    running: bool = False
    paused: bool = False
    restarting: bool = False
    oom_killed: bool = field(name="OOMKilled", default=False)
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    health: Health | None = None


class Config(_Value, frozen=True, kw_only=True):
    """What the program was told."""

    hostname: str = ""
    user: str = ""
    env: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    image: str = ""
    working_dir: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    tty: bool = False
    stop_signal: str = ""


class MountPoint(_Value, frozen=True, kw_only=True):
    """A mount of a container."""

    type: str = ""
    name: str = ""
    source: str = ""
    destination: str = ""
    mode: str = ""
    writable: bool = field(name="RW", default=True)


class Endpoint(_Value, frozen=True, kw_only=True):
    """A container on a network."""

    network_id: str = field(name="NetworkID", default="")
    ip: str = field(name="IPAddress", default="")
    ipv6: str = field(name="GlobalIPv6Address", default="")
    gateway: str = ""
    mac: str = field(name="MacAddress", default="")
    aliases: tuple[str, ...] = ()


class _Binding(_Value, frozen=True, kw_only=True):
    host_ip: str = ""
    host_port: str = ""


class NetworkSettings(_Value, frozen=True, kw_only=True):
    """`networks` by name; `ports` by Docker's `80/tcp`."""

    networks: dict[str, Endpoint] = field(default_factory=dict)
    ports: dict[str, tuple[_Binding, ...] | None] = field(default_factory=dict)


class ContainerDetails(_Value, frozen=True, kw_only=True):
    """A container at one moment; `raw` is all that the daemon told."""

    id: str
    name: str = ""
    created: datetime | None = None
    image: str = ""
    path: str = ""
    args: tuple[str, ...] = ()
    state: State = State()
    config: Config = Config()
    mounts: tuple[MountPoint, ...] = ()
    network_settings: NetworkSettings = field(default_factory=NetworkSettings)
    restart_count: int = 0
    log_path: str = ""
    raw: dict[str, Any] = field(name="raw", default_factory=dict)


class ListedPort(_Value, frozen=True, kw_only=True):
    """A port as a list shows it."""

    ip: str = field(name="IP", default="")
    private_port: int = 0
    public_port: int = 0
    type: str = "tcp"


class ContainerSummary(_Value, frozen=True, kw_only=True):
    """A container as a list shows it."""

    id: str
    names: tuple[str, ...] = ()
    image: str = ""
    image_id: str = field(name="ImageID", default="")
    command: str = ""
    created: int = 0
    ports: tuple[ListedPort, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    state: str = ""
    status: str = ""

    @property
    def name(self) -> str:
        """Its own name: the others are links."""
        return next((name[1:] for name in self.names if name.count("/") == 1), "")


class ImageSummary(_Value, frozen=True, kw_only=True):
    """An image as a list shows it."""

    id: str
    tags: tuple[str, ...] = field(name="RepoTags", default=())
    digests: tuple[str, ...] = field(name="RepoDigests", default=())
    created: int = 0
    size: int = 0
    labels: dict[str, str] = field(default_factory=dict)


class _RootFs(_Value, frozen=True, kw_only=True):
    layers: tuple[str, ...] = ()


class ImageDetails(_Value, frozen=True, kw_only=True):
    """An image; `raw` is all that the daemon told."""

    id: str
    tags: tuple[str, ...] = field(name="RepoTags", default=())
    digests: tuple[str, ...] = field(name="RepoDigests", default=())
    created: datetime | None = None
    architecture: str = ""
    os: str = ""
    size: int = 0
    config: Config = Config()
    root_fs: _RootFs = field(name="RootFS", default_factory=_RootFs)
    raw: dict[str, Any] = field(name="raw", default_factory=dict)

    @property
    def layers(self) -> tuple[str, ...]:
        """The digests of the unpacked layers, base first."""
        return self.root_fs.layers


class History(_Value, frozen=True, kw_only=True):
    """One step of an image's making."""

    id: str = ""
    created: int = 0
    created_by: str = ""
    size: int = 0
    comment: str = ""


class Progress(Struct, frozen=True, kw_only=True):
    """One line of a transfer: `id` is the layer or tag; `current` and `total` are bytes, 0 where none."""

    status: str = ""
    id: str = ""
    current: int = 0
    total: int = 0
    stream: str = ""


class Subnet(_Value, frozen=True, kw_only=True):
    """A range of addresses."""

    subnet: str = ""
    gateway: str = ""
    range: str = field(name="IPRange", default="")


class _Ipam(_Value, frozen=True, kw_only=True):
    config: tuple[Subnet, ...] = ()


class NetworkMember(_Value, frozen=True, kw_only=True):
    """A running container on a network; addresses with their prefix length."""

    name: str = ""
    mac: str = field(name="MacAddress", default="")
    ipv4: str = field(name="IPv4Address", default="")
    ipv6: str = field(name="IPv6Address", default="")


class NetworkDetails(_Value, frozen=True, kw_only=True):
    """A network; `containers` by id, where it was inspected."""

    id: str
    name: str = ""
    driver: str = ""
    internal: bool = False
    attachable: bool = False
    ipv6: bool = field(name="EnableIPv6", default=False)
    ipam: _Ipam = field(name="IPAM", default_factory=_Ipam)
    containers: dict[str, NetworkMember] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)

    @property
    def subnets(self) -> tuple[Subnet, ...]:
        """Its addresses."""
        return self.ipam.config


class VolumeDetails(_Value, frozen=True, kw_only=True):
    """A named volume."""

    name: str
    driver: str = ""
    mountpoint: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)


class _Actor(_Value, frozen=True, kw_only=True):
    id: str = field(name="ID", default="")
    attributes: dict[str, str] = field(default_factory=dict)


class Event(Struct, frozen=True, kw_only=True):
    """One thing that happened: type "container", action "start", the object's id, nanoseconds since the epoch."""

    type: str = field(name="Type", default="")
    action: str = field(name="Action", default="")
    actor: _Actor = field(name="Actor", default_factory=_Actor)
    at: int = field(name="timeNano", default=0)

    @property
    def id(self) -> str:
        """The object's id."""
        return self.actor.id

    @property
    def attributes(self) -> Mapping[str, str]:
        """The object's name, labels, exit code and the like."""
        return self.actor.attributes


class Stats(NamedTuple):
    """What a container uses; `cpu` is in CPUs (1.0 is one whole CPU), over the time since the sample before."""

    at: datetime | None
    cpu: float
    memory: int
    memory_limit: int
    received: int
    sent: int
    read: int
    written: int
    pids: int


class Version(_Value, frozen=True, kw_only=True):
    """What the daemon is."""

    version: str = ""
    api_version: str = ""
    os: str = ""
    arch: str = ""
    kernel_version: str = ""


class Info(_Value, frozen=True, kw_only=True):
    """The daemon and its host; `raw` is all that it told."""

    id: str = field(name="ID", default="")
    name: str = ""
    containers: int = 0
    containers_running: int = 0
    images: int = 0
    driver: str = ""
    server_version: str = ""
    operating_system: str = ""
    cpus: int = field(name="NCPU", default=0)
    memory: int = field(name="MemTotal", default=0)
    data_root: str = field(name="DockerRootDir", default="")
    raw: dict[str, Any] = field(name="raw", default_factory=dict)
