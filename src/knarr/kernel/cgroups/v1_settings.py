"""OCI linux.resources as writes to version 1's files, in the order in which they must be made. Pure.

Zero and null ask for nothing, as in runc, but where zero is a choice of its own: idle, burst, swappiness, pids.
"""

from collections.abc import Mapping
from typing import Any

from knarr.kernel.cgroups.rules import device_lines

Setting = tuple[str, str, str]
"""(controller, file, value)"""

LIMIT = "memory.limit_in_bytes"
SWAP = "memory.memsw.limit_in_bytes"
_CPU = (
    ("shares", "cpu.shares"),
    ("period", "cpu.cfs_period_us"),
    ("burst", "cpu.cfs_burst_us"),
    ("quota", "cpu.cfs_quota_us"),
    ("idle", "cpu.idle"),
    ("realtimePeriod", "cpu.rt_period_us"),
    ("realtimeRuntime", "cpu.rt_runtime_us"),
)
_ZERO_COUNTS = ("idle", "burst")
_THROTTLES = (
    ("throttleReadBpsDevice", "blkio.throttle.read_bps_device"),
    ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device"),
    ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device"),
    ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device"),
)


def settings(resources: Mapping[str, Any], limit: int | None = None) -> list[Setting]:
    """`limit` is the present limit of memory, if there is one. Raises ValueError for what cannot be written."""
    if resources.get("unified"):
        raise ValueError("unified resources are cgroup version 2's, and this host has version 1")
    out: list[Setting] = [
        ("devices", "devices.allow" if allow else "devices.deny", line)
        for allow, line in device_lines(resources.get("devices") or ())
    ]
    out += _memory(resources.get("memory") or {}, limit)
    cpu = resources.get("cpu") or {}
    for key, name in _CPU:
        if cpu.get(key) or (key in _ZERO_COUNTS and cpu.get(key) is not None):
            out.append(("cpu", name, str(cpu[key])))
    for key, name in (("cpus", "cpuset.cpus"), ("mems", "cpuset.mems")):
        if cpu.get(key):
            out.append(("cpuset", name, cpu[key]))
    pids = (resources.get("pids") or {}).get("limit")
    if pids is not None:
        out.append(("pids", "pids.max", pids_limit(pids)))
    out += _blkio(resources.get("blockIO") or {})
    for size, most in huge_pages(resources):
        out.append(("hugetlb", f"hugetlb.{size}.limit_in_bytes", most))
        out.append(("hugetlb", f"hugetlb.{size}.rsvd.limit_in_bytes", most))
    network = resources.get("network") or {}
    if network.get("classID"):
        out.append(("net_cls", "net_cls.classid", str(network["classID"])))
    for priority in network.get("priorities") or ():
        out.append(("net_prio", "net_prio.ifpriomap", f"{priority['name']} {priority['priority']}"))
    return out + [("rdma", "rdma.max", line) for line in rdma_lines(resources.get("rdma") or {})]


def _memory(memory: Mapping[str, Any], now: int | None) -> list[Setting]:
    limit, swap = memory.get("limit"), memory.get("swap")
    if limit == -1 and not swap:
        swap = -1
    # memory+swap may never be below memory (cgroup-v1/memory.rst, 2.4): the one that grows goes first.
    pair = [(LIMIT, limit), (SWAP, swap)]
    if limit and swap and (swap < 0 or (now is not None and now < swap)):
        pair.reverse()
    out = [(name, str(value)) for name, value in pair if value]
    for key, name in (
        ("reservation", "memory.soft_limit_in_bytes"),
        ("kernel", "memory.kmem.limit_in_bytes"),
        ("kernelTCP", "memory.kmem.tcp.limit_in_bytes"),
    ):
        if memory.get(key):
            out.append((name, str(memory[key])))
    swappiness = memory.get("swappiness")
    if swappiness is not None and swappiness != -1:
        if not 0 <= swappiness <= 100:
            raise ValueError(f"invalid memory swappiness value: {swappiness} (valid range is 0-100)")
        out.append(("memory.swappiness", str(swappiness)))
    if memory.get("useHierarchy"):
        out.append(("memory.use_hierarchy", "1"))
    if memory.get("disableOOMKiller"):
        out.append(("memory.oom_control", "1"))
    return [("memory", name, value) for name, value in out]


def _blkio(block: Mapping[str, Any]) -> list[Setting]:
    out: list[tuple[str, str]] = []
    for key, name in (("weight", "blkio.bfq.weight"), ("leafWeight", "blkio.leaf_weight")):
        if block.get(key):
            out.append((name, str(block[key])))
    for device in block.get("weightDevice") or ():
        number = f"{device['major']}:{device['minor']}"
        for key, name in (
            ("weight", "blkio.bfq.weight_device"),
            ("leafWeight", "blkio.leaf_weight_device"),
        ):
            if device.get(key):
                out.append((name, f"{number} {device[key]}"))
    for key, name in _THROTTLES:
        for device in block.get(key) or ():
            out.append((name, f"{device['major']}:{device['minor']} {device['rate']}"))
    return [("blkio", name, value) for name, value in out]


def huge_pages(resources: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(size of a page, limit). Go reads keys whatever their case, and configurations have "pagesize"."""
    pages = (
        {key.lower(): value for key, value in page.items()} for page in resources.get("hugepageLimits") or ()
    )
    return [(page["pagesize"], str(page["limit"])) for page in pages]


def pids_limit(limit: int) -> str:
    """Below zero is none; zero is written as one, as runc does: the process that is there stays."""
    return "max" if limit < 0 else str(max(limit, 1))


def rdma_lines(devices: Mapping[str, Any]) -> list[str]:
    """The lines of rdma.max (kernel: admin-guide/cgroup-v1/rdma.rst), which both versions have."""
    lines = []
    for device, limits in devices.items():
        words = [device]
        for key, word in (("hcaHandles", "hca_handle"), ("hcaObjects", "hca_object")):
            if limits.get(key) is not None:
                words.append(f"{word}={limits[key]}")
        lines.append(" ".join(words))
    return lines
