"""/_ping, /version, /info, /auth, /system/df: the daemon and its host."""

import time
from collections.abc import Sequence
from typing import Any

from knarr.api.server import images, listing, volumes
from knarr.api.server.call import Call, Route
from knarr.api.server.replies import reply
from knarr.api.spec import versions
from knarr.api.spec.history import shaped
from knarr.api.spec.others import Credentials
from knarr.engine.values import DiskUsage, Info
from knarr.loop.http.messages import Response
from knarr.model.errors import Invalid
from knarr.model.moments import rfc3339

_PING = {
    "Cache-Control": "no-cache, no-store, must-revalidate",
    "Pragma": "no-cache",
    "Content-Type": "text/plain; charset=utf-8",
    "Builder-Version": "1",
    "Swarm": "inactive",
}
_HUB = "https://index.docker.io/v1/"


async def ping(_: Call) -> Response:
    """GET and HEAD /_ping"""
    return Response(200, b"OK", dict(_PING))


async def version(call: Call) -> Response:
    """GET /version"""
    found = await call.engine.system.version()
    engine = {
        "Name": "Engine",
        "Version": found.version,
        "Details": {
            "ApiVersion": str(versions.LATEST),
            "Arch": found.architecture,
            "BuildTime": found.build_time,
            "Experimental": "false",
            "GitCommit": found.git_commit,
            "GoVersion": found.python_version,
            "KernelVersion": found.kernel_version,
            "MinAPIVersion": str(versions.OLDEST),
            "Os": found.os,
        },
    }
    others = [
        {"Name": name, "Version": number, "Details": dict(details)}
        for name, number, details in found.components
    ]
    return reply(
        {
            "Platform": {"Name": "knarr"},
            "Components": [engine, *others],
            "Version": found.version,
            "ApiVersion": str(versions.LATEST),
            "MinAPIVersion": str(versions.OLDEST),
            "GitCommit": found.git_commit,
            "GoVersion": found.python_version,
            "Os": found.os,
            "Arch": found.architecture,
            "KernelVersion": found.kernel_version,
            "BuildTime": found.build_time,
        }
    )


async def info(call: Call) -> Response:
    """GET /info"""
    found = await call.engine.system.info()
    return reply(shaped("info", _host(found) | _daemon(found), call.version))


def _host(found: Info) -> dict[str, Any]:
    return {
        "ID": found.id,
        "Containers": found.containers,
        "ContainersRunning": found.running,
        "ContainersPaused": found.paused,
        "ContainersStopped": found.stopped,
        "Images": found.images,
        "Driver": found.driver,
        "DriverStatus": [list(pair) for pair in found.driver_status],
        "Plugins": {
            "Volume": list(found.volume_drivers),
            "Network": list(found.network_drivers),
            "Authorization": None,
            "Log": list(found.log_drivers),
        },
        "MemoryLimit": found.memory_limit,
        "SwapLimit": found.swap_limit,
        "CpuCfsPeriod": found.cpu_cfs,
        "CpuCfsQuota": found.cpu_cfs,
        "CPUShares": found.cpu_shares,
        "CPUSet": found.cpuset,
        "PidsLimit": found.pids_limit,
        "IPv4Forwarding": found.ipv4_forwarding,
        "Debug": found.debug,
        "NFd": found.file_descriptors,
        "OomKillDisable": found.oom_kill_disable,
        "NGoroutines": found.tasks,
        "SystemTime": rfc3339(found.system_time),
        "LoggingDriver": found.logging_driver,
        "CgroupDriver": found.cgroup_driver,
        "CgroupVersion": found.cgroup_version,
        "NEventsListener": found.event_listeners,
        "KernelVersion": found.kernel_version,
        "OperatingSystem": found.operating_system,
        "OSVersion": found.os_version,
        "OSType": found.os_type,
        "Architecture": found.architecture,
    }


def _daemon(found: Info) -> dict[str, Any]:
    networks = [each for each in found.insecure_registries if "/" in each]
    indexes: dict[str, Any] = {
        "docker.io": {
            "Mirrors": list(found.registry_mirrors),
            "Name": "docker.io",
            "Official": True,
            "Secure": True,
        }
    }
    for host in found.insecure_registries:
        if "/" not in host:
            indexes[host] = {"Mirrors": [], "Name": host, "Official": False, "Secure": False}
    commit = {"ID": found.server_version}
    return {
        "IndexServerAddress": _HUB,
        "RegistryConfig": {
            "IndexConfigs": indexes,
            "InsecureRegistryCIDRs": networks,
            "Mirrors": list(found.registry_mirrors) or None,
        },
        "NCPU": found.ncpu,
        "MemTotal": found.memory,
        "GenericResources": None,
        "DockerRootDir": found.data_root,
        "HttpProxy": found.http_proxy,
        "HttpsProxy": found.https_proxy,
        "NoProxy": found.no_proxy,
        "Name": found.name,
        "Labels": list(found.labels),
        "ExperimentalBuild": False,
        "ServerVersion": found.server_version,
        "Runtimes": {name: {"path": name} for name in found.runtimes},
        "DefaultRuntime": found.default_runtime,
        "Swarm": {
            "NodeID": "",
            "NodeAddr": "",
            "LocalNodeState": "inactive",
            "ControlAvailable": False,
            "Error": "",
            "RemoteManagers": None,
        },
        "LiveRestoreEnabled": found.live_restore,
        "Isolation": "",
        "InitBinary": "docker-init",
        "ContainerdCommit": {"ID": ""},
        "RuncCommit": commit,
        "InitCommit": {"ID": ""},
        "SecurityOptions": list(found.security_options),
        "DefaultAddressPools": [{"Base": base, "Size": size} for base, size in found.default_address_pools],
        "FirewallBackend": {"Driver": "nftables"},
        "CDISpecDirs": list(found.cdi_spec_dirs),
        "DiscoveredDevices": [{"Source": "cdi", "ID": name} for name in found.devices],
        "NRI": None,
        "Warnings": list(found.warnings) or None,
    }


