"""A cgroup of version 2: one directory in the unified hierarchy (kernel: admin-guide/cgroup-v2.rst).

Controllers must be enabled in every parent's cgroup.subtree_control, and a cgroup that hands controllers on holds no
processes itself ("no internal process"): containers are leaves.
"""

import errno
import os
import signal
import time
from collections.abc import Mapping
from typing import Any

from knarr.kernel import bpf
from knarr.kernel.cgroups.hierarchy import Hierarchy
from knarr.kernel.cgroups.tree import pids_below, remove_tree
from knarr.kernel.files import read_text, write_text


class CgroupV2:
    """`path` is relative to the hierarchy's root, such as "knarr/ID"."""

    version = 2

    def __init__(self, path: str, hierarchy: Hierarchy):
        self.path = path.strip("/")
        self._root = hierarchy.unified
        self._directory = f"{self._root}/{self.path}"

    def create(self) -> None:
        """Makes the directory and hands every controller of the root down to it."""
        controllers = [f"+{name}" for name in read_text(f"{self._root}/cgroup.controllers").split()]
        current = self._root
        for name in self.path.split("/"):
            self._enable(current, controllers)
            current = f"{current}/{name}"
            try:
                os.mkdir(current)
            except FileExistsError:
                continue

    @staticmethod
    def _enable(directory: str, controllers: list[str]) -> None:
        have = set(read_text(f"{directory}/cgroup.subtree_control").split())
        for controller in controllers:
            if controller[1:] in have:
                continue
            try:
                write_text(f"{directory}/cgroup.subtree_control", controller)
            except OSError as error:
                # A controller may be unavailable here (ENOENT) or need an empty cgroup (EBUSY): limits that want it say so.
                if error.errno not in (errno.ENOENT, errno.EBUSY, errno.EOPNOTSUPP, errno.EINVAL):
                    raise

    def enter(self) -> None:
        """Moves the calling process."""
        write_text(f"{self._directory}/cgroup.procs", "0")

    def add(self, pid: int) -> None:
        """Moves another process, with all its threads."""
        write_text(f"{self._directory}/cgroup.procs", str(pid))

    def open_for_clone(self) -> int:
        """A descriptor for CLONE_INTO_CGROUP; the caller closes it."""
        return os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def paths(self) -> dict[str, str]:
        """{"": directory}"""
        return {"": self._directory}

    def pids(self) -> list[int]:
        """Every process inside, those of cgroups below included."""
        return pids_below(self._directory)

    def freeze(self) -> None:
        """Stops every process; returns when all are frozen."""
        self._freezer("1")

    def thaw(self) -> None:
        """Lets them go on."""
        self._freezer("0")

    def frozen(self) -> bool:
        """Whether it is stopped; no where there is no such cgroup."""
        try:
            return read_text(f"{self._directory}/cgroup.freeze").strip() == "1"
        except FileNotFoundError:
            return False

    def _freezer(self, state: str) -> None:
        write_text(f"{self._directory}/cgroup.freeze", state)
        deadline = time.monotonic() + 10
        while f"frozen {state}" not in read_text(f"{self._directory}/cgroup.events").splitlines():
            if time.monotonic() > deadline:
                write_text(f"{self._directory}/cgroup.freeze", "0")
                raise TimeoutError(errno.ETIMEDOUT, "processes did not freeze", self._directory)
            time.sleep(0.001)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Signals every process inside; SIGKILL by cgroup.kill, which no fork can outrun."""
        if number == signal.SIGKILL:
            try:
                write_text(f"{self._directory}/cgroup.kill", "1")
            except FileNotFoundError:
                pass
            else:
                return
        for pid in self.pids():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def oom_kills(self) -> int:
        """How many processes the kernel killed here for lack of memory."""
        try:
            rows = read_text(f"{self._directory}/memory.events").splitlines()
        except FileNotFoundError:
            return 0
        return next((int(row.split()[1]) for row in rows if row.startswith("oom_kill ")), 0)

    def remove(self) -> None:
        """Removes the directory, cgroups below first. A missing one is no error. Raises OSError EBUSY while populated."""
        remove_tree(self._directory)

    def apply(self, resources: Mapping[str, Any]) -> None:
        """Sets OCI linux.resources; a file that this kernel lacks is an error that names it."""
        for name, value in settings(resources):
            try:
                write_text(f"{self._directory}/{name}", value)
            except FileNotFoundError:
                if name == "io.bfq.weight":
                    write_text(f"{self._directory}/io.weight", generic_weight(value))
                # A kernel without swap keeps every promise about using none or any of it.
                elif name != "memory.swap.max" or value not in ("0", "max"):
                    raise
        devices = resources.get("devices")
        if devices:
            with_directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                bpf.attach_devices(with_directory, devices)
            finally:
                os.close(with_directory)

    def stats(self) -> dict[str, Any]:
        """The same keys as version 1's: CPU time in ns, memory in bytes."""
        cpu = self._table("cpu.stat")
        return {
            "cpu": cpu.get("usage_usec", 0) * 1000,
            "memory": self._number("memory.current"),
            "memory_limit": self._number("memory.max"),
            "memory_stat": self._table("memory.stat"),
            "cpu_stat": cpu,
            "cpuacct_stat": {},
            "pids": self._number("pids.current"),
            "blkio": self._text("io.stat"),
        }

    def _text(self, name: str) -> str:
        try:
            return read_text(f"{self._directory}/{name}")
        except FileNotFoundError:
            return ""

    def _number(self, name: str) -> int:
        text = self._text(name).strip()
        return int(text) if text.isdigit() else 0

    def _table(self, name: str) -> dict[str, int]:
        rows = (line.split() for line in self._text(name).splitlines())
        return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}


