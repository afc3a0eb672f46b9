"""What a shim holds: the init, its execs, the cgroup, and what may be asked of them.

The order at the end is a law: reap the init, kill what is left in its cgroup, take the last output, write exit.json
(fsync, rename), remove the cgroup, and only then tell.
"""

import json
import os
import signal
import socket
import time
from binascii import a2b_base64
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from knarr.kernel.cgroups import hierarchy
from knarr.kernel.cgroups.open import open_cgroup
from knarr.kernel.files import write_atomic
from knarr.model.errors import Conflict, Invalid, KnarrError, NotFound, Unavailable
from knarr.runtime import failures
from knarr.runtime.birth import Life, bear, bear_beside, namespaces
from knarr.runtime.defaults import device_rules
from knarr.runtime.plan import Step, plan_exec, plan_init
from knarr.runtime.shim.child import Child, Recipe
from knarr.runtime.shim.client import Client
from knarr.runtime.shim.control import Answer
from knarr.runtime.shim.log import JsonLog
from knarr.runtime.shim.loop import Loop
from knarr.runtime.shim.streams import Streams
from knarr.runtime.state import Walk
from knarr.wire.detachkeys import Matcher, parse
from knarr.wire.zygote import revive

_PATIENCE = 30.0
_UNSEEN = 5.0

host_hierarchy = cache(hierarchy.find)
"""The host's cgroup mounts; the zygote looks before it forks."""

Refuse = Callable[[BaseException], None]


