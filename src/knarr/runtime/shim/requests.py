"""What may be asked of a shim's container: each request of `wire.shim` by its name.

A request is answered, or refused with what is raised; `start` and `exec` are answered later, when the program runs.
"""

import signal
from binascii import a2b_base64

from knarr.model.errors import Conflict, Invalid, NotFound
from knarr.runtime.shim import ahead
from knarr.runtime.shim.container import Container, send_signal
from knarr.runtime.shim.control import Request, Serve
from knarr.runtime.shim.execs import Exec

_REQUESTS = frozenset(
    (
        "start",
        "attach",
        "signal",
        "resize",
        "exec",
        "exec-resize",
        "exec-signal",
        "pause",
        "resume",
        "update",
        "pids",
        "stats",
        "release",
    )
)


class Asked(Container):
    """A container that serves requests."""

    __slots__ = ()

    def serve(self, name: str) -> Serve:
        """Who serves a request of this name. Raises Invalid."""
        if name in _REQUESTS:
            found: Serve = getattr(self, name.replace("-", "_"))
            return found
        raise Invalid(f"unknown request {name!r} to a shim")

    def start(self, request: Request) -> None:
        """Opens the gate, at once or when the init is there; answers when the program runs."""
        if self.started or self.exit is not None:
            raise Conflict("the container was started already")
        self.started = True
        self._starting = request
        request.early = not self.ready
        if self.ready:
            self.init.open_gate()

    def attach(self, request: Request) -> None:
        """Takes a client's socket."""
        fields = request.fields
        client = self.client(request, None, self._tty)
        if self.exit is not None:
            client.close()
            raise NotFound("the container has exited")
        self.streams.add(client, bool(fields.get("stdin")), a2b_base64(fields.get("tail") or ""))
        request.answer({})

    def signal(self, request: Request) -> None:
        """To the init, or to everyone. A frozen process dies only when it thaws (cgroup-v1/freezer-subsystem.rst)."""
        number = int(request.fields["signal"])
        if not request.fields.get("all"):
            send_signal(self.init, number)
        elif self.exit is None:
            self.cgroup.kill(number)
        if self.paused and number == signal.SIGKILL:
            self.cgroup.thaw()
            self.paused = False
        request.answer({})

    def resize(self, request: Request) -> None:
        """The init's terminal."""
        self.streams.resize(int(request.fields["width"]), int(request.fields["height"]))
        request.answer({})

    def exec(self, request: Request) -> None:
        """A process beside the init; answers when its program runs."""
        if not self.started or not self.ready or self.exit is not None:
            ahead.close(request.fds)
            raise Conflict(f"container {self.id} is not running")
        begun = Exec(self, request)
        self.execs[begun.name] = begun
        try:
            begun.start()
        except BaseException:
            self.execs.pop(begun.name, None)
            raise

    def exec_resize(self, request: Request) -> None:
        """An exec's terminal."""
        self._exec(request).streams.resize(int(request.fields["width"]), int(request.fields["height"]))
        request.answer({})

    def exec_signal(self, request: Request) -> None:
        """To an exec."""
        send_signal(self._exec(request).child, int(request.fields["signal"]))
        request.answer({})

    def _exec(self, request: Request) -> Exec:
        try:
            return self.execs[request.fields["exec"]]
        except KeyError:
            raise NotFound(f"No such exec instance: {request.fields['exec']}") from None

    def pause(self, request: Request) -> None:
        """Freezes."""
        self._runs()
        self.cgroup.freeze()
        self.paused = True
        request.answer({})

    def resume(self, request: Request) -> None:
        """Thaws."""
        self._runs()
        self.cgroup.thaw()
        self.paused = False
        request.answer({})

    def update(self, request: Request) -> None:
        """Other limits."""
        self._runs()
        self.cgroup.apply(request.fields["resources"])
        request.answer({})

    def pids(self, request: Request) -> None:
        """Of all processes, as the host numbers them."""
        request.answer({"pids": self.cgroup.pids() if self.exit is None else []})

    def stats(self, request: Request) -> None:
        """The cgroup's numbers."""
        self._runs()
        request.answer(self.cgroup.stats())

    def _runs(self) -> None:
        """Raises NotFound once it does no longer: its cgroup goes, or is gone."""
        if self.exit is not None:
            raise NotFound("the container has exited")

    def release(self, request: Request) -> None:
        """The exit is on record. A container that never started is given up."""
        if self.exit is None and self.started:
            raise Conflict(f"container {self.id} is running")
        self.releasing = True
        request.answer({})
        if self.exit is None:
            send_signal(self.init, signal.SIGKILL)
        else:
            self.on_released()
