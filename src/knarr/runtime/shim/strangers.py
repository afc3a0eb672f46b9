"""A container's orphans where it has no pid namespace of its own: they become the shim's (PR_SET_CHILD_SUBREAPER).

Our own children have pidfds, and are reaped by who waits for them.
"""

import os
import signal
import time
from collections.abc import Callable

from knarr.kernel.cgroups.v1 import CgroupV1
from knarr.kernel.cgroups.v2 import CgroupV2
from knarr.runtime.shim.held import PATIENCE
from knarr.runtime.shim.loop import READ, Loop


class Strangers:
    """`known` are our own children."""

    __slots__ = ("_known", "_loop", "come")

    def __init__(self, loop: Loop, known: Callable[[], set[int]]):
        self._loop, self._known = loop, known
        self.come = False

    def welcome(self) -> None:
        """From now on they come, and are reaped as they end."""
        self.come = True
        read, write = os.pipe()
        os.set_blocking(read, False)
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _nothing)

        def woken(events: int) -> None:
            os.read(read, 4096)
            self.reap()

        self._loop.watch(read, READ, woken)

    def reap(self) -> None:
        """Those that have ended, up to the first of our own: it is reaped by who waits for it."""
        known = self._known()
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None or found.si_pid in known:
                return
            os.waitpid(found.si_pid, os.WNOHANG)

    def end(self, cgroup: CgroupV1 | CgroupV2, poll: Callable[[], None]) -> None:
        """Kills them all; `poll` reaps our own. A pid namespace of its own has done it already (pid_namespaces(7))."""
        deadline = time.monotonic() + PATIENCE
        while self.come and cgroup.pids() and time.monotonic() < deadline:
            cgroup.kill()
            poll()
            self.reap()
            time.sleep(0.001)


def _nothing(*_: object) -> None:
    return
