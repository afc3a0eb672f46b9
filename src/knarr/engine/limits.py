"""Limits that a host's cgroups may be unable to keep, and what Docker makes of that. Pure; `abilities` looks.

Such a limit is discarded with Docker's warning, as moby's verifyPlatformContainerResources does; the runtime below would
refuse it.
"""

from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from typing import Any

from knarr.model.container import Resources
from knarr.model.errors import Conflict


class Ability(StrEnum):
    """Named as in `docker info` and in the words of the warnings."""

    MEMORY = "memory limit"
    SWAP = "swap limit"
    RESERVATION = "memory reservation"
    SWAPPINESS = "memory swappiness"
    OOM_KILL_DISABLE = "oom kill disable"
    CPU_SHARES = "cpu shares"
    CPU_CFS = "cpu cfs quota"
    CPUSET = "cpuset"
    PIDS = "pids limit"
    WEIGHT = "blkio weight"
    WEIGHT_DEVICE = "blkio weight_device"
    READ_BPS = "blkio throttle.read_bps_device"
    WRITE_BPS = "blkio throttle.write_bps_device"
    READ_IOPS = "blkio throttle.read_iops_device"
    WRITE_IOPS = "blkio throttle.write_iops_device"


ALL = frozenset(Ability)


def info_warnings(have: frozenset[Ability], version: int) -> tuple[str, ...]:
    """What `docker info` warns of."""
    told = [Ability.MEMORY, Ability.SWAP, Ability.CPU_CFS, Ability.CPU_SHARES, Ability.CPUSET, Ability.PIDS]
    if version == 1:
        told += [Ability.OOM_KILL_DISABLE]
    return tuple(f"WARNING: No {ability} support" for ability in told if ability not in have)


_MISSING = " or the cgroup is not mounted."
_Discard = tuple[Ability, Callable[[Resources], object], dict[str, Any], str]
_DISCARDED: tuple[_Discard, ...] = (
    (Ability.MEMORY, lambda it: it.memory > 0, {"memory": 0, "memory_swap": -1},
     f"Your kernel does not support memory limit capabilities{_MISSING} Limitation discarded."),
    (Ability.SWAP, lambda it: it.memory > 0 and it.memory_swap != -1, {"memory_swap": -1},
     f"Your kernel does not support swap limit capabilities{_MISSING} Memory limited without swap."),
    (Ability.SWAPPINESS, lambda it: it.memory_swappiness not in (None, -1), {"memory_swappiness": None},
     f"Your kernel does not support memory swappiness capabilities{_MISSING} Memory swappiness discarded."),
    (Ability.RESERVATION, lambda it: it.memory_reservation > 0, {"memory_reservation": 0},
     f"Your kernel does not support memory soft limit capabilities{_MISSING} Limitation discarded."),
    (Ability.OOM_KILL_DISABLE, lambda it: it.oom_kill_disable, {"oom_kill_disable": False},
     "Your kernel does not support OomKillDisable. OomKillDisable discarded."),
    (Ability.PIDS, lambda it: it.pids_limit > 0, {"pids_limit": 0},
     f"Your kernel does not support PIDs limit capabilities{_MISSING} PIDs limit discarded."),
    (Ability.CPU_SHARES, lambda it: it.cpu_shares > 0, {"cpu_shares": 0},
     f"Your kernel does not support CPU shares{_MISSING} Shares discarded."),
    (Ability.CPU_CFS, lambda it: it.cpu_period or it.cpu_quota, {"cpu_period": 0, "cpu_quota": 0},
     "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded."),
    (Ability.CPUSET, lambda it: it.cpuset_cpus or it.cpuset_mems, {"cpuset_cpus": "", "cpuset_mems": ""},
     f"Your kernel does not support cpuset{_MISSING} Cpuset discarded."),
    (Ability.WEIGHT, lambda it: it.blkio_weight, {"blkio_weight": 0},
     f"Your kernel does not support Block I/O weight{_MISSING} Weight discarded."),
    (Ability.WEIGHT_DEVICE, lambda it: it.blkio_weight_devices, {"blkio_weight_devices": ()},
     f"Your kernel does not support Block I/O weight_device{_MISSING} Weight-device discarded."),
    (Ability.READ_BPS, lambda it: it.blkio_read_bps, {"blkio_read_bps": ()},
     f"Your kernel does not support BPS Block I/O read limit{_MISSING} Block I/O BPS read limit discarded."),
    (Ability.WRITE_BPS, lambda it: it.blkio_write_bps, {"blkio_write_bps": ()},
     f"Your kernel does not support BPS Block I/O write limit{_MISSING} Block I/O BPS write limit discarded."),
    (Ability.READ_IOPS, lambda it: it.blkio_read_iops, {"blkio_read_iops": ()},
     f"Your kernel does not support IOPS Block read limit{_MISSING} Block I/O IOPS read limit discarded."),
    (Ability.WRITE_IOPS, lambda it: it.blkio_write_iops, {"blkio_write_iops": ()},
     f"Your kernel does not support IOPS Block write limit{_MISSING} Block I/O IOPS write limit discarded."),
)  # fmt: skip
_ENDLESS = (
    "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of "
    "resources."
)


def settle(resources: Resources, have: frozenset[Ability]) -> tuple[Resources, tuple[str, ...]]:
    """What can be kept, and a warning for everything else. Pure."""
    warnings = []
    for ability, wants, instead, warning in _DISCARDED:
        if ability not in have and wants(resources):
            resources = replace(resources, **instead)
            warnings.append(warning)
    if resources.oom_kill_disable and not resources.memory:
        warnings.append(_ENDLESS)
    return resources, tuple(warnings)


_CONFLICTS = (
    ("nano_cpus", "cpu_period", "Nano CPUs cannot be updated as CPU Period"),
    ("nano_cpus", "cpu_quota", "Nano CPUs cannot be updated as CPU Quota"),
    ("cpu_period", "nano_cpus", "CPU Period cannot be updated as NanoCPUs"),
    ("cpu_quota", "nano_cpus", "CPU Quota cannot be updated as NanoCPUs"),
)


_UPDATABLE = (
    "blkio_weight",
    "blkio_weight_devices",
    "blkio_read_bps",
    "blkio_write_bps",
    "blkio_read_iops",
    "blkio_write_iops",
    "cpu_shares",
    "nano_cpus",
    "cpu_period",
    "cpu_quota",
    "cpu_realtime_period",
    "cpu_realtime_runtime",
    "cpuset_cpus",
    "cpuset_mems",
    "memory",
    "memory_swap",
    "memory_reservation",
    "pids_limit",
)
"""What a running process can get otherwise; Docker passes over the rest in silence."""


def updated(present: Resources, asked: Resources) -> Resources:
    """`docker update`: fields at their defaults stay as they are. Pure. Raises Conflict, Invalid."""
    for wish, other, words in _CONFLICTS:
        if getattr(asked, wish) > 0 and getattr(present, other) > 0:
            raise Conflict(f"Conflicting options: {words} has already been set")
    default = Resources()
    changes: dict[str, Any] = {
        name: value for name in _UPDATABLE if (value := getattr(asked, name)) != getattr(default, name)
    }
    merged = replace(present, **changes)
    if "memory" in changes and "memory_swap" not in changes and merged.memory_swap < merged.memory:
        raise Conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
        )
    return merged
