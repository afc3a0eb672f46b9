"""From values to Docker's JSON: what a container asks of its host. Pure."""

from collections.abc import Iterable
from typing import Any

from knarr.api.server.mounting import binds, mounts_json, tmpfs
from knarr.api.server.omission import listed, optional
from knarr.model.container import BlockLimit, ContainerSpec, DeviceRequest
from knarr.model.ports import PortBinding
from knarr.runtime import defaults


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
        "VolumesFrom": listed(spec.volumes_from or None),
        "ConsoleSize": list(spec.console_size),
    }
    optional(value, "Annotations", dict(spec.annotations))
    value |= {
        "CapAdd": listed(spec.cap_add or None),
        "CapDrop": listed(spec.cap_drop or None),
        "CgroupnsMode": spec.cgroupns_mode,
        "Dns": list(spec.dns),
        "DnsOptions": list(spec.dns_options),
        "DnsSearch": list(spec.dns_search),
        "ExtraHosts": listed(spec.extra_hosts or None),
        "GroupAdd": listed(spec.groups or None),
        "IpcMode": spec.ipc_mode,
        "Cgroup": "",
        "Links": listed(spec.links or None),
        "OomScoreAdj": spec.oom_score_adj,
        "PidMode": spec.pid_mode,
        "Privileged": spec.privileged,
        "PublishAllPorts": spec.publish_all,
        "ReadonlyRootfs": spec.read_only,
        "SecurityOpt": listed(spec.security_options or None),
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
        "DeviceCgroupRules": listed(given.device_cgroup_rules or None),
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


def _bindings(bindings: Iterable[PortBinding]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for each in bindings:
        text = "" if not each.first else str(each.first)
        if each.last > each.first:
            text += f"-{each.last}"
        out.setdefault(str(each.port), []).append({"HostIp": each.host_ip, "HostPort": text})
    return out


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