async def auth(call: Call) -> Response:
    """POST /auth"""
    body = await call.json(Credentials)
    server = body.serveraddress.partition("://")[2] or body.serveraddress
    host = server.partition("/")[0]
    await call.login("docker.io" if host in ("", "index.docker.io") else host, body)
    return reply({"IdentityToken": "", "Status": "Login Succeeded"})


async def disk_usage(call: Call) -> Response:
    """GET /system/df: from 1.52 on what each kind uses, and unless `verbose`, as moby has it, the older lists beside it."""
    kinds = call.texts("type") or list(_OBJECTS)
    for kind in kinds:
        if kind not in _OBJECTS:
            raise Invalid(f"unknown object type: {kind}")
    found = await call.engine.system.disk_usage()
    cached = await call.engine.build_cache().usage()
    now = time.time_ns()
    items = {
        "Images": [images.summary(view, call.version) for view in found.images],
        "Containers": [listing.summary(view, call.version, now) for view in found.containers],
        "Volumes": [volumes.told(view) for view in found.volumes],
        "BuildCache": [build_record(each) for each in cached],
    }
    verbose = call.flag("verbose")
    value: dict[str, Any] = {}
    if not verbose:
        value["LayersSize"] = found.layers_size if "image" in kinds else 0
        value |= {name: items[name] if kind in kinds else None for kind, name in _OBJECTS.items()}
    if call.version >= (1, 52):
        for kind, usage in _usage(found, cached).items():
            if kind in kinds:
                listed = items[_OBJECTS[kind]]
                value[_USAGES[kind]] = {**usage, "Items": listed} if verbose and listed else usage
    return reply(value)


def build_record(record: Any) -> dict[str, Any]:
    """One of the build cache's."""
    value: dict[str, Any] = {
        "ID": record.id,
        "Type": record.kind,
        "Description": record.description,
        "InUse": record.in_use,
        "Shared": record.shared,
        "Size": record.size,
        "CreatedAt": rfc3339(record.created),
        "LastUsedAt": rfc3339(record.used) if record.used else None,
        "UsageCount": record.uses,
    }
    if record.parents:
        value["Parents"] = list(record.parents)
    return value


_OBJECTS = {"image": "Images", "container": "Containers", "volume": "Volumes", "build-cache": "BuildCache"}
_USAGES = {
    "image": "ImageUsage",
    "container": "ContainerUsage",
    "volume": "VolumeUsage",
    "build-cache": "BuildCacheUsage",
}


def _usage(found: DiskUsage, cached: Sequence[Any]) -> dict[str, dict[str, int]]:
    """What is used, and what a prune would free."""
    stopped = [each for each in found.containers if not each.state.pid]
    unused = [each for each in found.images if not each.containers]
    free = [each for each in found.volumes if not each.references]
    return {
        "image": _sums(
            len(found.images) - len(unused),
            len(found.images),
            sum(each.size - max(each.shared_size, 0) for each in unused),
            found.layers_size,
        ),
        "container": _sums(
            len(found.containers) - len(stopped),
            len(found.containers),
            sum(each.size_rw or 0 for each in stopped),
            sum(each.size_rw or 0 for each in found.containers),
        ),
        "volume": _sums(
            len(found.volumes) - len(free),
            len(found.volumes),
            sum(each.size for each in free),
            sum(each.size for each in found.volumes),
        ),
        "build-cache": _sums(
            sum(1 for each in cached if each.in_use),
            len(cached),
            sum(each.size for each in cached if not each.in_use and not each.shared),
            sum(each.size for each in cached if not each.shared),
        ),
    }


def _sums(active: int, total: int, reclaimable: int, size: int) -> dict[str, int]:
    value = {"ActiveCount": active, "TotalCount": total, "Reclaimable": reclaimable, "TotalSize": size}
    return {key: number for key, number in value.items() if number}


ROUTES = (
    Route("GET", "/_ping", ping),
    Route("HEAD", "/_ping", ping),
    Route("GET", "/version", version),
    Route("GET", "/info", info),
    Route("POST", "/auth", auth),
    Route("GET", "/system/df", disk_usage),
)
