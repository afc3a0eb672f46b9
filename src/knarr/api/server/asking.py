"""From Docker's JSON to values: what a container, an exec or an update is asked to be. Pure; Raises Invalid.

What older versions of the API did not know, or read otherwise, is settled here, so that the engine knows one version only.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from knarr.api.server.mounting import read_mounts
from knarr.api.spec import containers as spec
from knarr.api.spec.versions import Version
from knarr.engine.checks import clean
from knarr.model.container import (
    BlockLimit,
    ContainerSpec,
    DeviceMapping,
    DeviceRequest,
    EndpointSpec,
    ExecSpec,
    Healthcheck,
    LogConfig,
    Resources,
    RestartPolicy,
    Ulimit,
)
from knarr.model.errors import Invalid
from knarr.model.ports import Port, PortBinding
from knarr.wire import detachkeys

_PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?\Z")


def container(body: spec.Create, version: Version, platform: str = "") -> ContainerSpec:
    """The body of POST /containers/create."""
    if body == spec.Create(HostConfig=body.HostConfig, NetworkingConfig=body.NetworkingConfig):
        raise Invalid("config cannot be empty in order to create a container")
    host = body.HostConfig or spec.HostConfig()
    network_mode = "bridge" if host.NetworkMode in ("", "default") else host.NetworkMode
    if network_mode in ("container", "container:"):
        raise Invalid("invalid network mode: invalid container format container:<name|id>")
    for value, word in ((host.IOMaximumIOps, "IOPs"), (host.IOMaximumBandwidth, "bandwidth")):
        if value:
            raise Invalid(f"invalid option: QoS maximum {word} configuration is not supported on linux")
    endpoints = _endpoints(body, network_mode, version)
    if version >= (1, 48) and not network_mode.startswith(("host", "none", "container:")):
        _check_sysctls(host.Sysctls or {})
    return ContainerSpec(
        **_program(body, version),
        network_disabled=body.NetworkDisabled,
        mac_address=body.MacAddress if version < (1, 44) else "",
        platform=platform,
        endpoints=endpoints,
        network_mode=network_mode,
        **_host(host, version),
    )


def _check_sysctls(sysctls: Iterable[str]) -> None:
    """Those of one link are its endpoint's."""
    for name in sysctls:
        parts = name.split(".", 4)
        if len(parts) == 5 and parts[0] == "net" and parts[3].startswith("eth"):
            raise Invalid(
                f'interface specific sysctl setting "{name}" must be supplied using driver option '
                "'com.docker.network.endpoint.sysctls'"
            )


def warnings(body: spec.Create, version: Version) -> tuple[str, ...]:
    """What the user of a create should know: fields that are on their way out."""
    host = body.HostConfig or spec.HostConfig()
    told = []
    if host.VolumeDriver and version >= (1, 48) and any(map(_takes_no_driver, host.Mounts or ())):
        told.append(
            "WARNING: the container-wide volume-driver configuration is ignored for volumes specified via 'mount'. "
            "Use '--mount type=volume,volume-driver=...' instead"
        )
    if host.CpuPercent > 0:
        told.append("linux does not support CPU percent. Percent discarded.")
    if body.MacAddress and version >= (1, 44):
        told.append(
            "The container-wide MacAddress field is now deprecated. "
            "It should be specified in EndpointsConfig instead."
        )
    empty = [port for port, bindings in (host.PortBindings or {}).items() if not bindings]
    if empty and version >= (1, 52):
        told.append(
            f"Following container port(s) have an empty list of port-bindings: {', '.join(empty)}. "
            "Such bindings will be discarded in a future version."
        )
    return tuple(told)


def _takes_no_driver(mount: spec.Mount) -> bool:
    asked = mount.VolumeOptions and mount.VolumeOptions.DriverConfig
    return mount.Type == "volume" and not (asked and asked.Name)


def program(body: spec.Config, version: Version) -> ContainerSpec | None:
    """The body of POST /commit; None where it says nothing."""
    return ContainerSpec(**_program(body, version)) if body != spec.Config() else None


