"""Version 2's numbers in the shape of `runc events`, which both versions share (types/events.go). Times are nanoseconds."""

from typing import Any

from knarr.kernel.cgroups import tables
from knarr.kernel.cgroups.tables import UNLIMITED
from knarr.kernel.cgroups.v1_stats import stats as v1_stats

_IO = {
    "rbytes": ("ioServiceBytesRecursive", "Read"),
    "wbytes": ("ioServiceBytesRecursive", "Write"),
    "rios": ("ioServicedRecursive", "Read"),
    "wios": ("ioServicedRecursive", "Write"),
    "cost.usage": ("ioCostUsage", "Count"),
    "cost.wait": ("ioCostWait", "Count"),
    "cost.indebt": ("ioCostIndebt", "Count"),
    "cost.indelay": ("ioCostIndelay", "Count"),
}


def stats(directory: str) -> dict[str, Any]:
    """What version 1 alone can tell is zero or empty."""
    found = v1_stats({})
    limit = tables.number(f"{directory}/pids.max")
    current = tables.text(f"{directory}/pids.current").strip()
    found["pids"] = {
        # Without the controller the processes can be counted all the same.
        "current": int(current) if current else len(tables.text(f"{directory}/cgroup.procs").split()),
        "limit": 0 if limit == UNLIMITED else limit,
    }
    found["cpu"] |= _cpu(directory)
    found["memory"] |= _memory(directory)
    found["blkio"] |= _io(directory)
    for size in tables.huge_pages():
        prefix = f"{directory}/hugetlb.{size}"
        if tables.text(f"{prefix}.current"):
            reserved = f"{prefix}.rsvd.current"
            found["hugetlb"][size] = {
                "usage": tables.number(reserved if tables.text(reserved) else f"{prefix}.current"),
                "max": 0,
                "failcnt": tables.flat(f"{prefix}.events").get("max", 0),
            }
    found["rdma"] = {
        key: tables.rdma(directory, f"rdma.{file}")
        for key, file in (("limit", "max"), ("current", "current"))
    }
    happened = tables.flat(f"{directory}/misc.events")
    found["misc"] = {
        name: {"usage": usage, "events": happened.get(f"{name}.max", 0)}
        for name, usage in tables.flat(f"{directory}/misc.current").items()
    }
    return found


def _cpu(directory: str) -> dict[str, Any]:
    spent = tables.flat(f"{directory}/cpu.stat")

    def nanoseconds(name: str) -> int:
        return spent.get(name, 0) * 1000

    return {
        "usage": {
            "total": nanoseconds("usage_usec"),
            "percpu": [],
            "percpu_kernel": [],
            "percpu_user": [],
            "kernel": nanoseconds("system_usec"),
            "user": nanoseconds("user_usec"),
        },
        "throttling": {
            "periods": spent.get("nr_periods", 0),
            "throttledPeriods": spent.get("nr_throttled", 0),
            "throttledTime": nanoseconds("throttled_usec"),
        },
        "burst": {"burstsPeriods": spent.get("nr_bursts", 0), "burstTime": nanoseconds("burst_usec")},
        "psi": tables.pressure(f"{directory}/cpu.pressure"),
    }


def _memory(directory: str) -> dict[str, Any]:
    raw = tables.flat(f"{directory}/memory.stat")
    memory, swap = _counter(f"{directory}/memory"), _counter(f"{directory}/memory.swap")
    # Version 1 counts memory and swap together; a peak of both cannot be had.
    together = {
        **swap,
        "usage": swap["usage"] + memory["usage"],
        "limit": min(swap["limit"] + memory["limit"], UNLIMITED),
        "max": 0,
    }
    return {
        "cache": raw.get("file", 0),
        "usage": {**memory, "failcnt": tables.flat(f"{directory}/memory.events").get("max", 0)},
        "swap": together,
        "raw": raw,
        "psi": tables.pressure(f"{directory}/memory.pressure"),
    }


def _counter(prefix: str) -> dict[str, int]:
    return {
        "limit": tables.number(f"{prefix}.max"),
        "usage": tables.number(f"{prefix}.current"),
        "max": tables.number(f"{prefix}.peak"),
        "failcnt": 0,
    }


def _io(directory: str) -> dict[str, Any]:
    found: dict[str, Any] = {key: [] for key, _ in _IO.values()}
    for device, values in tables.nested(f"{directory}/io.stat").items():
        major, colon, minor = device.partition(":")
        for name, value in values.items():
            if colon and name in _IO:
                key, operation = _IO[name]
                entry = {"major": int(major), "minor": int(minor), "value": int(value)}
                found[key].append({**entry, "op": operation})
    return {**found, "psi": tables.pressure(f"{directory}/io.pressure")}
