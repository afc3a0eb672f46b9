"""Version 1's numbers in the shape of `runc events`, which both versions share (types/events.go). Times are nanoseconds."""

from collections.abc import Mapping
from typing import Any

from knarr.kernel.cgroups import tables

_TICK = 1_000_000_000 // 100
"""USER_HZ is 100 on every architecture that Linux runs containers on."""

_NUMBERS = (
    "cpu_exclusive",
    "mem_hardwall",
    "mem_exclusive",
    "memory_migrate",
    "memory_spread_page",
    "memory_spread_slab",
    "memory_pressure",
    "sched_load_balance",
    "sched_relax_domain_level",
)
_BLKIO = (
    ("ioServiceBytesRecursive", ("bfq.io_service_bytes_recursive", "throttle.io_service_bytes_recursive")),
    ("ioServicedRecursive", ("bfq.io_serviced_recursive", "throttle.io_serviced_recursive")),
    ("ioQueueRecursive", ("bfq.io_queued_recursive",)),
    ("ioServiceTimeRecursive", ("bfq.io_service_time_recursive",)),
    ("ioWaitTimeRecursive", ("bfq.io_wait_time_recursive",)),
    ("ioMergedRecursive", ("bfq.io_merged_recursive",)),
    ("ioTimeRecursive", ("bfq.time_recursive",)),
    ("sectorsRecursive", ("bfq.sectors_recursive",)),
)


def stats(paths: Mapping[str, str]) -> dict[str, Any]:
    """`paths` is controller → directory."""
    pids = paths.get("pids", "")
    limit = tables.number(f"{pids}/pids.max")
    return {
        "cpu": _cpu(paths.get("cpu", ""), paths.get("cpuacct", "")),
        "cpuset": _cpuset(paths.get("cpuset", "")),
        "memory": _memory(paths.get("memory", "")),
        "pids": {
            "current": tables.number(f"{pids}/pids.current"),
            "limit": 0 if limit == tables.UNLIMITED else limit,
        },
        "blkio": {key: _entries(paths.get("blkio", ""), names) for key, names in _BLKIO},
        "hugetlb": _hugetlb(paths["hugetlb"]) if "hugetlb" in paths else {},
        "rdma": {
            key: tables.rdma(paths["rdma"], f"rdma.{file}") if "rdma" in paths else []
            for key, file in (("limit", "max"), ("current", "current"))
        },
        "misc": {},
    }


def _cpu(cpu: str, account: str) -> dict[str, Any]:
    spent = tables.flat(f"{account}/cpuacct.stat")
    throttled = tables.flat(f"{cpu}/cpu.stat")
    rows = [line.split() for line in tables.text(f"{account}/cpuacct.usage_all").splitlines()[1:]]
    return {
        "usage": {
            "total": tables.number(f"{account}/cpuacct.usage"),
            "percpu": [int(word) for word in tables.text(f"{account}/cpuacct.usage_percpu").split()],
            "percpu_kernel": [int(row[2]) for row in rows if len(row) > 2],
            "percpu_user": [int(row[1]) for row in rows if len(row) > 2],
            "kernel": spent.get("system", 0) * _TICK,
            "user": spent.get("user", 0) * _TICK,
        },
        "throttling": {
            "periods": throttled.get("nr_periods", 0),
            "throttledPeriods": throttled.get("nr_throttled", 0),
            "throttledTime": throttled.get("throttled_time", 0),
        },
        "burst": {
            "burstsPeriods": throttled.get("nr_bursts", 0),
            "burstTime": throttled.get("burst_time", 0),
        },
    }


def _cpuset(directory: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        name: tables.cpu_list(f"{directory}/cpuset.{name}") if directory else [] for name in ("cpus", "mems")
    }
    return found | {name: tables.number(f"{directory}/cpuset.{name}") for name in _NUMBERS}


def _memory(directory: str) -> dict[str, Any]:
    raw = tables.flat(f"{directory}/memory.stat")
    return {
        "cache": raw.get("cache", 0),
        "usage": _counter(f"{directory}/memory"),
        "swap": _counter(f"{directory}/memory.memsw"),
        "kernel": _counter(f"{directory}/memory.kmem"),
        "kernelTCP": _counter(f"{directory}/memory.kmem.tcp"),
        "raw": raw,
    }


def _counter(prefix: str) -> dict[str, int]:
    return {
        "limit": tables.number(f"{prefix}.limit_in_bytes"),
        "usage": tables.number(f"{prefix}.usage_in_bytes"),
        "max": tables.number(f"{prefix}.max_usage_in_bytes"),
        "failcnt": tables.number(f"{prefix}.failcnt"),
    }


def _entries(directory: str, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """The first of the files that says anything: `8:0 Read 4096` lines; sums are the reader's."""
    for name in names:
        found = []
        for line in tables.text(f"{directory}/blkio.{name}").splitlines():
            words = line.replace(":", " ").split()
            if len(words) in (3, 4) and words[0] != "Total":
                major, minor, *operation, value = words
                entry = {"major": int(major), "minor": int(minor), "value": int(value)}
                found.append({**entry, "op": operation[0] if operation else ""})
        if found:
            return found
    return []


def _hugetlb(directory: str) -> dict[str, dict[str, int]]:
    found = {}
    for size in tables.huge_pages():
        prefix = f"{directory}/hugetlb.{size}.rsvd"
        if not tables.text(f"{prefix}.usage_in_bytes"):
            prefix = f"{directory}/hugetlb.{size}"
        found[size] = {
            "usage": tables.number(f"{prefix}.usage_in_bytes"),
            "max": tables.number(f"{prefix}.max_usage_in_bytes"),
            "failcnt": tables.number(f"{prefix}.failcnt"),
        }
    return found
