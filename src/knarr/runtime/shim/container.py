"""What a shim holds: the init, its execs, the cgroup. What may be asked of them is in `requests`.

The order at the end is a law: reap the init, kill what is left in its cgroup, take the last output, write exit.json
(rename), and tell. Only then it lets go of what takes the kernel long: the mounts, which it has kept until here by a
descriptor of their namespace, and the cgroup. Whoever needs them gone asks for `release`.
"""

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from knarr.kernel.files import write_atomic
from knarr.model.errors import KnarrError, NotFound, Unavailable
from knarr.runtime import failures
from knarr.runtime.birth import Life, Prelude, bear
from knarr.runtime.plan import Step
from knarr.runtime.plan_namespaces import namespaces
from knarr.runtime.shim import ahead
from knarr.runtime.shim.child import Child, Own, Recipe
from knarr.runtime.shim.control import Request
from knarr.runtime.shim.execs import Exec
from knarr.runtime.shim.explaining import namespaces_step
from knarr.runtime.shim.held import Held, remove_cgroup
from knarr.runtime.shim.loop import Loop
from knarr.runtime.shim.packets import pack
from knarr.runtime.shim.strangers import Strangers
from knarr.runtime.state import Walk
from knarr.wire.zygote import revive


class Container(Held):
    """One container. `on_hello` and `on_failed` speak to whoever sent the order."""

    __slots__ = (
        "_error",
        "_mounts",
        "_order",
        "_starting",
        "_steps",
        "_strangers",
        "_take",
        "_tty",
        "_warnings",
        "execs",
        "exit",
        "id",
        "on_failed",
        "on_hello",
        "on_released",
        "paused",
        "ready",
        "releasing",
        "started",
    )

    def __init__(self, loop: Loop, order: Mapping[str, Any]):
        super().__init__(loop, order)
        self._order: Mapping[str, Any] | None = order
        self.id: str = order["id"]
        self._tty = bool(order["terminal"])
        self.execs: dict[str, Exec] = {}
        self.ready = self.started = self.paused = self.releasing = False
        self._mounts = self._take = -1
        self._starting: Request | None = None
        self.exit: dict[str, Any] | None = None
        self._strangers = Strangers(
            loop, lambda: {self.init.pid, *(one.child.pid for one in self.execs.values())}
        )
        self._error: BaseException | None = None
        self._steps: list[dict[str, Any]] = []
        self._warnings: list[str] = []
        self.on_hello: Callable[[], None] = _nothing
        self.on_failed: Callable[[BaseException], None] = _nothing
        self.on_released: Callable[[], None] = _nothing

    def take_up(self, born: "ahead.Ahead") -> None:
        """The init that read the order."""
        assert self._order is not None
        self._take = born.take
        self.init.take_up(born, tty=self._tty, stdin=bool(self._order.get("stdin")))

    # what the init says ------------------------------------------------------------------------------------------------

    def unborn(self, message: dict[str, Any]) -> None:
        """It made the cgroup; and perhaps it cannot be the init, because that must be born otherwise."""
        self._steps += message["made"]
        if "bear" in message:
            self._bear(message["bear"], message["plan"])

    def asked(self, message: dict[str, Any]) -> None:
        """Hooks in the runtime's namespaces, and the seccomp agent."""
        self.chores.do(message, "creating", self.init.pid, self.init.pidfd)

    def _bear(self, linux: Mapping[str, Any], plan: str) -> None:
        assert self._order is not None
        order = {**self._order, "plan": plan}
        self.space = space = namespaces(linux)
        if "pid" not in (*space.new, *dict(space.joined)):
            self._strangers.welcome()
        fd = self.cgroup.open_for_clone()

        def born(life: Life, prelude: Prelude, own: Own) -> tuple[int, int]:
            def admit(pid: int, uid: int, gid: int) -> None:
                self.root_ids = (uid, gid)
                own(uid, gid)

            return bear(space, life, cgroup_fd=fd, prelude=prelude, admit=admit)

        def prepare(walk: Walk) -> Sequence[Step]:
            return ahead.fill(order, walk, *ahead.read_plan(order))

        explain = bool(order.get("explain"))
        try:
            self.init.bear_anew(Recipe(born, prepare, failures.RUN, explain=explain))
        except OSError as error:
            self._unborn(failures.failure(failures.RUN, failures.spoken(error)))
        except KnarrError as error:
            self._unborn(error)
        finally:
            if fd >= 0:
                os.close(fd)

    def _unborn(self, error: KnarrError) -> None:
        """Nobody was born, so nobody's exit will be told."""
        self._fail(error)
        self.streams.finish()
        self._never_was(0, oom=False)

    def walked(self, facts: dict[str, Any]) -> None:
        """It waits at its gate. From here on its mounts stay until they are let go."""
        self.ready = True
        self._order = None
        self._mounts = os.open(f"/proc/{self.init.pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        self._steps = (
            [*self._steps, *facts["steps"], namespaces_step(self.init.pid)] if facts["steps"] else []
        )
        self._warnings = facts["warnings"]
        if self.started:
            self.init.open_gate()
        else:
            self.on_hello()

    def failed(self, error: dict[str, Any]) -> None:
        """It says why it will not get there; its exit follows."""
        request, self._starting = self._starting, None
        if request is not None and self.ready:
            request.refuse(revive(error))
            return
        self._fail(revive(error))

    def _fail(self, error: BaseException) -> None:
        self.exit = {}
        self._error = error

    def executed(self) -> None:
        """Or it died: its exit follows."""
        os.close(self._take)
        request, self._starting = self._starting, None
        if request is None or not self.ready:
            return
        if request.early:
            self.on_hello()
        try:
            self.chores.started(self.init.pid)
        except KnarrError as error:
            request.refuse(error)
            send_signal(self.init, signal.SIGKILL)
            return
        request.answer({})
        self._steps, self._warnings = [], []

    def hello(self) -> dict[str, Any]:
        """What every new connection is told."""
        return {
            "event": "hello",
            "container": self.id,
            "pid": self.init.pid,
            "started": self.started,
            "paused": self.paused,
            "exit": self.exit,
            "execs": [{"exec": name, "pid": one.child.pid} for name, one in self.execs.items()],
            "steps": self._steps,
            "warnings": self._warnings,
        }

    def forget_exec(self, name: str) -> None:
        """As every holder, and it is none of those that run."""
        self.execs.pop(name, None)
        super().forget_exec(name)

    # the end -----------------------------------------------------------------------------------------------------------

    def exited(self, code: int) -> None:
        """The init is reaped: the law above."""
        at = time.time_ns()
        oom = self.cgroup.oom_kills() > 0
        self._clear_cgroup()
        self.streams.finish()
        if not self.ready:
            self._never_was(code, oom)
            return
        self.exit = {"code": code, "oom": oom, "at": at}
        self._record()
        if oom:
            self.tell({"event": "oom"})
        self.tell({"event": "exited", **self.exit})
        self._let_go()
        if self.releasing:
            self.on_released()

    def _never_was(self, code: int, oom: bool) -> None:
        """Nothing is left when it is told."""
        if self._error is None:
            reason = "out of memory" if oom else f"exit code {code}"
            self._fail(failures.failure(failures.RUN, f"container init was ended ({reason})"))
        self._let_go()
        self.on_failed(self._error or Unavailable("the container's init was lost"))
        self.on_released()

    def _let_go(self) -> None:
        self.unmount()
        remove_cgroup(self.cgroup)

    def unmount(self) -> None:
        """It writes back what the container wrote (overlayfs syncs its upper layer), so it can take long."""
        if self._mounts >= 0:
            os.close(self._mounts)
            self._mounts = -1
        self.chores.stopped()

    def _clear_cgroup(self) -> None:
        """Processes that outlived the init."""
        if self.paused:
            self.cgroup.thaw()
            self.paused = False
        self._poll_execs()
        self._strangers.end(self.cgroup, self._poll_execs)

    def _poll_execs(self) -> None:
        for one in list(self.execs.values()):
            one.child.poll()

    def _record(self) -> None:
        """For as long as the boot."""
        try:
            write_atomic(f"{self.run_dir}/exit.json", pack(self.exit or {}), 0o600, sync=False)
        except OSError:
            return


def _nothing(*_: object) -> None:
    return


def send_signal(child: Child, number: int) -> None:
    """Raises NotFound after its end."""
    try:
        child.signal(number)
    except ProcessLookupError:
        raise NotFound("process not found: it has exited") from None
