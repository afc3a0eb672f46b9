"""From values to Docker's JSON: containers and execs as inspect shows them. Pure."""

from collections.abc import Iterable
from typing import Any

from knarr.api.server.mounting import binds, mounts_json, tmpfs
from knarr.api.spec.history import shaped
from knarr.api.spec.versions import Version
from knarr.model.container import (
    BlockLimit,
    ContainerSpec,
    ContainerState,
    ContainerView,
    DeviceRequest,
    EndpointSpec,
    EndpointView,
    ExecView,
    Health,
    Healthcheck,
    MountPoint,
    Status,
)
from knarr.model.moments import rfc3339
from knarr.model.ports import Port, PortBinding
from knarr.runtime import defaults

_OF_THE_BRIDGE = (
    "EndpointID",
    "Gateway",
    "GlobalIPv6Address",
    "GlobalIPv6PrefixLen",
    "IPAddress",
    "IPPrefixLen",
    "IPv6Gateway",
    "MacAddress",
)


def inspect(view: ContainerView, version: Version) -> dict[str, Any]:
    """GET /containers/{id}/json."""
    value: dict[str, Any] = {
        "Id": view.id,
        "Created": rfc3339(view.created),
        "Path": view.path,
        "Args": list(view.args),
        "State": state(view.state),
        "Image": view.image_id,
        "ResolvConfPath": view.files.get("resolv.conf", ""),
        "HostnamePath": view.files.get("hostname", ""),
        "HostsPath": view.files.get("hosts", ""),
        "LogPath": view.files.get("log", ""),
        "Name": f"/{view.name}",
        "RestartCount": view.state.restart_count,
        "Driver": view.driver,
        "Platform": view.platform,
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": list(view.exec_ids) or None,
        "HostConfig": host_config(view.spec),
        "GraphDriver": {"Data": dict(view.graph_data), "Name": view.driver},
    }
    if view.size_rw is not None:
        value["SizeRw"] = view.size_rw
        value["SizeRootFs"] = view.size_root_fs
    value["Mounts"] = [mount_point(each) for each in view.mounts]
    value["Config"] = config(view.spec, view)
    value["NetworkSettings"] = _network_settings(view, version)
    if version < (1, 52):
        _as_before_1_52(value, view)
    return shaped("container", value, version)


def _as_before_1_52(value: dict[str, Any], view: ContainerView) -> None:
    """What moved to the endpoints: the default bridge's addresses, and the MAC address of the main network."""
    default = next((each for each in view.endpoints if each.network == "bridge"), None)
    if default is not None:
        shown_ = endpoint(default)
        value["NetworkSettings"] |= {key: shown_[key] for key in _OF_THE_BRIDGE}
    main = [each.mac for each in view.spec.endpoints if each.network == view.spec.network_mode and each.mac]
    optional(value["Config"], "MacAddress", view.spec.mac_address or (main[0] if main else ""))


def state(value: ContainerState) -> dict[str, Any]:
    """Its `State`; intents are shown as what still holds."""
    status = shown(value)
    told = {
        "Status": status,
        "Running": status in ("running", "paused", "restarting"),
        "Paused": status == "paused",
        "Restarting": status == "restarting",
        "OOMKilled": value.oom_killed,
        "Dead": status == "dead",
        "Pid": value.pid,
        "ExitCode": value.exit_code,
        "Error": value.error,
        "StartedAt": rfc3339(value.started_at),
        "FinishedAt": rfc3339(value.finished_at),
    }
    if value.health is not None:
        told["Health"] = _health(value.health)
    return told


def _health(value: Health) -> dict[str, Any]:
    return {
        "Status": value.status,
        "FailingStreak": value.failing_streak,
        "Log": [
            {
                "Start": rfc3339(probe.start),
                "End": rfc3339(probe.end),
                "ExitCode": probe.exit_code,
                "Output": probe.output,
            }
            for probe in value.log
        ],
    }


