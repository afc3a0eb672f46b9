"""A cgroup of version 2: one directory in the unified hierarchy (kernel: admin-guide/cgroup-v2.rst).

Controllers must be enabled in every parent's cgroup.subtree_control, and a cgroup that hands controllers on holds no
processes itself ("no internal process"): containers are leaves.
"""

import errno
import os
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Any

from knarr.kernel import bpf
from knarr.kernel.cgroups import tables
from knarr.kernel.cgroups.hierarchy import Hierarchy
from knarr.kernel.cgroups.tree import pids_below, remove_tree
from knarr.kernel.cgroups.units import io_weight
from knarr.kernel.cgroups.v1 import check_usage, refused
from knarr.kernel.cgroups.v2_settings import Setting, settings, unified
from knarr.kernel.cgroups.v2_stats import stats
from knarr.kernel.files import read_text, write_text

_PATIENCE = 10.0
_UNAVAILABLE = (errno.ENOENT, errno.EBUSY, errno.EOPNOTSUPP, errno.EINVAL)
"""A controller that is not there, or that a cgroup with processes of its own may not hand on ("no internal process")."""

_THREADED = frozenset(("cpu", "cpuset", "pids", "perf_event"))


def _hand_on(file: str, controllers: list[str]) -> int:
    """0, or the errno of why not."""
    try:
        write_text(file, " ".join(f"+{name}" for name in controllers))
    except OSError as error:
        if error.errno not in _UNAVAILABLE:
            raise
        return error.errno or errno.EINVAL
    return 0


