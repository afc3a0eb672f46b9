"""A cgroup of version 1: one directory in each controller's hierarchy (kernel: admin-guide/cgroup-v1).

`enter` writes "0" to `tasks`: that moves one thread without the RCU grace period that cgroup.procs waits for (16 ms here),
and the callers are single-threaded.
"""

import errno
import itertools
import os
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Any

from knarr.kernel.cgroups import tables
from knarr.kernel.cgroups.hierarchy import Hierarchy
from knarr.kernel.cgroups.tree import pids_below, remove_tree
from knarr.kernel.cgroups.v1_settings import LIMIT, SWAP, Setting, settings
from knarr.kernel.cgroups.v1_stats import stats
from knarr.kernel.files import read_text, write_text

_PATIENCE = 10.0
_USAGE = ("usage_in_bytes", "max_usage_in_bytes")
_INTERDEPENDENT = frozenset(("cpu.cfs_period_us", "cpu.cfs_burst_us", "cpu.rt_period_us"))
"""Refused (EINVAL) while they do not fit a present quota or runtime that is about to change: written again at the end."""

_OLDER = {"blkio.bfq.weight": "blkio.weight", "blkio.bfq.weight_device": "blkio.weight_device"}
"""Kernels before 5.0 weighed without bfq."""


class CgroupV1:
    """`path` is relative to each hierarchy's root, such as "knarr/ID".

    With `beside`, the same path of version 2's tree as well, where the host has one too: who is cloned into
    `open_for_clone` is in it without that wait.
    """

    version = 1

    def __init__(self, path: str, hierarchy: Hierarchy, *, beside: bool = False):
        self.path = path.strip("/")
        self._mounts = hierarchy.controllers
        self.beside = f"{hierarchy.unified}/{self.path}".rstrip("/") if beside and hierarchy.unified else ""
        self._directories = [f"{point}/{self.path}".rstrip("/") for point in hierarchy.mount_points()]

    def _in(self, controller: str) -> str:
        """The directory under `controller`. Raises OSError ENOENT naming a controller that this host lacks."""
        if controller not in self._mounts:
            raise OSError(errno.ENOENT, f"this host has no {controller} cgroup controller", self.path)
        return f"{self._mounts[controller]}/{self.path}".rstrip("/")

    def create(self) -> None:
        """Makes the directories; those of the parents inherit cpuset's two files, without which nobody may enter, and hand
        them on by themselves from then on (cgroups(7), cgroup.clone_children)."""
        for directory in self._all():
            try:
                os.mkdir(directory)
            except FileExistsError:
                pass
            except FileNotFoundError:
                os.makedirs(directory, exist_ok=True)
        if "cpuset" in self._mounts:
            self._fill_cpuset(self.path)

    def _all(self) -> list[str]:
        return [*self._directories, self.beside] if self.beside else self._directories

    def _fill_cpuset(self, path: str) -> bool:
        """Whether something was missing. A parent that had nothing is filled by nobody else."""
        root = self._mounts["cpuset"]
        filled = False
        for name in ("cpuset.cpus", "cpuset.mems"):
            file = f"{root}/{path}/{name}"
            if read_text(file).strip():
                continue
            parent = os.path.dirname(path)
            if parent and self._fill_cpuset(parent):
                write_text(f"{root}/{parent}/cgroup.clone_children", "1")
            write_text(file, read_text(f"{root}/{parent}/{name}".replace("//", "/")).strip())
            filled = True
        return filled

    def enter(self) -> None:
        """Moves the calling thread."""
        for directory in self._directories:
            write_text(f"{directory}/tasks", "0")

    def add(self, pid: int) -> None:
        """Moves another process, with all its threads."""
        for directory in self._all():
            write_text(f"{directory}/cgroup.procs", str(pid))

    def open_for_clone(self, init: int = 0) -> int:
        """-1 where nothing is beside: being born in a cgroup is version 2's."""
        return os.open(self.beside, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) if self.beside else -1

    def paths(self) -> dict[str, str]:
        """controller → directory."""
        return {name: f"{point}/{self.path}".rstrip("/") for name, point in self._mounts.items()}

    def pids(self) -> list[int]:
        """Every process inside, those of cgroups below included."""
        return pids_below(self._pids_directory())

    def _pids_directory(self) -> str:
        for controller in ("pids", "memory", "freezer"):
            if controller in self._mounts:
                return self._in(controller)
        return self._directories[0]

    def freeze(self) -> None:
        """Stops every process; returns when all are frozen. Raises TimeoutError, after thawing what was frozen."""
        file = f"{self._in('freezer')}/freezer.state"
        deadline = time.monotonic() + _PATIENCE
        for attempt in itertools.count(1):
            write_text(file, "FROZEN")
            if read_text(file).strip() == "FROZEN":
                return
            late = time.monotonic() > deadline
            # Processes that are being born escape; letting all go for a moment helps (opencontainers/cgroups, freezer.go).
            if late or attempt % 50 == 0:
                write_text(file, "THAWED")
            if late:
                raise TimeoutError(errno.ETIMEDOUT, "processes did not freeze", file)
            time.sleep(0.001)

    def thaw(self) -> None:
        """Lets them go on; none are left where there is no such cgroup."""
        try:
            write_text(f"{self._in('freezer')}/freezer.state", "THAWED")
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV) or "freezer" not in self._mounts:
                raise

    def frozen(self) -> bool:
        """Whether it was frozen itself, not only a parent of it; no where there is no such cgroup, or no freezer."""
        if "freezer" not in self._mounts:
            return False
        directory = self._in("freezer")
        if tables.text(f"{directory}/freezer.state").strip() in ("", "THAWED"):
            return False
        return tables.text(f"{directory}/freezer.self_freezing").strip() != "0"

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
        return tables.flat(f"{self._in('memory')}/memory.oom_control").get("oom_kill", 0)

    def remove(self) -> None:
        """Removes the directories, cgroups below first. Missing ones are no error. Raises OSError EBUSY while entered."""
        for directory in self._all():
            remove_tree(directory)

    def apply(self, resources: Mapping[str, Any]) -> None:
        """Sets OCI linux.resources; what this kernel lacks is an OSError that names it."""
        memory = resources.get("memory") or {}
        now = None
        if memory.get("limit") and memory.get("swap"):
            now = tables.number(f"{self._in('memory')}/{LIMIT}")
        try:
            wanted = settings(resources, now)
            if memory.get("checkBeforeUpdate"):
                check_usage(memory, tables.number(f"{self._in('memory')}/memory.usage_in_bytes"))
        except (ValueError, KeyError) as error:
            raise refused(error) from None
        devices = [setting for setting in wanted if setting[0] == "devices"]
        self._set_devices(devices)
        again = []
        for setting in wanted[len(devices) :]:
            try:
                self._set(*setting)
            except OSError as error:
                if error.errno != errno.EINVAL or setting[1] not in _INTERDEPENDENT:
                    raise
                again.append(setting)
        for setting in again:
            self._set(*setting)

    def _set_devices(self, wanted: Sequence[Setting]) -> None:
        """One rule a write, but not one open(2)."""
        for name, settings_ in itertools.groupby(wanted, key=lambda setting: setting[1]):
            fd = os.open(f"{self._in('devices')}/{name}", os.O_WRONLY | os.O_CLOEXEC)
            try:
                for _, _, line in settings_:
                    os.write(fd, line.encode())
            except OSError as error:
                raise OSError(error.errno, error.strerror, f"{self._in('devices')}/{name}") from None
            finally:
                os.close(fd)

    def _set(self, controller: str, name: str, value: str) -> None:
        file = f"{self._in(controller)}/{name}"
        try:
            write_text(file, value)
        except OSError as error:
            if error.errno == errno.ENOENT:
                self._missing(error, file, (controller, name, value))
            elif error.errno == errno.EBUSY and name == LIMIT:
                raise self._too_small(value) from None
            else:
                raise
        if name == "cpu.shares":
            _check_shares(int(value), tables.number(file))

    @staticmethod
    def _missing(error: OSError, file: str, setting: Setting) -> None:
        """Raises, where no other file does the same."""
        name, value = setting[1:]
        if name in _OLDER:
            write_text(f"{os.path.dirname(file)}/{_OLDER[name]}", value)
        elif name == SWAP and value == "-1":
            return
        elif name == SWAP:
            raise OSError(errno.ENOENT, "this kernel does not count swap", file)
        elif ".rsvd." not in name:  # since Linux 5.7
            raise error

    def _too_small(self, value: str) -> OSError:
        directory = self._in("memory")
        usage, peak = (tables.number(f"{directory}/memory.{each}") for each in _USAGE)
        return OSError(
            errno.EBUSY,
            f"unable to set memory limit to {value} (current usage: {usage}, peak usage: {peak})",
        )

    def stats(self) -> dict[str, Any]:
        """What `runc events --stats` tells."""
        return stats(self.paths())


def refused(error: ValueError | KeyError) -> OSError:
    """A wish that cannot be written, or that lacks a part."""
    words = f"resources lack {error}" if isinstance(error, KeyError) else str(error)
    return OSError(errno.EINVAL, words)


def check_usage(memory: Mapping[str, Any], usage: int) -> None:
    """checkBeforeUpdate: a limit below what is used would kill. Raises ValueError."""
    for key, words in (("swap", "memory+swap"), ("limit", "memory")):
        if 0 < (memory.get(key) or 0) <= usage:
            raise ValueError(f"rejecting {words} limit {memory[key]} <= usage {usage}")


def _check_shares(wanted: int, got: int) -> None:
    """The kernel takes what it can instead of refusing."""
    if wanted != got:
        word = "maximum" if wanted > got else "minimum"
        raise OSError(errno.EINVAL, f"the {word} allowed cpu-shares is {got}")
