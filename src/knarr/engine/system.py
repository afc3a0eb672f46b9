"""What the daemon tells of itself and of its host."""

import asyncio
import os
import platform
import sqlite3
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from knarr.engine import devicedrivers, logdrivers
from knarr.engine.containers import Containers
from knarr.engine.limits import Ability, info_warnings
from knarr.engine.values import DiskUsage, Info, Version
from knarr.engine.volumes import Volumes
from knarr.engine.world import World, now
from knarr.kernel.files import read_text
from knarr.loop.blocking import blocking
from knarr.model.image import ImageView
from knarr.model.platform import Platform
from knarr.model.system import Event
from knarr.model.version import VERSION


class ImageCounts(Protocol):
    """What the system needs of `engine.images`."""

    async def count(self) -> int:
        """How many images there are."""

    async def usage(self) -> tuple[list[ImageView], int]:
        """Every image with what it takes on disk, and the bytes of all of them, each once."""


class System:
    """Info, version, disk usage."""

    def __init__(
        self,
        world: World,
        containers: Containers,
        volumes: Volumes,
        images: ImageCounts,
        daemon_id: str,
    ) -> None:
        self._world = world
        self._containers = containers
        self._volumes = volumes
        self._images = images
        self._id = daemon_id

    async def info(self) -> Info:
        """Counts, drivers, host."""
        world, settings = self._world, self._world.settings
        counts = self._containers.count()
        release = await blocking(_os_release)
        have = world.host.abilities
        found = await blocking(devicedrivers.read, settings.cdi_spec_dirs)
        return Info(
            id=self._id,
            name=world.host.hostname,
            server_version=VERSION,
            containers=sum(counts.values()),
            running=counts["running"],
            paused=counts["paused"],
            stopped=counts["stopped"],
            images=await self._images.count(),
            driver=world.snapshots.name,
            driver_status=(("Backing Filesystem", await blocking(_filesystem, settings.data_root)),),
            logging_driver=settings.log_driver,
            log_drivers=tuple(name for name in logdrivers.DRIVERS if name != "none"),
            volume_drivers=("local",),
            network_drivers=("bridge", "host", "ipvlan", "macvlan", "null"),
            cgroup_driver="cgroupfs",
            cgroup_version=str(world.hierarchy.version),
            kernel_version=platform.release(),
            operating_system=release.get("PRETTY_NAME", "Linux"),
            os_version=release.get("VERSION_ID", ""),
            os_type="linux",
            architecture=platform.machine(),
            ncpu=world.host.cpus,
            memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            data_root=settings.data_root,
            labels=settings.labels,
            default_runtime="runc",
            runtimes=("runc", "io.containerd.runc.v2"),
            security_options=(
                f"name=seccomp,profile={settings.seccomp_profile or 'builtin'}",
                *(("name=no-new-privileges",) if settings.no_new_privileges else ()),
                *(("name=userns",) if world.remap is not None else ()),
                "name=cgroupns",
            ),
            registry_mirrors=settings.mirrors,
            insecure_registries=("::1/128", "127.0.0.0/8", *settings.insecure_registries),
            cdi_spec_dirs=settings.cdi_spec_dirs,
            devices=tuple(found.devices),
            default_address_pools=tuple(settings.default_address_pools),
            system_time=now(),
            event_listeners=world.events.listeners,
            file_descriptors=len(os.listdir("/proc/self/fd")),
            tasks=len(asyncio.all_tasks()),
            debug=settings.debug,
            live_restore=settings.live_restore,
            ipv4_forwarding=await blocking(_forwards),
            memory_limit=Ability.MEMORY in have,
            swap_limit=Ability.SWAP in have,
            cpu_cfs=Ability.CPU_CFS in have,
            cpu_shares=Ability.CPU_SHARES in have,
            cpuset=Ability.CPUSET in have,
            pids_limit=Ability.PIDS in have,
            oom_kill_disable=Ability.OOM_KILL_DISABLE in have,
            warnings=(
                *info_warnings(have, world.hierarchy.version),
                *(
                    f"CDI: Error associated with spec file {each}: {why}"
                    for each, why in found.errors.items()
                ),
            ),
            http_proxy=_variable("HTTP_PROXY"),
            https_proxy=_variable("HTTPS_PROXY"),
            no_proxy=_variable("NO_PROXY"),
        )

    async def tell(self, action: str, attributes: Mapping[str, str]) -> None:
        """An event of the daemon itself."""
        told = {"name": self._world.host.hostname, **attributes}
        event = Event(type="daemon", action=action, id=self._id, at=now(), attributes=told)
        await self._world.commit(lambda _tx: None, event)

    async def version(self) -> Version:
        """Versions of the engine and what it stands on."""
        python = platform.python_version()
        machine = Platform.of_machine(platform.machine())
        return Version(
            version=VERSION,
            git_commit="",
            python_version=python,
            os="linux",
            architecture=machine.architecture,
            kernel_version=platform.release(),
            build_time="",
            components=(
                ("Python", python, {"Implementation": sys.implementation.name}),
                ("SQLite", sqlite3.sqlite_version, {}),
            ),
        )

    async def disk_usage(self) -> DiskUsage:
        """What images, containers and volumes take."""
        images, total = await self._images.usage()
        containers = await self._containers.list(all=True, size=True)
        used: dict[str, int] = {}
        for container in containers:
            used[container.image_id] = used.get(container.image_id, 0) + 1
        return DiskUsage(
            layers_size=total,
            images=tuple(replace(image, containers=used.get(str(image.image.id), 0)) for image in images),
            containers=tuple(containers),
            volumes=tuple(await self._volumes.usage()),
        )


def _os_release() -> dict[str, str]:
    """os-release(5)"""
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def _forwards() -> bool:
    return read_text("/proc/sys/net/ipv4/ip_forward").strip() == "1"


def _filesystem(path: str) -> str:
    """The type of the mount that holds `path` (proc_pid_mountinfo(5)); a later line hides an earlier one."""
    device = os.stat(path).st_dev
    found = ""
    for line in read_text("/proc/self/mountinfo", 16 << 20).splitlines():
        left, _, right = line.partition(" - ")
        major, _, minor = left.split()[2].partition(":")
        if os.makedev(int(major), int(minor)) == device:
            found = right.split()[0]
    return found


def _variable(name: str) -> str:
    return os.environ.get(name) or os.environ.get(name.lower()) or ""
