"""OCI linux.resources as writes to version 2's files, in the order in which they must be made. Pure.

The configuration speaks version 1's language; `units` translates. What version 2 does not have is an error that names it.
"""

from collections.abc import Mapping
from typing import Any

from knarr.kernel.cgroups.units import cpu_weight, swap_alone
from knarr.kernel.cgroups.v1_settings import huge_pages, pids_limit, rdma_lines

Setting = tuple[str, str]
"""(file, value)"""

_ONLY_V1 = (
    ("memory", "kernel", "a limit of kernel memory"),
    ("memory", "kernelTCP", "a limit of TCP memory"),
    ("memory", "disableOOMKiller", "disabling the OOM killer"),
    ("cpu", "realtimePeriod", "a realtime period"),
    ("cpu", "realtimeRuntime", "a realtime runtime"),
    ("blockIO", "leafWeight", "a leaf weight of block I/O"),
    ("network", "classID", "a network class"),
    ("network", "priorities", "network priorities"),
)
_THROTTLES = (
    ("throttleReadBpsDevice", "rbps"),
    ("throttleWriteBpsDevice", "wbps"),
    ("throttleReadIOPSDevice", "riops"),
    ("throttleWriteIOPSDevice", "wiops"),
)


def settings(
    resources: Mapping[str, Any], *, memory_now: int | None = None, quota_now: str = "max"
) -> list[Setting]:
    """Everything but devices and `unified`. What is there now completes half a wish. Raises ValueError."""
    _check(resources)
    out = _memory(resources.get("memory") or {}, memory_now)
    out += _cpu(resources.get("cpu") or {}, quota_now)
    pids = (resources.get("pids") or {}).get("limit")
    if pids is not None:
        out.append(("pids.max", pids_limit(pids)))
    out += _io(resources.get("blockIO") or {})
    for size, most in huge_pages(resources):
        out += [(f"hugetlb.{size}.max", most), (f"hugetlb.{size}.rsvd.max", most)]
    return out + [("rdma.max", line) for line in rdma_lines(resources.get("rdma") or {})]


def _check(resources: Mapping[str, Any]) -> None:
    for group, key, words in _ONLY_V1:
        if (resources.get(group) or {}).get(key):
            raise ValueError(f"cgroup version 2 does not have {words} ({group}.{key})")
    if (resources.get("memory") or {}).get("swappiness") not in (None, -1):
        raise ValueError("cgroup version 2 does not have swappiness (memory.swappiness)")
    for device in (resources.get("blockIO") or {}).get("weightDevice") or ():
        if device.get("leafWeight"):
            raise ValueError(
                "cgroup version 2 does not have a leaf weight of block I/O (blockIO.weightDevice)"
            )


def _memory(memory: Mapping[str, Any], now: int | None) -> list[Setting]:
    out: list[Setting] = []
    limit = memory.get("limit")
    swap = swap_alone(memory.get("swap"), limit or now)
    if limit == -1 and not memory.get("swap"):
        swap = -1
    if swap is not None:
        out.append(("memory.swap.max", _limit(swap)))
    for key, name in (("limit", "memory.max"), ("reservation", "memory.low")):
        if memory.get(key):
            out.append((name, _limit(memory[key])))
    return out


def _cpu(cpu: Mapping[str, Any], quota_now: str) -> list[Setting]:
    out: list[Setting] = []
    if cpu.get("idle") is not None:
        out.append(("cpu.idle", str(cpu["idle"])))
    if cpu.get("shares"):
        out.append(("cpu.weight", str(cpu_weight(cpu["shares"]))))
    if cpu.get("burst") is not None:
        out.append(("cpu.max.burst", str(cpu["burst"])))
    quota, period = cpu.get("quota"), cpu.get("period")
    if quota or period:
        words = [_limit(quota) if quota else quota_now]
        # A maximum alone leaves the period as it is (cgroup-v2.rst, cpu.max).
        out.append(("cpu.max", " ".join([*words, str(period)] if period else words)))
    for key, name in (("cpus", "cpuset.cpus"), ("mems", "cpuset.mems")):
        if cpu.get(key):
            out.append((name, cpu[key]))
    return out


def _io(block: Mapping[str, Any]) -> list[Setting]:
    out: list[Setting] = []
    if block.get("weight"):
        out.append(("io.bfq.weight", str(block["weight"])))
    for device in block.get("weightDevice") or ():
        if device.get("weight"):
            out.append(("io.bfq.weight", f"{device['major']}:{device['minor']} {device['weight']}"))
    for key, name in _THROTTLES:
        for device in block.get(key) or ():
            out.append(("io.max", f"{device['major']}:{device['minor']} {name}={device['rate'] or 'max'}"))
    return out


def unified(resources: Mapping[str, Any], available: frozenset[str]) -> list[Setting]:
    """`unified`, each line of a value a write of its own. Raises ValueError for a file of a controller that is not there."""
    out: list[Setting] = []
    for name, value in (resources.get("unified") or {}).items():
        if "/" in name:
            raise ValueError(f'unified resource "{name}" must be a file name (no slashes)')
        controller, dot, _ = name.partition(".")
        if not dot:
            raise ValueError(f'unified resource "{name}" must be in the form CONTROLLER.PARAMETER')
        if controller not in available and controller != "cgroup":
            raise ValueError(
                f'unified resource "{name}" can\'t be set: controller "{controller}" not available'
            )
        out += [(name, line) for line in value.splitlines() or [""]]
    return out


def _limit(number: int) -> str:
    return "max" if number < 0 else str(number)