def shown(value: ContainerState) -> str:
    """The status in Docker's words."""
    if value.status is Status.CREATING:
        return "created"
    if value.status is Status.STARTING:
        return "exited" if value.finished_at else "created"
    return str(value.status)


def config(spec: ContainerSpec, view: ContainerView) -> dict[str, Any]:
    """Its `Config`."""
    value: dict[str, Any] = {
        "Hostname": spec.hostname,
        "Domainname": spec.domainname,
        "User": spec.user,
        "AttachStdin": spec.attach_stdin,
        "AttachStdout": spec.attach_stdout,
        "AttachStderr": spec.attach_stderr,
    }
    if spec.exposed_ports:
        value["ExposedPorts"] = {str(port): {} for port in spec.exposed_ports}
    value |= {
        "Tty": spec.tty,
        "OpenStdin": spec.open_stdin,
        "StdinOnce": spec.stdin_once,
        "Env": list(spec.environment),
        "Cmd": _listed(spec.command),
    }
    if spec.healthcheck:
        value["Healthcheck"] = healthcheck(spec.healthcheck)
    value |= {
        "Image": spec.image,
        "Volumes": {path: {} for path in spec.volumes} or None,
        "WorkingDir": spec.working_dir,
        "Entrypoint": _listed(spec.entrypoint),
        "Labels": dict(spec.labels),
    }
    optional(value, "OnBuild", list(spec.on_build))
    optional(value, "NetworkDisabled", spec.network_disabled)
    optional(value, "StopSignal", spec.stop_signal)
    if spec.stop_timeout is not None:
        value["StopTimeout"] = spec.stop_timeout
    optional(value, "Shell", list(spec.shell))
    return value


def healthcheck(check: Healthcheck) -> dict[str, Any]:
    """A health check without what it does not say."""
    value = {
        "Test": list(check.test),
        "Interval": check.interval,
        "Timeout": check.timeout,
        "StartPeriod": check.start_period,
        "StartInterval": check.start_interval,
        "Retries": check.retries,
    }
    return {key: each for key, each in value.items() if each}


def host_config(spec: ContainerSpec) -> dict[str, Any]:
    """Its `HostConfig`."""
    value: dict[str, Any] = {
        "Binds": binds(spec.mounts),
        "ContainerIDFile": spec.cid_file,
        "LogConfig": {"Type": spec.log.driver, "Config": dict(spec.log.options)},
        "NetworkMode": spec.network_mode,
        "PortBindings": _bindings(spec.port_bindings),
        "RestartPolicy": {
            "Name": spec.restart.name,
            "MaximumRetryCount": spec.restart.maximum_retries,
        },
        **({"OnUnhealthy": spec.on_unhealthy} if spec.on_unhealthy else {}),
        "AutoRemove": spec.auto_remove,
        "VolumeDriver": spec.volume_driver,
        "VolumesFrom": _listed(spec.volumes_from or None),
        "ConsoleSize": list(spec.console_size),
    }
    optional(value, "Annotations", dict(spec.annotations))
    value |= {
        "CapAdd": _listed(spec.cap_add or None),
        "CapDrop": _listed(spec.cap_drop or None),
        "CgroupnsMode": spec.cgroupns_mode,
        "Dns": list(spec.dns),
        "DnsOptions": list(spec.dns_options),
        "DnsSearch": list(spec.dns_search),
        "ExtraHosts": _listed(spec.extra_hosts or None),
        "GroupAdd": _listed(spec.groups or None),
        "IpcMode": spec.ipc_mode,
        "Cgroup": "",
        "Links": _listed(spec.links or None),
        "OomScoreAdj": spec.oom_score_adj,
        "PidMode": spec.pid_mode,
        "Privileged": spec.privileged,
        "PublishAllPorts": spec.publish_all,
        "ReadonlyRootfs": spec.read_only,
        "SecurityOpt": _listed(spec.security_options or None),
    }
    optional(value, "StorageOpt", dict(spec.storage_options))
    optional(value, "Tmpfs", tmpfs(spec.mounts))
    value |= {"UTSMode": spec.uts_mode, "UsernsMode": spec.userns_mode, "ShmSize": spec.shm_size}
    optional(value, "Sysctls", dict(spec.sysctls))
    value |= {"Runtime": spec.runtime, "Isolation": spec.isolation}
    value |= _resources(spec)
    optional(value, "Mounts", mounts_json(spec.mounts))
    unmasked = spec.privileged or "systempaths=unconfined" in spec.security_options
    value["MaskedPaths"] = _paths(spec.masked_paths, defaults.MASKED_PATHS, unmasked)
    value["ReadonlyPaths"] = _paths(spec.readonly_paths, defaults.READONLY_PATHS, unmasked)
    if spec.init is not None:
        value["Init"] = spec.init
    return value


