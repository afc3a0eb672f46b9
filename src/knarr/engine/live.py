"""Containers in memory: live objects with the rows as truth, found by id, unique id prefix or name without a scan."""

import asyncio
import os
import socket
from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from knarr.engine.errors import AmbiguousId, IsPaused, IsRestarting, NameTaken, NoSuchContainer, NotRunning
from knarr.engine.record import Extra, Row
from knarr.engine.shims import ExecHandle, Shim
from knarr.engine.values import AttachOptions, Waited
from knarr.engine.world import now
from knarr.model.container import ContainerSpec, ContainerState, ContainerView, ExecSpec, Status
from knarr.model.errors import Invalid
from knarr.model.mount import Mount
from knarr.model.system import Event

_REMEMBERED = 60.0


@dataclass(slots=True)
class PendingAttach:
    """A client's socket that waits for the container to start; it is ours to close."""

    sock: socket.socket
    options: AttachOptions
    tail: bytes


@dataclass(slots=True)
class Exec:
    """An exec of one container, kept until the container's next life."""

    id: str
    container: "Live"
    spec: ExecSpec
    handle: ExecHandle | None = None
    started: bool = False
    running: bool = False
    exit_code: int | None = None
    pid: int = 0


@dataclass(slots=True, eq=False)
class Live:
    """One container. Whoever changes its state holds `lock`; waiting for its end is done without it.

    `rootfs` is its snapshot's mounts, once known. `netns` is the network namespace of a life that has its own, held until that is
    cleaned away; else -1. `seen` is what `views` made of which row and networks. Of the last life, `cleaning` takes the network away and `leaving` is its shim's end: a next life waits for both. `unhealthy`: this life is ended for that, which counts as a failure.
    """

    row: Row
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    rootfs: tuple[Mount, ...] = ()
    shim: Shim | None = None
    netns: int = -1
    ended: "asyncio.Future[Waited] | None" = None
    retry: "asyncio.Task[None] | None" = None
    probing: "asyncio.Task[None] | None" = None
    cleaning: "asyncio.Task[None] | None" = None
    leaving: "asyncio.Task[None] | None" = None
    stopping: bool = False
    unhealthy: bool = False
    restarting: bool = False
    removing: bool = False
    pending: list[PendingAttach] = field(default_factory=list)
    execs: dict[str, Exec] = field(default_factory=dict)
    exit_waiters: "list[asyncio.Future[Waited]]" = field(default_factory=list)
    removal_waiters: "list[asyncio.Future[Waited]]" = field(default_factory=list)
    seen: tuple[Row, int, ContainerView] | None = None

    @property
    def id(self) -> str:
        return self.row.id

    @property
    def name(self) -> str:
        return self.row.name

    @property
    def spec(self) -> ContainerSpec:
        return self.row.spec

    @property
    def state(self) -> ContainerState:
        return self.row.state

    @property
    def status(self) -> Status:
        return self.row.state.status

    @property
    def extra(self) -> Extra:
        return self.row.extra

    @property
    def namespace(self) -> str:
        """Where this process finds its network namespace."""
        return f"/proc/self/fd/{self.netns}"

    def release_netns(self) -> None:
        """Lets its network namespace go, if there is one."""
        if self.netns >= 0:
            os.close(self.netns)
            self.netns = -1

    @property
    def runs(self) -> bool:
        """Whether it has a process, frozen or not."""
        return self.status in (Status.RUNNING, Status.PAUSED)

    def running_shim(self) -> Shim:
        """Its shim while it runs, frozen or not. Raises NotRunning, IsRestarting."""
        if self.status is Status.RESTARTING:
            raise IsRestarting(self.id)
        if not self.runs or self.shim is None:
            raise NotRunning(self.id)
        return self.shim

    def unpaused_shim(self, called: str = "") -> Shim:
        """Its shim while it runs and is not frozen; `called` is who asks' name for it. Raises NotRunning, IsRestarting, IsPaused."""
        shim = self.running_shim()
        if self.status is Status.PAUSED:
            raise IsPaused(f"Container {called or self.id} is paused, unpause the container before exec")
        return shim

    def event(self, action: str, **attributes: str) -> Event:
        """An event of this container, with Docker's attributes."""
        return Event(
            type="container",
            action=action,
            id=self.id,
            at=now(),
            attributes={**self.spec.labels, "image": self.spec.image, "name": self.name, **attributes},
        )

    def finish(self, waiters: "list[asyncio.Future[Waited]]", result: Waited) -> None:
        """Tells those who wait."""
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(result)
        waiters.clear()

    def renamed(self, name: str) -> Row:
        """Its row under another name."""
        return replace(self.row, name=name)


class Roster:
    """All containers of one engine."""

    def __init__(self) -> None:
        self._by_id: dict[str, Live] = {}
        self._by_name: dict[str, str] = {}
        self._ids: list[str] = []
        self.execs: dict[str, Exec] = {}

    def __iter__(self) -> Iterator[Live]:
        return iter(list(self._by_id.values()))

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, container_id: str) -> bool:
        return container_id in self._by_id

    def get(self, container_id: str) -> Live | None:
        """By its whole id."""
        return self._by_id.get(container_id)

    def find(self, name: str) -> Live:
        """By id, name or unique prefix of an id, in Docker's order. Raises NoSuchContainer, AmbiguousId."""
        if name in self._by_id:
            return self._by_id[name]
        if not name:
            raise Invalid('invalid name or ID supplied: ""')
        owner = self._by_name.get(name.removeprefix("/"))
        if owner in self._by_id:
            return self._by_id[owner]
        at = bisect_left(self._ids, name)
        if at == len(self._ids) or not self._ids[at].startswith(name):
            raise NoSuchContainer(name)
        if at + 1 < len(self._ids) and self._ids[at + 1].startswith(name):
            raise AmbiguousId(name)
        return self._by_id[self._ids[at]]

    def reserve(self, name: str, container_id: str) -> None:
        """Nobody else gets the name from here on. Raises NameTaken."""
        owner = self._by_name.setdefault(name, container_id)
        if owner != container_id:
            raise NameTaken(name, owner)

    def release(self, name: str) -> None:
        """Gives a name back."""
        self._by_name.pop(name, None)

    def add(self, live: Live) -> None:
        """A container that is in the state; its name is reserved."""
        self._by_id[live.id] = live
        self._by_name[live.name] = live.id
        insort(self._ids, live.id)

    def discard(self, live: Live) -> None:
        """It is out of the state."""
        if self._by_id.pop(live.id, None) is None:
            return
        if self._by_name.get(live.name) == live.id:
            del self._by_name[live.name]
        del self._ids[bisect_left(self._ids, live.id)]

    def forget_execs(self, live: Live) -> None:
        """In a while: a client whose exec ended with the container asks for its exit code when its stream has ended."""
        if live.execs:
            asyncio.get_running_loop().call_later(_REMEMBERED, self._drop_execs, live, list(live.execs))

    def _drop_execs(self, live: Live, exec_ids: list[str]) -> None:
        for exec_id in exec_ids:
            self.execs.pop(exec_id, None)
            live.execs.pop(exec_id, None)