def _program(body: spec.Config, version: Version) -> dict[str, Any]:
    """The fields that an image's configuration has, too."""
    return {
        "image": body.Image,
        "command": _words(body.Cmd),
        "entrypoint": _words(body.Entrypoint),
        "environment": _tuple(body.Env),
        "working_dir": clean(body.WorkingDir) if body.WorkingDir else "",
        "user": body.User,
        "hostname": body.Hostname,
        "domainname": body.Domainname,
        "labels": body.Labels or {},
        "tty": body.Tty,
        "open_stdin": body.OpenStdin,
        "stdin_once": body.StdinOnce,
        "attach_stdin": body.AttachStdin,
        "attach_stdout": body.AttachStdout,
        "attach_stderr": body.AttachStderr,
        "stop_signal": body.StopSignal,
        "stop_timeout": body.StopTimeout,
        "exposed_ports": tuple(
            dict.fromkeys(port for text in body.ExposedPorts or () for port in _port_range(text))
        ),
        "volumes": tuple(body.Volumes or ()),
        "healthcheck": _healthcheck(body.Healthcheck),
        "shell": _tuple(body.Shell),
        "on_build": _tuple(body.OnBuild),
    }


def _host(host: spec.HostConfig, version: Version) -> dict[str, Any]:
    """The fields that HostConfig has."""
    log = host.LogConfig or spec.LogConfig()
    ipc, cgroupns = host.IpcMode, host.CgroupnsMode
    if version < (1, 40):
        ipc = ipc or "shareable"
    if version < (1, 41):
        cgroupns = cgroupns or "host"
    console = tuple(host.ConsoleSize or ())
    return {
        "groups": _tuple(host.GroupAdd),
        "port_bindings": bindings(host.PortBindings or {}),
        "publish_all": host.PublishAllPorts,
        "mounts": read_mounts(host, version),
        "volumes_from": _tuple(host.VolumesFrom),
        "extra_hosts": _tuple(host.ExtraHosts),
        "links": _tuple(host.Links),
        "dns": _tuple(host.Dns),
        "dns_options": _tuple(host.DnsOptions),
        "dns_search": _tuple(host.DnsSearch),
        "restart": _restart(host.RestartPolicy),
        "on_unhealthy": host.OnUnhealthy,
        "auto_remove": host.AutoRemove,
        "privileged": host.Privileged,
        "read_only": host.ReadonlyRootfs,
        "init": host.Init,
        "cap_add": _words(host.CapAdd) or (),
        "cap_drop": _words(host.CapDrop) or (),
        "security_options": _tuple(host.SecurityOpt),
        "ipc_mode": ipc,
        "pid_mode": host.PidMode,
        "uts_mode": host.UTSMode,
        "userns_mode": host.UsernsMode,
        "cgroupns_mode": cgroupns,
        "cgroup_parent": host.CgroupParent,
        "runtime": host.Runtime,
        "isolation": host.Isolation,
        "volume_driver": host.VolumeDriver,
        "shm_size": host.ShmSize,
        "sysctls": host.Sysctls or {},
        "oom_score_adj": host.OomScoreAdj,
        "storage_options": host.StorageOpt or {},
        "masked_paths": None if host.MaskedPaths is None else tuple(host.MaskedPaths),
        "readonly_paths": None if host.ReadonlyPaths is None else tuple(host.ReadonlyPaths),
        "cid_file": host.ContainerIDFile,
        "console_size": console if len(console) == 2 else (0, 0),
        "annotations": host.Annotations or {},
        "log": LogConfig(driver=log.Type, options=log.Config or {}),
        "resources": resources(host, version),
    }


def _requests(body: spec.Resources) -> tuple[DeviceRequest, ...]:
    return tuple(
        DeviceRequest(
            driver=each.Driver,
            count=each.Count,
            ids=_tuple(each.DeviceIDs),
            capabilities=tuple(tuple(words) for words in each.Capabilities or ()),
            options=each.Options or {},
        )
        for each in body.DeviceRequests or ()
    )