def _resources(spec: ContainerSpec) -> dict[str, Any]:
    given = spec.resources
    return {
        "CpuShares": given.cpu_shares,
        "Memory": given.memory,
        "NanoCpus": given.nano_cpus,
        "CgroupParent": spec.cgroup_parent,
        "BlkioWeight": given.blkio_weight,
        "BlkioWeightDevice": [{"Path": d.path, "Weight": d.rate} for d in given.blkio_weight_devices],
        "BlkioDeviceReadBps": _rates(given.blkio_read_bps),
        "BlkioDeviceWriteBps": _rates(given.blkio_write_bps),
        "BlkioDeviceReadIOps": _rates(given.blkio_read_iops),
        "BlkioDeviceWriteIOps": _rates(given.blkio_write_iops),
        "CpuPeriod": given.cpu_period,
        "CpuQuota": given.cpu_quota,
        "CpuRealtimePeriod": given.cpu_realtime_period,
        "CpuRealtimeRuntime": given.cpu_realtime_runtime,
        "CpusetCpus": given.cpuset_cpus,
        "CpusetMems": given.cpuset_mems,
        "Devices": [
            {"PathOnHost": d.host, "PathInContainer": d.container, "CgroupPermissions": d.permissions}
            for d in given.devices
        ],
        "DeviceCgroupRules": _listed(given.device_cgroup_rules or None),
        "DeviceRequests": [_request(each) for each in given.device_requests] or None,
        "MemoryReservation": given.memory_reservation,
        "MemorySwap": given.memory_swap,
        "MemorySwappiness": given.memory_swappiness,
        "OomKillDisable": given.oom_kill_disable,
        "PidsLimit": max(given.pids_limit, 0) if given.pids_limit else None,
        "Ulimits": [{"Name": u.name, "Hard": u.hard, "Soft": u.soft} for u in given.ulimits],
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
    }


def mount_point(mount: MountPoint) -> dict[str, Any]:
    """One entry of `Mounts`."""
    value: dict[str, Any] = {"Type": mount.type}
    optional(value, "Name", mount.name)
    value |= {"Source": mount.source, "Destination": mount.target}
    optional(value, "Driver", mount.driver)
    value |= {"Mode": mount.mode, "RW": mount.writable, "Propagation": mount.propagation}
    return value


def _network_settings(view: ContainerView, version: Version) -> dict[str, Any]:
    first = view.endpoints[0] if view.endpoints else None
    return {
        "SandboxID": first.sandbox_id if first else "",
        "SandboxKey": first.sandbox_key if first else "",
        "Ports": _ports(view) if view.state.pid else {},
        "Networks": networks(view, version),
    }


def networks(view: ContainerView, version: Version) -> dict[str, Any]:
    """NetworkSettings.Networks."""
    asked = {each.network: each for each in view.spec.endpoints}
    found = {each.network: endpoint(each, asked.get(each.network)) for each in view.endpoints}
    if version < (1, 45):
        for name, value in found.items():
            if name not in ("bridge", "host", "none", "default"):
                own = [*(value["Aliases"] or ()), view.id[:12], view.spec.hostname]
                value["Aliases"] = list(dict.fromkeys(own))
    return found