def cpu_weight(shares: int) -> int:
    """v1's 2..262144 shares as v2's 1..10000 weight, as the OCI spec converts them."""
    return 1 + (min(max(shares, 2), 262144) - 2) * 9999 // 262142


def generic_weight(bfq: str) -> str:
    """io.bfq.weight's "100" or "8:0 100", of 10..1000, as io.weight's, of 1..10000."""
    device, _, weight = bfq.rpartition(" ")
    return f"{device or 'default'} {1 + (int(weight) - 10) * 9999 // 990}"


def settings(resources: Mapping[str, Any]) -> list[tuple[str, str]]:
    """OCI linux.resources as (file, value), without devices. Pure. Raises OSError for what v2 does not have."""
    out: list[tuple[str, str]] = []
    memory = resources.get("memory") or {}
    limit, swap = memory.get("limit"), memory.get("swap")
    if limit:
        out.append(("memory.max", _limit(limit)))
    if swap:
        # v1 counts memory plus swap together, v2 swap alone.
        if swap > 0 and not 0 < (limit or 0) <= swap:
            raise OSError(
                errno.EINVAL, "a limit of memory plus swap needs a limit of memory that is not above it"
            )
        out.append(("memory.swap.max", "max" if swap < 0 else str(swap - limit)))
    if memory.get("reservation"):
        out.append(("memory.low", _limit(memory["reservation"])))
    cpu = resources.get("cpu") or {}
    if cpu.get("shares"):
        out.append(("cpu.weight", str(cpu_weight(cpu["shares"]))))
    if cpu.get("quota") or cpu.get("period"):
        quota = cpu.get("quota") or -1
        out.append(("cpu.max", f"{quota if quota > 0 else 'max'} {cpu.get('period') or 100000}"))
    for key, name in (
        ("burst", "cpu.max.burst"),
        ("idle", "cpu.idle"),
        ("cpus", "cpuset.cpus"),
        ("mems", "cpuset.mems"),
    ):
        if cpu.get(key):
            out.append((name, str(cpu[key])))
    pids = (resources.get("pids") or {}).get("limit")
    if pids:
        out.append(("pids.max", _limit(pids)))
    out += _io(resources.get("blockIO") or {})
    for page in resources.get("hugepageLimits") or ():
        out.append((f"hugetlb.{page['pageSize']}.max", str(page["limit"])))
    for name, value in (resources.get("unified") or {}).items():
        if "/" in name:
            raise OSError(errno.EINVAL, f"unified resource {name!r} is not a file name")
        out.append((name, value))
    return out


def _io(block: Mapping[str, Any]) -> list[tuple[str, str]]:
    out = []
    if block.get("weight"):
        out.append(("io.bfq.weight", str(block["weight"])))
    for device in block.get("weightDevice") or ():
        out.append(("io.bfq.weight", f"{device['major']}:{device['minor']} {device['weight']}"))
    for key, name in (
        ("throttleReadBpsDevice", "rbps"),
        ("throttleWriteBpsDevice", "wbps"),
        ("throttleReadIOPSDevice", "riops"),
        ("throttleWriteIOPSDevice", "wiops"),
    ):
        for device in block.get(key) or ():
            out.append(("io.max", f"{device['major']}:{device['minor']} {name}={device['rate'] or 'max'}"))
    return out


def _limit(number: int) -> str:
    return "max" if number < 0 else str(number)
