"""A container's limits and devices become OCI's linux.resources. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from knarr.model.container import Resources
from knarr.runtime import defaults

CPU_PERIOD = 100_000
Numbers = Mapping[str, tuple[int, int]]
"""(major, minor) of the block devices in limits, by their paths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A device: in the container at `path`, on the host `kind` ("c", "b") `major`:`minor` at `source`."""

    path: str
    kind: str
    major: int
    minor: int
    mode: int
    uid: int
    gid: int
    permissions: str = "rwm"
    source: str = ""


def oci_resources(
    resources: Resources, nodes: Sequence[Node], numbers: Numbers, *, privileged: bool
) -> dict[str, Any]:
    """OCI linux.resources: only what was asked for, and the devices that it may use."""
    made = {
        "memory": _memory(resources),
        "cpu": _cpu(resources),
        "blockIO": _block(resources, numbers),
    }
    made = {key: value for key, value in made.items() if value}
    if resources.pids_limit:
        made["pids"] = {"limit": resources.pids_limit}
    return {**made, "devices": _device_rules(resources, nodes, privileged=privileged)}


def _device_rules(resources: Resources, nodes: Sequence[Node], *, privileged: bool) -> list[dict[str, Any]]:
    if privileged:
        return list(defaults.PRIVILEGED_DEVICE_RULES)
    rules = defaults.device_rules()
    for node in nodes:
        rules.append(
            {
                "allow": True,
                "type": node.kind,
                "major": node.major,
                "minor": node.minor,
                "access": node.permissions,
            }
        )
    for text in resources.device_cgroup_rules:
        kind, numbers, access = text.split()
        rule: dict[str, Any] = {"allow": True, "type": kind, "access": access}
        for key, number in zip(("major", "minor"), numbers.split(":"), strict=True):
            if number != "*":
                rule[key] = int(number)
        rules.append(rule)
    return rules


def _memory(resources: Resources) -> dict[str, Any]:
    memory: dict[str, Any] = {}
    if resources.memory:
        memory["limit"] = resources.memory
    if resources.memory_reservation:
        memory["reservation"] = resources.memory_reservation
    if resources.memory_swap:
        memory["swap"] = resources.memory_swap
    if resources.memory_swappiness not in (None, -1):
        memory["swappiness"] = resources.memory_swappiness
    if resources.oom_kill_disable:
        memory["disableOOMKiller"] = True
    return memory


def _cpu(resources: Resources) -> dict[str, Any]:
    cpu: dict[str, Any] = {
        "shares": resources.cpu_shares,
        "quota": resources.cpu_quota,
        "period": resources.cpu_period,
        "cpus": resources.cpuset_cpus,
        "mems": resources.cpuset_mems,
        "realtimePeriod": resources.cpu_realtime_period,
        "realtimeRuntime": resources.cpu_realtime_runtime,
    }
    if resources.nano_cpus:
        cpu["period"] = CPU_PERIOD
        cpu["quota"] = resources.nano_cpus * CPU_PERIOD // 1_000_000_000
    return {key: value for key, value in cpu.items() if value}


def _block(resources: Resources, numbers: Numbers) -> dict[str, Any]:
    block: dict[str, Any] = {}
    if resources.blkio_weight:
        block["weight"] = resources.blkio_weight
    fields = (
        ("weightDevice", "weight", resources.blkio_weight_devices),
        ("throttleReadBpsDevice", "rate", resources.blkio_read_bps),
        ("throttleWriteBpsDevice", "rate", resources.blkio_write_bps),
        ("throttleReadIOPSDevice", "rate", resources.blkio_read_iops),
        ("throttleWriteIOPSDevice", "rate", resources.blkio_write_iops),
    )
    for key, word, limits in fields:
        if limits:
            block[key] = [
                {"major": numbers[limit.path][0], "minor": numbers[limit.path][1], word: limit.rate}
                for limit in limits
            ]
    return block
