"""What this host's cgroups can do, by looking. `limits` has what follows from it."""

import contextlib
import os
from glob import glob

from knarr.engine.limits import Ability
from knarr.kernel.cgroups.hierarchy import Hierarchy
from knarr.kernel.files import read_text

_V1 = {
    Ability.MEMORY: ("memory", "memory.limit_in_bytes"),
    Ability.SWAP: ("memory", "memory.memsw.limit_in_bytes"),
    Ability.RESERVATION: ("memory", "memory.soft_limit_in_bytes"),
    Ability.SWAPPINESS: ("memory", "memory.swappiness"),
    Ability.OOM_KILL_DISABLE: ("memory", "memory.oom_control"),
    Ability.CPU_SHARES: ("cpu", "cpu.shares"),
    Ability.CPU_CFS: ("cpu", "cpu.cfs_quota_us"),
    Ability.CPUSET: ("cpuset", "cpuset.cpus"),
    Ability.PIDS: ("pids", "cgroup.procs"),
    Ability.READ_BPS: ("blkio", "blkio.throttle.read_bps_device"),
    Ability.WRITE_BPS: ("blkio", "blkio.throttle.write_bps_device"),
    Ability.READ_IOPS: ("blkio", "blkio.throttle.read_iops_device"),
    Ability.WRITE_IOPS: ("blkio", "blkio.throttle.write_iops_device"),
}
_V2 = {
    "memory": (Ability.MEMORY, Ability.RESERVATION),
    "cpu": (Ability.CPU_SHARES, Ability.CPU_CFS),
    "cpuset": (Ability.CPUSET,),
    "pids": (Ability.PIDS,),
    "io": (
        Ability.WEIGHT,
        Ability.WEIGHT_DEVICE,
        Ability.READ_BPS,
        Ability.WRITE_BPS,
        Ability.READ_IOPS,
        Ability.WRITE_IOPS,
    ),
}


def abilities(hierarchy: Hierarchy) -> frozenset[Ability]:
    """Blocking; once a daemon's life."""
    if hierarchy.version == 2:
        return _of_version_2(hierarchy.unified)
    mounts = hierarchy.controllers
    found = {
        ability
        for ability, (controller, name) in _V1.items()
        if controller in mounts and os.path.exists(f"{mounts[controller]}/{name}")
    }
    # The root has neither kind of weight; bfq's statistics say that its children have bfq's.
    if "blkio" in mounts and any(
        os.path.exists(f"{mounts['blkio']}/{name}") for name in ("blkio.weight", "blkio.bfq.io_serviced")
    ):
        found.add(Ability.WEIGHT)
        if os.path.exists(f"{mounts['blkio']}/blkio.weight_device") or _any_disk_has_bfq():
            found.add(Ability.WEIGHT_DEVICE)
    return frozenset(found)


def _any_disk_has_bfq() -> bool:
    """Only bfq takes a weight for one device, and only where it schedules that device."""
    for path in glob("/sys/block/*/queue/scheduler"):
        with contextlib.suppress(OSError):
            if "[bfq]" in read_text(path):
                return True
    return False


def _of_version_2(mount: str) -> frozenset[Ability]:
    controllers = read_text(f"{mount}/cgroup.controllers").split()
    found = {ability for name in controllers for ability in _V2.get(name, ())}
    # The root has no memory.swap.max to look at; a kernel that can swap counts it, unless it was told not to.
    counts = "swapaccount=0" not in read_text("/proc/cmdline").split()
    if Ability.MEMORY in found and counts and os.path.exists("/proc/swaps"):
        found.add(Ability.SWAP)
    return frozenset(found)