def endpoint(view: EndpointView, asked: EndpointSpec | None = None) -> dict[str, Any]:
    """EndpointSettings."""
    addresses = None
    if asked and (asked.ipv4 or asked.ipv6 or asked.link_local):
        fixed = {
            "IPv4Address": asked.ipv4,
            "IPv6Address": asked.ipv6,
            "LinkLocalIPs": list(asked.link_local),
        }
        addresses = {key: each for key, each in fixed.items() if each}
    return {
        "IPAMConfig": addresses,
        "Links": _listed(view.links or None),
        "Aliases": _listed(view.aliases or None),
        "MacAddress": view.mac,
        "DriverOpts": dict(view.driver_options) or None,
        "GwPriority": asked.priority if asked else 0,
        "NetworkID": view.network_id,
        "EndpointID": view.endpoint_id,
        "Gateway": view.gateway,
        "IPAddress": view.ipv4,
        "IPPrefixLen": view.ipv4_prefix,
        "IPv6Gateway": view.ipv6_gateway,
        "GlobalIPv6Address": view.ipv6,
        "GlobalIPv6PrefixLen": view.ipv6_prefix,
        "DNSNames": _listed(view.dns_names or None),
    }


def _ports(view: ContainerView) -> dict[str, Any]:
    """What is exposed, with what it is published as."""
    ports: dict[Port, list[dict[str, str]] | None] = dict.fromkeys(view.spec.exposed_ports)
    for each in view.published:
        found = ports.get(each.port) or []
        found.append({"HostIp": each.host_ip, "HostPort": str(each.host_port or "")})
        ports[each.port] = found
    return {str(port): found for port, found in sorted(ports.items(), key=lambda item: item[0])}


def _bindings(bindings: Iterable[PortBinding]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for each in bindings:
        text = "" if not each.first else str(each.first)
        if each.last > each.first:
            text += f"-{each.last}"
        out.setdefault(str(each.port), []).append({"HostIp": each.host_ip, "HostPort": text})
    return out


def exec_inspect(view: ExecView) -> dict[str, Any]:
    """GET /exec/{id}/json."""
    return {
        "ID": view.id,
        "Running": view.running,
        "ExitCode": view.exit_code,
        "ProcessConfig": {
            "tty": view.spec.tty,
            "entrypoint": view.spec.command[0],
            "arguments": list(view.spec.command[1:]),
            "privileged": view.spec.privileged,
            **({"user": view.spec.user} if view.spec.user else {}),
        },
        "OpenStdin": view.spec.attach_stdin,
        "OpenStderr": view.spec.attach_stderr,
        "OpenStdout": view.spec.attach_stdout,
        "CanRemove": view.can_remove,
        "ContainerID": view.container_id,
        "DetachKeys": view.spec.detach_keys,
        "Pid": view.pid,
    }


def _paths(asked: tuple[str, ...] | None, default: tuple[str, ...], unmasked: bool) -> list[str] | None:
    if asked is not None:
        return list(asked)
    return None if unmasked else list(default)


def _rates(limits: Iterable[BlockLimit]) -> list[dict[str, Any]]:
    return [{"Path": each.path, "Rate": each.rate} for each in limits]


def _request(value: DeviceRequest) -> dict[str, Any]:
    return {
        "Driver": value.driver,
        "Count": value.count,
        "DeviceIDs": list(value.ids) or None,
        "Capabilities": [list(words) for words in value.capabilities] or None,
        "Options": dict(value.options),
    }


def _listed(values: Iterable[str] | None) -> list[str] | None:
    return None if values is None else list(values)


def optional(value: dict[str, Any], key: str, each: Any) -> None:
    """Go's omitempty."""
    if each:
        value[key] = each
