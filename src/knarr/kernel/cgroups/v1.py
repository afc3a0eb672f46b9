"""A cgroup of version 1: one directory in each controller's hierarchy (kernel: admin-guide/cgroup-v1).

`enter` writes "0" to `tasks`: that moves one thread without the RCU grace period that cgroup.procs waits for (16 ms here),
and the callers are single-threaded.
"""

import errno
import os
import signal
import time
from collections.abc import Mapping
from typing import Any

from knarr.kernel.cgroups.hierarchy import Hierarchy
from knarr.kernel.cgroups.tree import pids_below, remove_tree
from knarr.kernel.files import read_text, write_text


class CgroupV1:
    """`path` is relative to each hierarchy's root, such as "knarr/ID"."""

    version = 1

    def __init__(self, path: str, hierarchy: Hierarchy):
        self.path = path.strip("/")
        self._mounts = hierarchy.controllers
        self._directories = [f"{point}/{self.path}" for point in hierarchy.mount_points()]

    def _in(self, controller: str) -> str:
        """The directory under `controller`. Raises OSError ENOENT naming a controller that this host lacks."""
        if controller not in self._mounts:
            raise OSError(errno.ENOENT, f"this host has no {controller} cgroup controller", self.path)
        return f"{self._mounts[controller]}/{self.path}"

    def create(self) -> None:
        """Makes the directories; those of the parents inherit cpuset's two files, without which nobody may enter."""
        for directory in self._directories:
            try:
                os.mkdir(directory)
            except FileExistsError:
                pass
            except FileNotFoundError:
                os.makedirs(directory, exist_ok=True)
        if "cpuset" in self._mounts:
            self._fill_cpuset(self.path)

    def _fill_cpuset(self, path: str) -> None:
        root = self._mounts["cpuset"]
        for name in ("cpuset.cpus", "cpuset.mems"):
            file = f"{root}/{path}/{name}"
            if read_text(file).strip():
                continue
            parent = os.path.dirname(path)
            if parent:
                self._fill_cpuset(parent)
            write_text(file, read_text(f"{root}/{parent}/{name}".replace("//", "/")).strip())

    def enter(self) -> None:
        """Moves the calling thread."""
        for directory in self._directories:
            write_text(f"{directory}/tasks", "0")

    def add(self, pid: int) -> None:
        """Moves another process, with all its threads."""
        for directory in self._directories:
            write_text(f"{directory}/cgroup.procs", str(pid))

    def open_for_clone(self) -> int:
        """-1: being born in a cgroup is version 2's."""
        return -1

    def paths(self) -> dict[str, str]:
        """controller → directory."""
        return {name: f"{point}/{self.path}" for name, point in self._mounts.items()}

    def pids(self) -> list[int]:
        """Every process inside, those of cgroups below included."""
        return pids_below(self._pids_directory())

    def _pids_directory(self) -> str:
        for controller in ("pids", "memory", "freezer"):
            if controller in self._mounts:
                return self._in(controller)
        return self._directories[0]

    def freeze(self) -> None:
        """Stops every process; returns when all are frozen."""
        self._freezer("FROZEN")

    def thaw(self) -> None:
        """Lets them go on."""
        self._freezer("THAWED")

    def frozen(self) -> bool:
        """Whether it is stopped; no where there is no such cgroup, or no freezer."""
        if "freezer" not in self._mounts:
            return False
        try:
            return read_text(f"{self._in('freezer')}/freezer.state").strip() == "FROZEN"
        except FileNotFoundError:
            return False

    def _freezer(self, state: str) -> None:
        file = f"{self._in('freezer')}/freezer.state"
        deadline = time.monotonic() + 10
        write_text(file, state)
        while read_text(file).strip() != state:
            if time.monotonic() > deadline:
                write_text(file, "THAWED")
                raise TimeoutError(errno.ETIMEDOUT, f"processes did not become {state.lower()}", file)
            time.sleep(0.001)
            write_text(file, state)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Signals every process inside."""
        for pid in self.pids():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def oom_kills(self) -> int:
        """How many processes the kernel killed here for lack of memory."""
        if "memory" not in self._mounts:
            return 0
        try:
            for line in read_text(f"{self._in('memory')}/memory.oom_control").splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
        except FileNotFoundError:
            pass
        return 0

    def remove(self) -> None:
        """Removes the directories, cgroups below first. Missing ones are no error. Raises OSError EBUSY while entered."""
        for directory in self._directories:
            remove_tree(directory)

    def apply(self, resources: Mapping[str, Any]) -> None:
        """Sets OCI linux.resources; a file that this kernel lacks is an error that names it."""
        if resources.get("unified"):
            raise OSError(errno.EINVAL, "unified resources are cgroup version 2's")
        for controller, name, value in settings(resources):
            self._set(controller, name, value)

    def _set(self, controller: str, name: str, value: str) -> None:
        directory = self._in(controller)
        try:
            write_text(f"{directory}/{name}", value)
        except OSError as error:
            swap = name == "memory.memsw.limit_in_bytes"
            if name == "memory.limit_in_bytes" and error.errno == errno.EINVAL and value != "-1":
                # Above the present swap limit (memory.txt, 6): lift that first; it is set again right after.
                write_text(f"{directory}/memory.memsw.limit_in_bytes", "-1")
                write_text(f"{directory}/{name}", value)
            elif swap and error.errno == errno.ENOENT:
                raise OSError(
                    errno.ENOENT, "this kernel does not count swap", f"{directory}/{name}"
                ) from None
            else:
                raise

    def stats(self) -> dict[str, Any]:
        """CPU time in ns, memory in bytes, the number of processes, and the kernel's own tables."""
        return {
            "cpu": self._number("cpuacct", "cpuacct.usage"),
            "memory": self._number("memory", "memory.usage_in_bytes"),
            "memory_limit": self._number("memory", "memory.limit_in_bytes"),
            "memory_stat": self._table("memory", "memory.stat"),
            "cpu_stat": self._table("cpu", "cpu.stat"),
            "cpuacct_stat": self._table("cpuacct", "cpuacct.stat"),
            "pids": self._number("pids", "pids.current"),
            "blkio": self._text("blkio", "blkio.throttle.io_service_bytes"),
        }

    def _text(self, controller: str, name: str) -> str:
        if controller not in self._mounts:
            return ""
        try:
            return read_text(f"{self._in(controller)}/{name}")
        except FileNotFoundError:
            return ""

    def _number(self, controller: str, name: str) -> int:
        text = self._text(controller, name).strip()
        return int(text) if text.isdigit() else 0

    def _table(self, controller: str, name: str) -> dict[str, int]:
        rows = (line.split() for line in self._text(controller, name).splitlines())
        return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}


