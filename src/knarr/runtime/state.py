"""What a walk carries from act to act: descriptors, who it becomes, and the line to its shim."""

import json
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from knarr.kernel.fd import RootFd
from knarr.kernel.process import close_range
from knarr.kernel.sockets import send_packet
from knarr.runtime.plan import Step
from knarr.runtime.plan_namespaces import IdMap, Namespaces
from knarr.runtime.users import User

if TYPE_CHECKING:
    from typing import Protocol

    class Cgroup(Protocol):
        """What a walk needs of a cgroup, of either version."""

        version: int

        def enter(self) -> None:
            """Moves the caller in."""

        def paths(self) -> dict[str, str]:
            """controller → directory; "" on version 2."""


# The first process of a pid namespace dies of no signal that it has no handler for (pid_namespaces(7)).
_ENDS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class Walk:
    """One process on its way to execve. `control` is its end of a packet pair with the shim.

    With a `doorway`, a listening socket, nobody stays at the other end: the gate is opened by whoever connects there, and
    what the walk still has to say is theirs. `preserved` descriptors above 2 are for the program. In a `space` that is
    entered apart (`prelude`), `rest` are the steps that are left to the init, `entries` let it into its cgroup.

    `place` is where the root is put before the pivot, without a word the run directory; `state` the fixed part of what hooks
    are told (`hooks.state_of`); `host_route` a NETLINK_ROUTE socket of the host, for devices that move; `vacant` the mount
    namespace that the container's is made from.
    """

    def __init__(self, control: socket.socket, stdio: tuple[int, int, int]):
        self.control = control
        self.stdio = stdio
        self.doorway: socket.socket | None = None
        self.preserved = 0
        self.arguments: list[str] = []
        self.environment: dict[str, str] = {}
        self.console_size = (0, 0)
        self.run_dir = ""
        self.place = ""
        self.state: Mapping[str, Any] = {}
        self.host_route: socket.socket | None = None
        self.after_gate: Callable[[], None] | None = None
        self.cwd_later = ""
        self.affine = False
        self.umask = 0o022
        self.blank = self.vacant = -1
        self.procfs = self.null = -1
        self.init_pidfd = -1
        self.space = Namespaces()
        self.told: list[dict[str, Any]] = []
        self.rest: Sequence[Step] | None = None
        self.entries: list[int] = []
        self.mappings: dict[tuple[IdMap, IdMap], int] = {}
        self.cgroup: Cgroup | None = None
        self.filter = b""
        self.trees: dict[int, int] = {}
        self.cgroup_trees: list[tuple[tuple[str, ...], int]] = []
        self.slave = -1
        self.user = User(0, 0, ())
        self.executable = ""
        self.warnings: list[str] = []
        self.debug: list[str] = []
        self._root: RootFd | None = None

    def load(self, process: Mapping[str, Any]) -> None:
        """Takes what there is to execute from an OCI process."""
        self.arguments = list(process["args"])
        self.environment = dict(word.split("=", 1) for word in process.get("env") or () if "=" in word)
        size = process.get("consoleSize") or {}
        self.console_size = (size.get("width") or 0, size.get("height") or 0)

    @property
    def root(self) -> RootFd:
        """The container's root; an exec stands in it from its first act."""
        if self._root is None:
            self._root = RootFd("/")
        return self._root

    @root.setter
    def root(self, value: RootFd) -> None:
        self._root = value

    def descriptors(self) -> set[int]:
        """All that this process still needs; the rest of what it inherited is closed before it meets the container."""
        kept = {self.control.fileno(), *self.stdio, self.init_pidfd, self.slave, *self.trees.values()}
        kept.update((self.procfs, self.null, self.vacant))
        kept.update(fd for _, fd in self.cgroup_trees)
        kept.update(self.entries)
        kept.update(range(3, 3 + self.preserved))
        if self.doorway is not None:
            kept.add(self.doorway.fileno())
        if self._root is not None:
            kept.add(self._root.fileno())
        return kept

    def close_procfs(self) -> None:
        """Nothing is written there any more."""
        if self.procfs >= 0:
            os.close(self.procfs)
            self.procfs = -1

    def tell(self, message: dict[str, Any], fds: list[int] | tuple[int, ...] = ()) -> None:
        """One packet to the shim."""
        send_packet(self.control, json.dumps(message).encode(), fds)

    def wait(self) -> bool:
        """The gate: one byte. False when nobody is left to open it."""
        if self.doorway is not None:
            self._close_others(self.doorway.fileno())
            for number in _ENDS:
                signal.signal(number, lambda caught, frame: os._exit(128 + caught))
            self.control, _ = self.doorway.accept()
            self.doorway.close()
        return bool(self.control.recv(1))

    def _close_others(self, doorway: int) -> None:
        """A walk may wait here for days: it holds nothing but its streams, its root and the door."""
        self.control.close()
        first = 3 + self.preserved
        for fd in sorted((doorway, self.root.fileno())):
            if fd > first:
                close_range(first, fd - 1)
            first = max(first, fd + 1)
        close_range(first)
