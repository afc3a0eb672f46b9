"""Bodies of the containers' and execs' requests. Every attribute has exactly the name that the JSON has.

`None` is Go's nil: not sent, or sent as null. The API's reference is engine-api.yaml, "ContainerConfig" and "HostConfig".
"""

from typing import Any

from msgspec import Struct

Strings = list[str] | None
Mapping = dict[str, str] | None


class _Body(Struct, forbid_unknown_fields=True):
    """Unknown fields send the decoder to its slow path, which ignores them."""


class Healthcheck(_Body):
    """HealthConfig: times in nanoseconds."""

    Test: Strings = None
    Interval: int = 0
    Timeout: int = 0
    StartPeriod: int = 0
    StartInterval: int = 0
    Retries: int = 0


class Config(_Body):
    """ContainerConfig: what belongs to the image or to the program."""

    Hostname: str = ""
    Domainname: str = ""
    User: str = ""
    AttachStdin: bool = False
    AttachStdout: bool = False
    AttachStderr: bool = False
    ExposedPorts: dict[str, Any] | None = None
    Tty: bool = False
    OpenStdin: bool = False
    StdinOnce: bool = False
    Env: Strings = None
    Cmd: list[str] | str | None = None
    Healthcheck: "Healthcheck | None" = None
    ArgsEscaped: bool = False
    Image: str = ""
    Volumes: dict[str, Any] | None = None
    WorkingDir: str = ""
    Entrypoint: list[str] | str | None = None
    NetworkDisabled: bool = False
    MacAddress: str = ""
    OnBuild: Strings = None
    Labels: Mapping = None
    StopSignal: str = ""
    StopTimeout: int | None = None
    Shell: Strings = None


class PortBinding(_Body):
    """Where on the host; the port may be empty or a range."""

    HostIp: str = ""
    HostPort: str = ""


class LogConfig(_Body):
    """The logging driver."""

    Type: str = ""
    Config: Mapping = None


class RestartPolicy(_Body):
    """When it lives again."""

    Name: str = ""
    MaximumRetryCount: int = 0


class Ulimit(_Body):
    """setrlimit(2)."""

    Name: str = ""
    Soft: int = 0
    Hard: int = 0


class Device(_Body):
    """A device of the host."""

    PathOnHost: str = ""
    PathInContainer: str = ""
    CgroupPermissions: str = ""


class DeviceRequest(_Body):
    """Devices that a driver is to find."""

    Driver: str = ""
    Count: int = 0
    DeviceIDs: Strings = None
    Capabilities: list[list[str]] | None = None
    Options: Mapping = None


class WeightDevice(_Body):
    """A block device's weight."""

    Path: str = ""
    Weight: int = 0


class ThrottleDevice(_Body):
    """A block device's rate."""

    Path: str = ""
    Rate: int = 0


class DriverConfig(_Body):
    """A volume's driver."""

    Name: str = ""
    Options: Mapping = None


class BindOptions(_Body):
    """Of a mount of type bind."""

    Propagation: str = ""
    NonRecursive: bool = False
    CreateMountpoint: bool = False
    ReadOnlyNonRecursive: bool = False
    ReadOnlyForceRecursive: bool = False


class VolumeOptions(_Body):
    """Of a mount of type volume."""

    NoCopy: bool = False
    Labels: Mapping = None
    DriverConfig: "DriverConfig | None" = None
    Subpath: str = ""


class TmpfsOptions(_Body):
    """Of a mount of type tmpfs."""

    SizeBytes: int = 0
    Mode: int = 0
    Options: list[list[str]] | None = None


class ImageOptions(_Body):
    """Of a mount of type image."""

    Subpath: str = ""


class Mount(_Body):
    """What --mount asks for."""

    Type: str = ""
    Source: str = ""
    Target: str = ""
    ReadOnly: bool = False
    Consistency: str = ""
    BindOptions: "BindOptions | None" = None
    VolumeOptions: "VolumeOptions | None" = None
    TmpfsOptions: "TmpfsOptions | None" = None
    ImageOptions: "ImageOptions | None" = None
    ClusterOptions: Any = None