def settings(resources: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """OCI linux.resources as (controller, file, value) in the order in which they must be written. Pure."""
    out: list[tuple[str, str, str]] = []
    for device in resources.get("devices") or ():
        out.append(
            ("devices", "devices.allow" if device.get("allow") else "devices.deny", device_rule(device))
        )
    memory = resources.get("memory") or {}
    for key, name in (
        ("limit", "memory.limit_in_bytes"),
        ("swap", "memory.memsw.limit_in_bytes"),
        ("reservation", "memory.soft_limit_in_bytes"),
        ("kernelTCP", "memory.kmem.tcp.limit_in_bytes"),
    ):
        if memory.get(key):
            out.append(("memory", name, str(memory[key])))
    if memory.get("swappiness") is not None:
        out.append(("memory", "memory.swappiness", str(memory["swappiness"])))
    if memory.get("disableOOMKiller"):
        out.append(("memory", "memory.oom_control", "1"))
    cpu = resources.get("cpu") or {}
    for key, controller, name in (
        ("shares", "cpu", "cpu.shares"),
        ("period", "cpu", "cpu.cfs_period_us"),
        ("quota", "cpu", "cpu.cfs_quota_us"),
        ("burst", "cpu", "cpu.cfs_burst_us"),
        ("realtimePeriod", "cpu", "cpu.rt_period_us"),
        ("realtimeRuntime", "cpu", "cpu.rt_runtime_us"),
        ("cpus", "cpuset", "cpuset.cpus"),
        ("mems", "cpuset", "cpuset.mems"),
    ):
        if cpu.get(key):
            out.append((controller, name, str(cpu[key])))
    pids = (resources.get("pids") or {}).get("limit")
    if pids:
        out.append(("pids", "pids.max", str(pids) if pids > 0 else "max"))
    out += _blkio(resources.get("blockIO") or {})
    for page in resources.get("hugepageLimits") or ():
        out.append(("hugetlb", f"hugetlb.{page['pageSize']}.limit_in_bytes", str(page["limit"])))
    network = resources.get("network") or {}
    if network.get("classID"):
        out.append(("net_cls", "net_cls.classid", str(network["classID"])))
    for priority in network.get("priorities") or ():
        out.append(("net_prio", "net_prio.ifpriomap", f"{priority['name']} {priority['priority']}"))
    return out


def _blkio(block: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    out = []
    if block.get("weight"):
        out.append(("blkio", "blkio.bfq.weight", str(block["weight"])))
    for device in block.get("weightDevice") or ():
        out.append(
            ("blkio", "blkio.bfq.weight_device", f"{device['major']}:{device['minor']} {device['weight']}")
        )
    for key, name in (
        ("throttleReadBpsDevice", "blkio.throttle.read_bps_device"),
        ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device"),
        ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device"),
        ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device"),
    ):
        for device in block.get(key) or ():
            out.append(("blkio", name, f"{device['major']}:{device['minor']} {device['rate']}"))
    return out


def device_rule(device: Mapping[str, Any]) -> str:
    """An OCI device rule in the words of devices.allow (cgroup-v1/devices.rst)."""
    kind = device.get("type") or "a"
    numbers = [device.get("major"), device.get("minor")]
    major, minor = ("*" if number is None or number < 0 else str(number) for number in numbers)
    return f"{kind} {major}:{minor} {device.get('access') or 'rwm'}"
