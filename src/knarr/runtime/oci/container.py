"""A recorded container: its status as the kernel has it now, its signals, its end.

A process is its pid and its start time (proc_pid_stat(5), field 22): a pid that was given to somebody else is nobody.
"""

import os
import signal as signals
import time

from knarr.model.errors import KnarrError
from knarr.runtime.oci.commands import OCI_VERSION
from knarr.runtime.oci.errors import NotRunning, StillRunning, words
from knarr.runtime.oci.records import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from knarr.kernel.cgroups.v1 import CgroupV1
    from knarr.kernel.cgroups.v2 import CgroupV2
    from knarr.runtime.oci.log import Log

CREATED, RUNNING, PAUSED, STOPPED = "created", "running", "paused", "stopped"
_PATIENCE = 10.0


def process_facts(pid: int) -> "tuple[str, int]":
    """A process's state letter and its start time in ticks since boot. Raises OSError once it is gone."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    return fields[0].decode(), int(fields[19])


class Container:
    """`state` is what state.json has; `record` its directory."""

    def __init__(self, record: Record, state: "dict[str, Any]"):
        self.record, self.state = record, state

    @classmethod
    def load(cls, root: str, name: str, *, lock: bool = False) -> "Container":
        """Raises NoSuchContainer. With `lock` nobody else changes it until the command ends."""
        record = Record.open(root, name)
        if lock:
            record.lock()
        return cls(record, record.load())

    @property
    def id(self) -> str:
        """Its name."""
        return self.record.id

    @property
    def config(self) -> "dict[str, Any]":
        """The OCI configuration, its resources as they were last updated."""
        config: dict[str, Any] = self.state["config"]
        return config

    @property
    def pid(self) -> int:
        """The init's."""
        pid: int = self.state["init_process_pid"]
        return pid

    def alive(self) -> bool:
        """Whether its init runs (a zombie does not)."""
        try:
            letter, start = process_facts(self.pid)
        except OSError:
            return False
        return letter not in "ZX" and start == self.state["init_process_start"]

    def frozen(self) -> bool:
        """Whether its cgroup is frozen."""
        paths = self.state["cgroup_paths"]
        for key, name, word in (("freezer", "freezer.state", b"FROZEN"), ("", "cgroup.freeze", b"1")):
            if key in paths:
                try:
                    with open(f"{paths[key]}/{name}", "rb") as file:
                        return file.read().strip() == word
                except OSError:
                    return False
        return False

    def status(self) -> str:
        """As OCI names it, and "paused"."""
        if self.frozen():
            return PAUSED
        if not self.alive():
            return STOPPED
        return CREATED if self.record.waits() else RUNNING

    def open_init(self) -> int:
        """A pidfd of the init. Raises NotRunning."""
        try:
            fd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            raise NotRunning from None
        if not self.alive():
            os.close(fd)
            raise NotRunning
        return fd

    def cgroup(self) -> "CgroupV1 | CgroupV2 | None":
        """Its cgroup; None where it was made without."""
        from knarr.runtime.oci.cgroups import open_saved

        return open_saved(self.state)

    def pids(self) -> "list[int]":
        """Every process of its cgroup."""
        group = self.cgroup()
        return group.pids() if group is not None else []

    def own_pids(self) -> bool:
        """Whether its processes end with its init: only in a pid namespace of its own."""
        entries = (self.config.get("linux") or {}).get("namespaces") or ()
        return any(entry.get("type") == "pid" and not entry.get("path") for entry in entries)

    def signal(self, number: int) -> None:
        """To the init; SIGKILL reaches everybody where they share somebody else's pid namespace. Raises NotRunning."""
        if number == signals.SIGKILL and not self.own_pids():
            self.kill_all()
            return
        fd = self.open_init()
        try:
            signals.pidfd_send_signal(fd, number)
        except ProcessLookupError:
            raise NotRunning from None
        finally:
            os.close(fd)
        if number == signals.SIGKILL and self.frozen():
            self.thaw()

    def kill_all(self) -> None:
        """Every process of the cgroup, until none is left: they may fork meanwhile."""
        group = self.cgroup()
        if group is None or (not group.pids() and not self.alive()):
            raise NotRunning
        deadline = time.monotonic() + _PATIENCE
        while pids := group.pids():
            group.kill(signals.SIGKILL)
            if self.frozen():
                self.thaw()
            _ended(pids[0], deadline)

    def thaw(self) -> None:
        """Lets a frozen cgroup go on."""
        group = self.cgroup()
        if group is not None:
            group.thaw()

    def end(self, log: "Log") -> None:
        """Kills and forgets: `delete --force`, and of one that was never started. Raises KnarrError if the init does not die."""
        fd = -1
        try:
            fd = self.open_init()
            self.signal(signals.SIGKILL)
        except NotRunning:
            pass
        if fd >= 0:
            _wait(fd, _PATIENCE)
            os.close(fd)
        if self.alive():
            raise KnarrError("container init still running")
        self.destroy(log)

    def destroy(self, log: "Log") -> None:
        """Takes away what is left of a container whose init is gone, then runs its poststop hooks; `log` is told of theirs."""
        if self.alive():
            raise StillRunning
        try:
            if not self.own_pids():
                self.kill_all()
        except NotRunning:
            pass
        group = self.cgroup()
        if group is not None:
            if self.frozen():
                group.thaw()
            _remove(group)
        self.record.remove()
        hooks = (self.config.get("hooks") or {}).get("poststop")
        if hooks:
            from knarr.runtime.hooks import run_poststop, state_of

            for complaint in run_poststop(hooks, state_of(self.base_state(), STOPPED, 0), os.environ):
                log.warning(complaint)

    def run_hooks(self, moment: str, status: str) -> None:
        """The hooks of a moment, in the runtime's namespaces, and its environment for those that bring none."""
        hooks = (self.config.get("hooks") or {}).get(moment)
        if hooks:
            from knarr.runtime.hooks import run_hooks, state_of

            run_hooks(moment, hooks, state_of(self.base_state(), status, self.pid), os.environ)

    def base_state(self) -> "dict[str, Any]":
        """What hooks are told of it, whatever its status."""
        return {
            "ociVersion": self.config.get("ociVersion") or OCI_VERSION,
            "id": self.id,
            "bundle": self.state["bundle"],
            "annotations": self.config.get("annotations") or {},
        }


def _ended(pid: int, deadline: float) -> None:
    """Waits until a killed process is gone. Raises KnarrError at the deadline."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise KnarrError("unable to kill all processes")
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        _wait(fd, left)
    finally:
        os.close(fd)


def _wait(pidfd: int, seconds: float) -> None:
    import select

    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.poll(int(seconds * 1000))


def _remove(group: "CgroupV1 | CgroupV2") -> None:
    """Processes leave a cgroup a moment after they have died, so EBUSY is waited out."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            group.remove()
        except OSError as error:
            if time.monotonic() > deadline:
                raise KnarrError(f"unable to remove container's cgroup: {words(error)}") from None
            time.sleep(0.005)
        else:
            return