class Resources(_Body):
    """Limits; also the body of an update."""

    CpuShares: int = 0
    Memory: int = 0
    NanoCpus: int = 0
    CgroupParent: str = ""
    BlkioWeight: int = 0
    BlkioWeightDevice: list[WeightDevice] | None = None
    BlkioDeviceReadBps: list[ThrottleDevice] | None = None
    BlkioDeviceWriteBps: list[ThrottleDevice] | None = None
    BlkioDeviceReadIOps: list[ThrottleDevice] | None = None
    BlkioDeviceWriteIOps: list[ThrottleDevice] | None = None
    CpuPeriod: int = 0
    CpuQuota: int = 0
    CpuRealtimePeriod: int = 0
    CpuRealtimeRuntime: int = 0
    CpusetCpus: str = ""
    CpusetMems: str = ""
    Devices: list[Device] | None = None
    DeviceCgroupRules: Strings = None
    DeviceRequests: list[DeviceRequest] | None = None
    KernelMemory: int = 0
    KernelMemoryTCP: int = 0
    MemoryReservation: int = 0
    MemorySwap: int = 0
    MemorySwappiness: int | None = None
    OomKillDisable: bool | None = None
    PidsLimit: int | None = None
    Ulimits: list[Ulimit] | None = None
    CpuCount: int = 0
    CpuPercent: int = 0
    IOMaximumIOps: int = 0
    IOMaximumBandwidth: int = 0


class Update(Resources):
    """The body of an update. `PublishAdd` and `PublishRm` are knarr's own, in the form of HostConfig.PortBindings."""

    RestartPolicy: "RestartPolicy | None" = None
    OnUnhealthy: str | None = None
    PublishAdd: dict[str, list["PortBinding"] | None] | None = None
    PublishRm: dict[str, list["PortBinding"] | None] | None = None


class HostConfig(Resources):
    """What depends on the host."""

    Binds: Strings = None
    ContainerIDFile: str = ""
    LogConfig: "LogConfig | None" = None
    NetworkMode: str = ""
    PortBindings: dict[str, list[PortBinding] | None] | None = None
    RestartPolicy: "RestartPolicy | None" = None
    OnUnhealthy: str = ""
    AutoRemove: bool = False
    VolumeDriver: str = ""
    VolumesFrom: Strings = None
    ConsoleSize: list[int] | None = None
    Annotations: Mapping = None
    CapAdd: list[str] | str | None = None
    CapDrop: list[str] | str | None = None
    CgroupnsMode: str = ""
    Dns: Strings = None
    DnsOptions: Strings = None
    DnsSearch: Strings = None
    ExtraHosts: Strings = None
    GroupAdd: Strings = None
    IpcMode: str = ""
    Cgroup: str = ""
    Links: Strings = None
    OomScoreAdj: int = 0
    PidMode: str = ""
    Privileged: bool = False
    PublishAllPorts: bool = False
    ReadonlyRootfs: bool = False
    SecurityOpt: Strings = None
    StorageOpt: Mapping = None
    Tmpfs: Mapping = None
    UTSMode: str = ""
    UsernsMode: str = ""
    ShmSize: int = 0
    Sysctls: Mapping = None
    Runtime: str = ""
    Isolation: str = ""
    Mounts: list[Mount] | None = None
    MaskedPaths: Strings = None
    ReadonlyPaths: Strings = None
    Init: bool | None = None


class IPAMConfig(_Body):
    """Addresses asked for."""

    IPv4Address: str = ""
    IPv6Address: str = ""
    LinkLocalIPs: Strings = None


class Endpoint(_Body):
    """EndpointSettings: the container on one network. The facts that inspect adds may be sent back and are ignored."""

    IPAMConfig: "IPAMConfig | None" = None
    Links: Strings = None
    Aliases: Strings = None
    MacAddress: str = ""
    DriverOpts: Mapping = None
    GwPriority: int = 0
    NetworkID: str = ""
    EndpointID: str = ""
    Gateway: str = ""
    IPAddress: str = ""
    IPPrefixLen: int = 0
    IPv6Gateway: str = ""
    GlobalIPv6Address: str = ""
    GlobalIPv6PrefixLen: int = 0
    DNSNames: Strings = None


class NetworkingConfig(_Body):
    """One entry a network."""

    EndpointsConfig: dict[str, Endpoint | None] | None = None


class Create(Config):
    """The body of POST /containers/create."""

    HostConfig: "HostConfig | None" = None
    NetworkingConfig: "NetworkingConfig | None" = None


class ExecCreate(_Body):
    """The body of POST /containers/{id}/exec."""

    User: str = ""
    Privileged: bool = False
    Tty: bool = False
    ConsoleSize: list[int] | None = None
    AttachStdin: bool = False
    AttachStderr: bool = False
    AttachStdout: bool = False
    DetachKeys: str = ""
    Env: Strings = None
    WorkingDir: str = ""
    Cmd: list[str] | str | None = None
    Detach: bool = False
    Container: str = ""


class ExecStart(_Body):
    """The body of POST /exec/{id}/start."""

    Detach: bool = False
    Tty: bool = False
    ConsoleSize: list[int] | None = None