def resources(body: spec.Resources, version: Version) -> Resources:
    """The limits of a HostConfig or of an update."""
    return Resources(
        device_requests=_requests(body),
        memory=body.Memory,
        memory_reservation=body.MemoryReservation,
        memory_swap=body.MemorySwap,
        memory_swappiness=None if body.MemorySwappiness == -1 else body.MemorySwappiness,
        oom_kill_disable=bool(body.OomKillDisable),
        nano_cpus=body.NanoCpus,
        cpu_shares=body.CpuShares,
        cpu_period=body.CpuPeriod,
        cpu_quota=body.CpuQuota,
        cpu_realtime_period=body.CpuRealtimePeriod,
        cpu_realtime_runtime=body.CpuRealtimeRuntime,
        cpuset_cpus=body.CpusetCpus,
        cpuset_mems=body.CpusetMems,
        pids_limit=max(body.PidsLimit or 0, 0),
        blkio_weight=body.BlkioWeight,
        blkio_weight_devices=tuple(
            BlockLimit(path=each.Path, rate=each.Weight) for each in body.BlkioWeightDevice or ()
        ),
        blkio_read_bps=_rates(body.BlkioDeviceReadBps),
        blkio_write_bps=_rates(body.BlkioDeviceWriteBps),
        blkio_read_iops=_rates(body.BlkioDeviceReadIOps),
        blkio_write_iops=_rates(body.BlkioDeviceWriteIOps),
        devices=tuple(
            DeviceMapping(
                host=each.PathOnHost,
                container=each.PathInContainer or each.PathOnHost,
                permissions=each.CgroupPermissions or "rwm",
            )
            for each in body.Devices or ()
        ),
        device_cgroup_rules=_tuple(body.DeviceCgroupRules),
        ulimits=tuple(Ulimit(name=each.Name, soft=each.Soft, hard=each.Hard) for each in body.Ulimits or ()),
    )


def changes(body: spec.Resources, version: Version) -> Resources:
    """The limits of an update: a limit of processes that is not above zero takes the present one away."""
    found = resources(body, version)
    if body.PidsLimit is None:
        return replace(found, pids_limit=0)
    return replace(found, pids_limit=body.PidsLimit if body.PidsLimit > 0 else -1)


def restart(body: spec.RestartPolicy | None) -> RestartPolicy | None:
    """The policy of an update; None where it says nothing."""
    return _restart(body) if body and body.Name else None


def exec_(body: spec.ExecCreate) -> ExecSpec:
    """The body of POST /containers/{id}/exec."""
    command = _words(body.Cmd)
    if not command:
        raise Invalid("No exec command specified")
    try:
        detachkeys.parse(body.DetachKeys)
    except Invalid:
        raise Invalid(f"Invalid escape keys ({body.DetachKeys}) provided") from None
    return ExecSpec(
        command=command,
        environment=_tuple(body.Env),
        working_dir=body.WorkingDir,
        user=body.User,
        tty=body.Tty,
        attach_stdin=body.AttachStdin,
        attach_stdout=body.AttachStdout,
        attach_stderr=body.AttachStderr,
        privileged=body.Privileged,
        detach_keys=body.DetachKeys,
    )


def endpoint(network: str, body: spec.Endpoint) -> EndpointSpec:
    """One entry of EndpointsConfig."""
    addresses = body.IPAMConfig or spec.IPAMConfig()
    return EndpointSpec(
        network=network,
        aliases=_tuple(body.Aliases),
        links=_tuple(body.Links),
        ipv4=addresses.IPv4Address,
        ipv6=addresses.IPv6Address,
        link_local=_tuple(addresses.LinkLocalIPs),
        mac=body.MacAddress,
        driver_options=body.DriverOpts or {},
        priority=body.GwPriority,
    )


