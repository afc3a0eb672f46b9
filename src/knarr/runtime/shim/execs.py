"""One exec of a container: a process beside the init, with streams of its own.

Its exit is told before its clients see the end of their streams: the first thing that they ask for then is its exit code.
"""

import os
import time
from binascii import a2b_base64
from collections.abc import Sequence
from typing import Any

from knarr.runtime import failures
from knarr.runtime.birth import Life, Prelude, bear_beside
from knarr.runtime.plan import Step
from knarr.runtime.shim.child import Child, Own, Owner, Recipe
from knarr.runtime.shim.client import Client
from knarr.runtime.shim.control import Request
from knarr.runtime.shim.held import Held
from knarr.runtime.shim.streams import Streams
from knarr.runtime.state import Walk
from knarr.wire.zygote import revive


class Exec(Owner):
    """From its request to its clients' goodbye."""

    __slots__ = ("_container", "_failed", "_request", "_waiting", "child", "name", "streams")

    def __init__(self, container: Held, request: Request):
        self._container = container
        self._request: Request | None = request
        self.name: str = request.fields["exec"]
        self.streams = Streams(container.loop, None, stdin_once=True)
        self.child = Child(container.loop, self.streams, self)
        self._waiting: Client | None = None
        self._failed = False

    def start(self) -> None:
        """Raises what kept it from being born."""
        assert self._request is not None
        fields = self._request.fields
        process = fields["process"]
        tty = bool(process.get("terminal"))
        stdin = bool(fields.get("stdin"))
        if self._request.fds:
            self._waiting = self._container.client(self._request, self.name, tty)
            self.streams.add(self._waiting, stdin, b"")
            self._waiting.hold(True)
        container = self._container
        fd = container.cgroup.open_for_clone(container.init.pid)

        def prepare(walk: Walk) -> Sequence[Step]:
            return container.fill_exec(walk, process)

        def born(life: Life, prelude: Prelude, own: Own) -> tuple[int, int]:
            if container.space.own_user:
                own(*container.root_ids)
            return bear_beside(container.init.pidfd, life, cgroup_fd=fd)

        try:
            self.child.start(Recipe(born, prepare, failures.EXEC, tty=tty, stdin=stdin))
        except OSError:
            self.streams.give_back()
            raise
        finally:
            if fd >= 0:
                os.close(fd)

    def walked(self, facts: dict[str, Any]) -> None:
        """Nobody need be asked."""
        self.child.open_gate()

    def asked(self, message: dict[str, Any]) -> None:
        """The seccomp agent is told of every process."""
        self._container.chores.do(message, "running", self.child.pid, self.child.pidfd)

    def failed(self, error: dict[str, Any]) -> None:
        """The answer is why."""
        self._failed = True
        request, self._request = self._request, None
        if request is not None:
            request.refuse(revive(error))

    def executed(self) -> None:
        """The answer, and from here on its client's input."""
        request, self._request = self._request, None
        if request is None:
            return
        request.answer({"pid": self.child.pid})
        if self._waiting is not None:
            self._waiting.hold(False)
            self._waiting.input(a2b_base64(request.fields.get("tail") or ""))
            self._waiting = None

    def exited(self, code: int) -> None:
        """Told first: what asks knarrd for the exit code afterwards is answered after this packet."""
        container = self._container
        container.forget_exec(self.name)
        if self._failed:
            self.streams.give_back()
            return
        self.streams.finish(let_go=False)
        container.tell({"event": "exec-exited", "exec": self.name, "code": code, "at": time.time_ns()})
        self.streams.let_go()