class CgroupV2:
    """`path` is relative to the hierarchy's root, such as "knarr/ID"."""

    version = 2
    beside = ""

    def __init__(self, path: str, hierarchy: Hierarchy):
        self.path = path.strip("/")
        self._root = hierarchy.unified
        self._directory = f"{self._root}/{self.path}".rstrip("/")

    def create(self) -> None:
        """Makes the directory and hands every controller down to it. Raises OSError where processes in a parent forbid that."""
        controllers = read_text(f"{self._root}/cgroup.controllers").split()
        current = self._root
        for name in self.path.split("/"):
            self._enable(current, controllers)
            current = f"{current}/{name}"
            try:
                os.mkdir(current)
            except FileExistsError:
                continue
        self._check_type(current)

    @staticmethod
    def _enable(directory: str, controllers: list[str]) -> None:
        file = f"{directory}/cgroup.subtree_control"
        have = set(read_text(file).split())
        missing = [name for name in controllers if name not in have]
        # Those that threads may have come last: given to a cgroup with processes, they would make it a threaded domain,
        # below which no container can be (cgroup-v2.rst, "Threads").
        missing.sort(key=_THREADED.__contains__)
        if not missing or _hand_on(file, missing) in (0, errno.EBUSY):
            return
        for controller in missing:
            # What wants a controller that is not handed on will say so: its files are not there.
            if _hand_on(file, [controller]) == errno.EBUSY:
                return

    @staticmethod
    def _check_type(directory: str) -> None:
        """A cgroup below one with processes or threads is no domain: it takes nobody ("domain invalid") or threads only."""
        kind = tables.text(f"{directory}/cgroup.type").strip()
        if kind in ("domain invalid", "threaded"):
            raise OSError(
                errno.EOPNOTSUPP,
                f"cannot enter cgroupv2 with domain controllers -- it is in {kind} mode",
                directory,
            )

    def enter(self) -> None:
        """Moves the calling process."""
        write_text(f"{self._directory}/cgroup.procs", "0")

    def add(self, pid: int) -> None:
        """Moves another process, with all its threads."""
        write_text(f"{self._directory}/cgroup.procs", str(pid))

    def open_for_clone(self, init: int = 0) -> int:
        """A descriptor for CLONE_INTO_CGROUP; the caller closes it. A container that hands controllers on to cgroups of its
        own has no place for a process beside them: there it is where its process `init` is."""
        directory = self._directory
        if init and tables.text(f"{directory}/cgroup.subtree_control").strip():
            directory = self._place(init)
        return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def _place(self, pid: int) -> str:
        for line in tables.text(f"/proc/{pid}/cgroup").splitlines():
            if line.startswith(f"0::/{self.path}/"):
                return f"{self._root}{line[len('0::') :]}"
        return self._directory

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
        """Lets them go on; none are left where there is no such cgroup."""
        try:
            self._freezer("0")
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV) or os.path.isdir(self._directory):
                raise

    def _freezer(self, state: str) -> None:
        file = f"{self._directory}/cgroup.freeze"
        try:
            write_text(file, state)
        except FileNotFoundError:
            if os.path.isdir(self._directory):
                raise OSError(errno.ENOENT, "this kernel has no freezer of cgroup version 2", file) from None
            raise
        if state == "0":
            return
        deadline = time.monotonic() + _PATIENCE
        while "frozen 1" not in read_text(f"{self._directory}/cgroup.events").splitlines():
            if time.monotonic() > deadline:
                write_text(file, "0")
                raise TimeoutError(errno.ETIMEDOUT, "processes did not freeze", self._directory)
            time.sleep(0.001)

    def frozen(self) -> bool:
        """Whether it was frozen itself, not only a parent of it; no where there is no such cgroup."""
        return tables.text(f"{self._directory}/cgroup.freeze").strip() == "1"

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
        return tables.flat(f"{self._directory}/memory.events").get("oom_kill", 0)

    def remove(self) -> None:
        """Removes the directory, cgroups below first. A missing one is no error. Raises OSError EBUSY while populated."""
        remove_tree(self._directory)

    def apply(self, resources: Mapping[str, Any]) -> None:
        """Sets OCI linux.resources; what this kernel or version 2 lacks is an OSError that names it."""
        again = []
        for name, value in self._wanted(resources):
            try:
                self._set(name, value)
            except OSError as error:
                # A burst may not exceed a quota that is about to change (cgroup-v2.rst, cpu.max.burst).
                if error.errno != errno.EINVAL or name != "cpu.max.burst":
                    raise
                again.append((name, value))
        for name, value in again:
            self._set(name, value)
        if resources.get("devices"):
            self._set_devices(resources["devices"])
        self._set_unified(resources)

    def _wanted(self, resources: Mapping[str, Any]) -> list[Setting]:
        memory, cpu = resources.get("memory") or {}, resources.get("cpu") or {}
        limit, quota = None, "max"
        if memory.get("swap") and not memory.get("limit"):
            limit = tables.number(f"{self._directory}/memory.max")
        if cpu.get("period") and not cpu.get("quota"):
            quota = tables.text(f"{self._directory}/cpu.max").partition(" ")[0] or quota
        try:
            if memory.get("checkBeforeUpdate"):
                check_usage(memory, tables.number(f"{self._directory}/memory.current"))
            return settings(
                resources, memory_now=None if limit == tables.UNLIMITED else limit, quota_now=quota
            )
        except (ValueError, KeyError) as error:
            raise refused(error) from None

    def _set(self, name: str, value: str) -> None:
        try:
            write_text(f"{self._directory}/{name}", value)
        except FileNotFoundError as error:
            if name == "io.bfq.weight":
                device, _, weight = value.rpartition(" ")
                write_text(f"{self._directory}/io.weight", f"{device or 'default'} {io_weight(int(weight))}")
            # A kernel without swap keeps every promise about using none or any of it.
            elif not (name == "memory.swap.max" and value in ("0", "max")) and ".rsvd." not in name:
                raise self._lacking(name, error) from None

    def _lacking(self, name: str, error: OSError) -> OSError:
        controller = name.partition(".")[0]
        if controller in tables.text(f"{self._directory}/cgroup.controllers").split():
            return error
        words = f'controller "{controller}" is not available'
        return FileNotFoundError(errno.ENOENT, words, f"{self._directory}/{name}")

    def _set_unified(self, resources: Mapping[str, Any]) -> None:
        if not resources.get("unified"):
            return
        available = frozenset(tables.text(f"{self._directory}/cgroup.controllers").split())
        try:
            wanted = unified(resources, available)
        except ValueError as error:
            raise OSError(errno.EINVAL, str(error)) from None
        for name, value in wanted:
            try:
                write_text(f"{self._directory}/{name}", value)
            except OSError as error:
                reason = f'unable to set unified resource "{name}": {error.strerror}'
                raise OSError(error.errno, reason) from None

    def _set_devices(self, rules: Sequence[Mapping[str, Any]]) -> None:
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            bpf.attach_devices(directory, rules)
        except ValueError as error:
            raise OSError(errno.EINVAL, str(error)) from None
        finally:
            os.close(directory)

    def stats(self) -> dict[str, Any]:
        """What `runc events --stats` tells, as version 1 does."""
        return stats(self._directory)