def _endpoints(body: spec.Create, network_mode: str, version: Version) -> tuple[EndpointSpec, ...]:
    """The networks asked for; a container-wide MAC address moves to the main one, as dockerd moves it."""
    asked = (body.NetworkingConfig and body.NetworkingConfig.EndpointsConfig) or {}
    found = {}
    for name, each in asked.items():
        if each is None:
            raise Invalid(f"invalid config for network {name}: EndpointsConfig is nil")
        found[_network(name)] = endpoint(_network(name), each)
    if version < (1, 44) and len(found) > 1:
        raise Invalid("Container cannot be created with multiple network endpoints: " + ", ".join(found))
    mac = body.MacAddress
    if mac and version >= (1, 52):
        raise Invalid(
            "container-wide MAC address no longer supported; use endpoint-specific MAC address instead"
        )
    bridged = network_mode not in ("host", "none") and not network_mode.startswith("container:")
    if mac and not bridged and version < (1, 44):
        raise Invalid("conflicting options: mac-address and the network mode")
    if mac and bridged:
        main = found.get(network_mode) or EndpointSpec(network=network_mode)
        if version >= (1, 44) and main.mac not in ("", mac):
            raise Invalid(
                "the container-wide MAC address must match the endpoint-specific MAC address for the main network, "
                "or be left empty"
            )
        found[network_mode] = replace(main, mac=mac)
    return tuple(found.values())


def _network(name: str) -> str:
    return "bridge" if name == "default" else name


def _port_range(text: str) -> list[Port]:
    numbers, _, protocol = text.partition("/")
    match = _PORTS.match(numbers)
    if not match or int(match[2] or match[1]) < int(match[1]):
        raise Invalid(f'invalid port specification: "{numbers}"')
    low = Port.parse(f"{match[1]}/{protocol or 'tcp'}")
    if not match[2]:
        return [low]
    high = Port.parse(f"{match[2]}/{protocol or 'tcp'}")
    return [Port(number, low.protocol) for number in range(low.number, high.number + 1)]


def bindings(asked: Mapping[str, list[spec.PortBinding] | None]) -> tuple[PortBinding, ...]:
    """HostConfig.PortBindings, and what has its form."""
    out = []
    for text, places in asked.items():
        for port in _port_range(text):
            for each in places or [spec.PortBinding()]:
                out.append(_binding(port, each))
    return tuple(out)


def _binding(port: Port, asked: spec.PortBinding) -> PortBinding:
    text = asked.HostPort.strip()
    if not text:
        return PortBinding(port, asked.HostIp)
    match = _PORTS.match(text)
    if not match or int(match[2] or match[1]) > 65535 or int(match[2] or match[1]) < int(match[1]):
        raise Invalid(f'invalid port specification: "{text}"')
    first = int(match[1])
    return PortBinding(port, asked.HostIp, first, int(match[2] or first))


def _healthcheck(body: spec.Healthcheck | None) -> Healthcheck | None:
    if body is None:
        return None
    return Healthcheck(
        test=_tuple(body.Test),
        interval=body.Interval,
        timeout=body.Timeout,
        start_period=body.StartPeriod,
        start_interval=body.StartInterval,
        retries=body.Retries,
    )


def _restart(body: spec.RestartPolicy | None) -> RestartPolicy:
    if body is None:
        return RestartPolicy()
    return RestartPolicy(name=body.Name or "no", maximum_retries=body.MaximumRetryCount)


def _rates(devices: list[spec.ThrottleDevice] | None) -> tuple[BlockLimit, ...]:
    return tuple(BlockLimit(path=each.Path, rate=each.Rate) for each in devices or ())


def _tuple(values: Iterable[str] | None) -> tuple[str, ...]:
    return tuple(values or ())


def _words(value: list[str] | str | None) -> tuple[str, ...] | None:
    """Go's StrSlice: a list, or one string that is one word."""
    if value is None:
        return None
    return (value,) if isinstance(value, str) else tuple(value)
