"""What the init of a container and its execs have in common: where they belong, and who looks at them."""

import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from knarr.kernel.cgroups.open import open_cgroup
from knarr.kernel.cgroups.v1 import CgroupV1
from knarr.kernel.cgroups.v2 import CgroupV2
from knarr.model.errors import Invalid
from knarr.runtime.plan import Step, plan_exec
from knarr.runtime.plan_namespaces import Namespaces
from knarr.runtime.plan_userns import beside
from knarr.runtime.shim import ahead
from knarr.runtime.shim.child import Child, Owner
from knarr.runtime.shim.chores import Chores
from knarr.runtime.shim.client import Client
from knarr.runtime.shim.control import Request
from knarr.runtime.shim.log import JsonLog
from knarr.runtime.shim.loop import Loop
from knarr.runtime.shim.streams import Log, Streams
from knarr.runtime.state import Walk
from knarr.wire.detachkeys import Matcher, parse

PATIENCE = 30.0
"""How long what was killed may take to go."""


class Held(Owner):
    """`tell(event)` reaches every connection, and says if there was one.

    `space` are the namespaces of an init that was born apart, `root_ids` what the host calls its root.
    """

    __slots__ = (
        "_cgroup",
        "_place",
        "_seccomp",
        "_spill_dir",
        "chores",
        "init",
        "loop",
        "root_ids",
        "run_dir",
        "space",
        "streams",
        "tell",
    )

    def __init__(self, loop: Loop, order: Mapping[str, Any]):
        self.loop = loop
        self.tell: Callable[[dict[str, Any]], bool] = _nobody
        self.run_dir: str = order["run_dir"]
        self._seccomp: dict[str, Any] = {"seccomp": order.get("seccomp")}
        log = order.get("log") or {}
        self._spill_dir = os.path.dirname(log.get("path") or "") or self.run_dir
        self._place: str = order["cgroup"]
        self._cgroup: CgroupV1 | CgroupV2 | None = None
        self.streams = Streams(loop, _log(loop, log), bool(order.get("stdin_once")))
        self.init = Child(loop, self.streams, self)
        self.chores = Chores(order)
        self.space = Namespaces()
        self.root_ids = (0, 0)

    @property
    def cgroup(self) -> CgroupV1 | CgroupV2:
        """Where its processes are."""
        if self._cgroup is None:
            self._cgroup = open_cgroup(self._place, ahead.host_hierarchy())
        return self._cgroup

    def client(self, request: Request, name: str | None, tty: bool) -> Client:
        """The client that a request brings, to the init (None) or an exec."""
        fields, fds = request.fields, request.fds
        if len(fds) != 1:
            ahead.close(fds)
            raise Invalid(f"attaching takes one socket, not {len(fds)}")
        wants = frozenset(stream for stream, word in ((1, "stdout"), (2, "stderr")) if fields.get(word))
        framed = bool(fields.get("framed"))
        client = Client(self.loop, socket.socket(fileno=fds[0]), wants, framed, self._spill_dir)
        if tty:
            client.matcher = Matcher(parse(fields.get("keys") or ""))

        def closed(gone: Client, detached: bool) -> None:
            if detached:
                self.tell({"event": "detached", "exec": name})

        client.on_close = closed
        return client

    def fill_exec(self, walk: Walk, process: Mapping[str, Any]) -> Sequence[Step]:
        """What the walk of an exec needs, and its steps; in the exec itself."""
        walk.load(process)
        walk.cgroup, walk.run_dir, walk.init_pidfd = self.cgroup, self.run_dir, self.init.pidfd
        walk.space = self.space
        walk.filter = ahead.read_filter(self._seccomp)
        linux = {"seccomp": self.chores.agent}
        return beside(plan_exec(process, seccomp=bool(walk.filter), linux=linux), self.space)

    def forget_exec(self, name: str) -> None:
        """It is reaped."""


def remove_cgroup(cgroup: CgroupV1 | CgroupV2) -> None:
    """Tries until the kernel lets it go; what stays in the end is the daemon's to sweep."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            cgroup.remove()
            return
        except OSError:
            time.sleep(0.002)


def _nobody(event: dict[str, Any]) -> bool:
    return False


def _log(loop: Loop, wish: Mapping[str, Any]) -> "Log | None":
    driver = wish.get("driver", "none")
    if driver == "none":
        return None
    if driver == "json-file" and not wish.get("compress"):
        return JsonLog(
            wish["path"], int(wish.get("max_size", -1)), int(wish.get("max_file", 1)), wish.get("attrs")
        )
    from knarr.runtime.shim.logs.open import open_log

    return open_log(loop, wish)
