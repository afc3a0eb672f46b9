"""What every use case of one engine shares; built once by `engine.Engine.open`."""

import asyncio
import logging
import os
import platform
import sqlite3
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from knarr.engine.abilities import abilities
from knarr.engine.checks import ulimit
from knarr.engine.events import Events, write_event
from knarr.engine.namespaces import Namespaces
from knarr.engine.nets import Nets
from knarr.engine.paths import Paths
from knarr.engine.plan import Host
from knarr.engine.settings import Settings
from knarr.engine.userns import Ids
from knarr.engine.zygote import Zygote
from knarr.kernel.capabilities import NUMBERS
from knarr.kernel.cgroups.hierarchy import Hierarchy
from knarr.kernel.files import read_text
from knarr.loop.tasks import Tasks
from knarr.model.system import Event
from knarr.network.bridge import Bridge
from knarr.snapshots.port import Snapshotter
from knarr.state.database import Database

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class World:
    """Collaborators and facts. `bridge` is None where the kernel's side of networks is missing; `seccomp` is the default profile's
    JSON, "" Docker's own, None no filter. `remap` are the ids of --userns-remap. `chores` end by themselves soon and are waited for when the
    engine closes; `tasks` are cancelled. While it is `ending` no next life begins."""

    settings: Settings
    paths: Paths
    db: Database
    events: Events
    zygote: Zygote
    snapshots: Snapshotter
    tasks: Tasks
    chores: Tasks
    namespaces: Namespaces
    hierarchy: Hierarchy
    host: Host
    bridge: Bridge | None = None
    nets: Nets = field(default_factory=Nets)
    capabilities: frozenset[str] = frozenset()
    seccomp: str | None = ""
    wholes: set[asyncio.Task[Any]] = field(default_factory=set)
    closing: bool = False
    ending: bool = False
    daemon_id: str = ""
    remap: Ids | None = None

    async def commit(self, change: Callable[[sqlite3.Connection], object], *events: Event) -> None:
        """One transaction: the change and what it is told as. Raises what the change raises."""
        await self.record(change, *events)

    def record(
        self, change: Callable[[sqlite3.Connection], object], *events: Event
    ) -> "asyncio.Future[list[Event]]":
        """As `commit`; the transaction is under way when this returns, and transactions happen in the order of their calls."""

        def write(tx: sqlite3.Connection) -> list[Event]:
            change(tx)
            return [write_event(tx, event) for event in events]

        done = self.db.submit(write)
        if events:
            done.add_done_callback(self._publish)
        return done

    def _publish(self, done: "asyncio.Future[list[Event]]") -> None:
        if not done.cancelled() and done.exception() is None:
            self.events.publish(done.result())

    async def whole(self, work: Coroutine[Any, Any, T]) -> T:
        """`work` to its end, even if the caller is cancelled: a client that hangs up leaves nothing half-done."""
        task = asyncio.create_task(work)
        self.wholes.add(task)
        task.add_done_callback(self.wholes.discard)
        task.add_done_callback(_heard)
        return await asyncio.shield(task)

    def tell(self, *events: Event) -> None:
        """Events of something that no row keeps; nobody waits for their record."""
        self.record(_nothing, *events).add_done_callback(_told)


def _told(done: "asyncio.Future[list[Event]]") -> None:
    if not done.cancelled() and (error := done.exception()) is not None:
        log.warning("cannot record an event: %s", error)


def _heard(task: "asyncio.Task[Any]") -> None:
    """Its error is the caller's, who may be gone."""
    if not task.cancelled():
        task.exception()


def _nothing(_tx: sqlite3.Connection) -> None:
    return None


def now() -> int:
    """Nanoseconds since the epoch."""
    return time.time_ns()


def host_facts(settings: Settings, hierarchy: Hierarchy, *, remapped: bool = False) -> Host:
    """What plans must know of this machine."""
    return Host(
        cpus=len(os.sched_getaffinity(0)),
        hostname=platform.node(),
        shm_size=settings.default_shm_size,
        log_driver=settings.log_driver,
        log_options=settings.log_options,
        ipc_mode=settings.default_ipc_mode,
        cgroupns_mode=settings.default_cgroupns_mode,
        cgroup_version=hierarchy.version,
        abilities=abilities(hierarchy),
        ulimits=tuple(ulimit(text) for text in settings.default_ulimits),
        remapped=remapped,
    )


def own_capabilities() -> frozenset[str]:
    """What this process may give to others: its bounding set."""
    for line in read_text("/proc/self/status").splitlines():
        key, _, value = line.partition(":")
        if key == "CapBnd":
            return names(int(value, 16))
    return frozenset()


def names(mask: int) -> frozenset[str]:
    """The capabilities of a kernel bit mask."""
    return frozenset(name for name, number in NUMBERS.items() if mask >> number & 1)