class Container:
    """One container. `tell(event)` reaches every connection, and says if there was one; `on_hello`, `on_failed` speak to whoever sent the order."""

    def __init__(self, loop: Loop, order: Mapping[str, Any], tell: Callable[[dict[str, Any]], bool]):
        self._loop, self._tell = loop, tell
        self.id: str = order["id"]
        self._run_dir: str = order["run_dir"]
        log = order.get("log") or {}
        self._spill_dir = os.path.dirname(log.get("path") or "") or self._run_dir
        self._filter = _read(order["seccomp"]) if order.get("seccomp") else b""
        self.cgroup = open_cgroup(order["cgroup"], host_hierarchy())
        self.streams = Streams(loop, _log(log), bool(order.get("stdin_once")))
        self.init = Child(loop, self.streams)
        self.execs: dict[str, Child] = {}
        self._unseen: dict[str, Streams] = {}
        self.ready = self.started = self.paused = self.releasing = False
        self.exit: dict[str, Any] | None = None
        self._error: BaseException | None = None
        self.facts: dict[str, Any] = {}
        self.on_hello: Callable[[], None] = lambda: None
        self.on_failed: Callable[[BaseException], None] = lambda error: None
        self.on_released: Callable[[], None] = lambda: None

    def launch(self, order: Mapping[str, Any]) -> None:
        """Makes the cgroup and the init. Raises what went wrong before the clone."""
        space = namespaces(order)
        began, at = time.monotonic_ns(), time.time_ns()
        try:
            self.cgroup.create()
            self.cgroup.apply(_with_devices(order["resources"]))
        except OSError as error:
            sentence = f"unable to apply cgroup configuration: {failures.spoken(error)}: unknown"
            raise KnarrError(f"{failures.RUN}{sentence}") from None
        self.facts["steps"] = [
            {
                "name": f"cgroup {self.cgroup.path}",
                "reason": "its limits and its accounts",
                "at": at,
                "duration": time.monotonic_ns() - began,
                "objects": {"cgroup": self.cgroup.path},
            }
        ]
        fd = self.cgroup.open_for_clone()
        mounts, bundle = order["rootfs"]["mounts"], order["bundle"]

        def prepare(walk: Walk) -> tuple[Step, ...]:
            document = json.loads(bundle)
            self._prepare(walk, document["process"])
            return plan_init(document, mounts, seccomp=bool(self._filter))

        def born(life: Life) -> tuple[int, int]:
            return bear(space, life, cgroup_fd=fd)

        recipe = Recipe(
            born,
            prepare,
            failures.RUN,
            tty=bool(order["terminal"]),
            stdin=bool(order.get("stdin")),
            explain=bool(order.get("explain")),
        )
        self.init.on_ready = self._walked
        self.init.on_failed = lambda error: self._failed(revive(error))
        self.init.on_exit = self._exited
        try:
            self.init.start(recipe)
        finally:
            if fd >= 0:
                os.close(fd)

    def _prepare(self, walk: Walk, process: Mapping[str, Any]) -> None:
        walk.load(process)
        walk.cgroup, walk.filter, walk.run_dir = self.cgroup, self._filter, self._run_dir
        walk.init_pidfd = self.init.pidfd

    def _walked(self, facts: dict[str, Any]) -> None:
        self.ready = True
        steps = self.facts["steps"] + facts["steps"] + [self._namespaces()] if facts["steps"] else []
        self.facts = {"steps": steps, "warnings": facts["warnings"]}
        self.on_hello()

    def _namespaces(self) -> dict[str, Any]:
        """The step that shows what was made: each namespace of the init by its inode (namespaces(7))."""
        at = time.time_ns()
        links = {
            kind: f"/proc/{self.init.pid}/ns/{kind}"
            for kind in ("mnt", "pid", "net", "ipc", "uts", "cgroup", "user")
        }
        objects = {kind: os.readlink(path).partition("[")[2].rstrip("]") for kind, path in links.items()}
        reason = "what the process sees of the machine"
        return {
            "name": "namespaces",
            "reason": reason,
            "at": at,
            "duration": time.time_ns() - at,
            "objects": objects,
        }

    def _failed(self, error: BaseException) -> None:
        self.exit = {}
        self._error = error

    def hello(self) -> dict[str, Any]:
        """What every new connection is told."""
        return {
            "event": "hello",
            "container": self.id,
            "pid": self.init.pid,
            "started": self.started,
            "paused": self.paused,
            "exit": self.exit,
            "execs": [{"exec": name, "pid": child.pid} for name, child in self.execs.items()],
            **self.facts,
        }

    # requests ----------------------------------------------------------------------------------------------------------

    def start(self, request: Mapping[str, Any], fds: list[int], answer: Answer, refuse: Refuse) -> None:
        """Opens the gate; answers when the program runs."""
        if self.started or self.exit is not None:
            raise Conflict("the container was started already")
        self.started = True
        self.facts = {"steps": [], "warnings": []}
        self.init.on_executed = lambda: answer({})
        self.init.open_gate()

    def attach(self, request: Mapping[str, Any], fds: list[int], answer: Answer, refuse: Refuse) -> None:
        """Takes a client's socket."""
        client = self._client(request, fds, None, self.streams.master >= 0)
        if self.exit is not None:
            client.close()
            raise NotFound("the container has exited")
        self.streams.add(client, bool(request.get("stdin")), a2b_base64(request.get("tail") or ""))
        answer({})

    def _client(self, request: Mapping[str, Any], fds: list[int], name: str | None, tty: bool) -> Client:
        if len(fds) != 1:
            for fd in fds:
                os.close(fd)
            raise Invalid(f"attaching takes one socket, not {len(fds)}")
        wants = frozenset(stream for stream, word in ((1, "stdout"), (2, "stderr")) if request.get(word))
        client = Client(
            self._loop, socket.socket(fileno=fds[0]), wants, bool(request.get("framed")), self._spill_dir
        )
        if tty:
            client.matcher = Matcher(parse(request.get("keys") or ""))

        def closed(gone: Client, detached: bool) -> None:
            if detached:
                self._tell({"event": "detached", "exec": name})

        client.on_close = closed
        return client

    def signal(self, request: Mapping[str, Any], fds: list[int], answer: Answer, refuse: Refuse) -> None:
        """To the init, or to everyone. A frozen process dies only when it thaws (cgroup-v1/freezer-subsystem.rst)."""
        number = int(request["signal"])
        if request.get("all"):
            self.cgroup.kill(number)
        else:
            _signal(self.init, number)
        if self.paused and number == signal.SIGKILL:
            self.cgroup.thaw()
            self.paused = False
        answer({})

    def resize(self, request: Mapping[str, Any], fds: list[int], answer: Answer, refuse: Refuse) -> None:
        """The init's terminal."""
        self.streams.resize(int(request["width"]), int(request["height"]))
        answer({})

    def exec(self, request: Mapping[str, Any], fds: list[int], answer: Answer, refuse: Refuse) -> None:
        """A process beside the init; answers when its program runs."""
        name: str = request["exec"]
        if not self.started or self.exit is not None:
            for fd in fds:
                os.close(fd)
            raise Conflict(f"container {self.id} is not running")
        streams = Streams(self._loop, None, stdin_once=True)
        child = Child(self._loop, streams, name)
        process = request["process"]
        tty = bool(process.get("terminal"))
        waiting = self._client(request, fds, name, tty) if fds else None
        if waiting is not None:
            streams.add(waiting, bool(request.get("stdin")), b"")
            waiting.hold(True)
        self.execs[name] = child
        failed = []

        def prepare(walk: Walk) -> tuple[Step, ...]:
            self._prepare(walk, process)
            return plan_exec(process, seccomp=bool(self._filter))

        def ready(facts: dict[str, Any]) -> None:
            child.open_gate()

        def refused(error: dict[str, Any]) -> None:
            failed.append(error)
            refuse(revive(error))

        def executed() -> None:
            answer({"pid": child.pid})
            if waiting is not None:
                waiting.hold(False)
                waiting.input(a2b_base64(request.get("tail") or ""))

        def exited(code: int) -> None:
            del self.execs[name]
            if failed:
                streams.give_back()
                return
            streams.finish(let_go=False)
            self._unseen[name] = streams
            self._loop.after(streams, _UNSEEN, lambda: self._seen(name))
            if not self._tell({"event": "exec-exited", "exec": name, "code": code, "at": time.time_ns()}):
                self._seen(name)

        child.on_ready, child.on_failed, child.on_executed, child.on_exit = ready, refused, executed, exited
        fd = self.cgroup.open_for_clone()
        stdin = bool(request.get("stdin"))

        def born(life: Life) -> tuple[int, int]:
            return bear_beside(self.init.pidfd, life, cgroup_fd=fd)

        recipe = Recipe(born, prepare, failures.EXEC, tty=tty, stdin=stdin)
        try:
            child.start(recipe)
        except OSError:
            del self.execs[name]
            streams.give_back()
            raise
        finally:
            if fd >= 0:
                os.close(fd)

    def exec_resize(self, request: Mapping[str, Any], fds: list[int], answer: Answer, refuse: Refuse) -> None:
        """An exec's terminal."""
        self._exec(request).streams.resize(int(request["width"]), int(request["height"]))
        answer({})

    def exec_signal(self, request: Mapping[str, Any], fds: list[int], answer: Answer, refuse: Refuse) -> None:
        """To an exec."""
        _signal(self._exec(request), int(request["signal"]))
        answer({})

    def exec_seen(self, request: Mapping[str, Any], fds: list[int], answer: Answer, refuse: Refuse) -> None:
        """The exit of an exec is known to whoever may be asked for it."""
        self._seen(request["exec"])
        answer({})

    def _seen(self, name: str) -> None:
        """Only now its clients are let go: the first thing that they ask for is its exit code."""
        streams = self._unseen.pop(name, None)
        if streams is not None:
            self._loop.cancel(streams)
            streams.let_go()

    def _exec(self, request: Mapping[str, Any]) -> Child:
        try:
            return self.execs[request["exec"]]
        except KeyError:
            raise NotFound(f"No such exec instance: {request['exec']}") from None

    def pause(self, request: Mapping[str, Any], fds: list[int], answer: Answer, refuse: Refuse) -> None:
        """Freezes."""
        self.cgroup.freeze()
        self.paused = True
        answer({})

    def resume(self, request: Mapping[str, Any], fds: list[int], answer: Answer, refuse: Refuse) -> None:
        """Thaws."""
        self.cgroup.thaw()
        self.paused = False
        answer({})

    def update(self, request: Mapping[str, Any], fds: list[int], answer: Answer, refuse: Refuse) -> None:
        """Other limits."""
        self.cgroup.apply(request["resources"])
        answer({})

    def pids(self, request: Mapping[str, Any], fds: list[int], answer: Answer, refuse: Refuse) -> None:
        """Of all processes, as the host numbers them."""
        answer({"pids": self.cgroup.pids() if self.exit is None else []})

    def stats(self, request: Mapping[str, Any], fds: list[int], answer: Answer, refuse: Refuse) -> None:
        """The cgroup's numbers."""
        if self.exit is not None:
            raise NotFound("the container has exited")
        answer(self.cgroup.stats())

    def release(self, request: Mapping[str, Any], fds: list[int], answer: Answer, refuse: Refuse) -> None:
        """The exit is on record. A container that never started is given up."""
        if self.exit is None and self.started:
            raise Conflict(f"container {self.id} is running")
        self.releasing = True
        answer({})
        if self.exit is None:
            _signal(self.init, signal.SIGKILL)
        else:
            self.on_released()

    # the end -----------------------------------------------------------------------------------------------------------

    def _exited(self, code: int) -> None:
        at = time.time_ns()
        oom = self.cgroup.oom_kills() > 0
        self._clear_cgroup()
        self.streams.finish()
        if self.exit is None and not self.ready:
            reason = "out of memory" if oom else f"exit code {code}"
            self._failed(failures.failure(failures.RUN, f"container init was ended ({reason})"))
        if not self.exit and self.ready:
            self.exit = {"code": code, "oom": oom, "at": at}
            self._record()
        self.remove_cgroup()
        if not self.ready:
            self.on_failed(self._error or Unavailable("the container's init was lost"))
            self.on_released()
            return
        if oom:
            self._tell({"event": "oom"})
        self._tell({"event": "exited", **(self.exit or {})})
        if self.releasing:
            self.on_released()

    def remove_cgroup(self) -> None:
        """Tries until the kernel lets it go; what stays in the end is the daemon's to sweep."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            try:
                self.cgroup.remove()
                return
            except OSError:
                time.sleep(0.002)

    def _clear_cgroup(self) -> None:
        """Processes that outlived the init: there are some only where the pid namespace is shared."""
        deadline = time.monotonic() + _PATIENCE
        if self.paused:
            self.cgroup.thaw()
        while self.cgroup.pids() and time.monotonic() < deadline:
            self.cgroup.kill()
            for child in list(self.execs.values()):
                child.poll()
            self.reap_strangers()
            time.sleep(0.001)

    def _record(self) -> None:
        try:
            write_atomic(f"{self._run_dir}/exit.json", json.dumps(self.exit).encode(), 0o600)
        except OSError:
            return

    def reap_strangers(self) -> None:
        """Orphans of a shared pid namespace became ours (PR_SET_CHILD_SUBREAPER); our own children have pidfds."""
        known = {self.init.pid, *(child.pid for child in self.execs.values())}
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None or found.si_pid in known:
                return
            os.waitpid(found.si_pid, os.WNOHANG)


def _signal(child: Child, number: int) -> None:
    try:
        child.signal(number)
    except ProcessLookupError:
        raise NotFound("process not found: it has exited") from None


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _log(wish: Mapping[str, Any]) -> JsonLog | None:
    if wish.get("driver", "none") != "json-file":
        return None
    return JsonLog(wish["path"], int(wish.get("max_size", -1)), int(wish.get("max_file", 1)))


def _with_devices(resources: Mapping[str, Any]) -> Mapping[str, Any]:
    """An order that says nothing of devices gets the usual ones and no other."""
    return resources if resources.get("devices") else {**resources, "devices": device_rules()}
