"""Ends of lives and of containers: those who wait are told, the exit is recorded, the kernel's objects are taken away.

The records are written under the container's lock; the shim keeps the exit until it is on record. A removed container's row
goes first, with the rows of its anonymous volumes: what is left on disk and in the kernel belongs to nobody then, and
recovery would sweep it.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from knarr.engine import attaching, plan, rows
from knarr.engine.creating import discard_disk
from knarr.engine.health import unwatched
from knarr.engine.live import Live, Roster
from knarr.engine.moves import Move, moved
from knarr.engine.places import Places
from knarr.engine.record import Row
from knarr.engine.shims import Exit, Shim
from knarr.engine.telling import mount_events, network_events
from knarr.engine.trash import Trash
from knarr.engine.values import Waited
from knarr.engine.volumes import Volumes, event
from knarr.engine.world import World
from knarr.loop.blocking import blocking
from knarr.model.container import ContainerState
from knarr.model.errors import KnarrError
from knarr.model.system import Event
from knarr.network.plan import EndpointPlan
from knarr.state.errors import StateFull, Taken

log = logging.getLogger(__name__)
_AGAIN = 1.0
T = TypeVar("T")
Endpoints = tuple[Mapping[str, Any], ...]


class Ender:
    """Ends lives."""

    def __init__(self, world: World, roster: Roster, volumes: Volumes, places: Places, trash: Trash) -> None:
        self._world = world
        self._roster = roster
        self._volumes = volumes
        self._places = places
        self._trash = trash

    def discarded(self) -> None:
        """The disk of something that had no row is in the trash: it is deleted a little later."""
        self._trash.add("", None)

    async def ended(self, live: Live, found: Exit) -> int | None:
        """A life is over; how long to wait before the next one in nanoseconds, None if there is none."""
        state, policy = live.state, live.spec.restart
        stopped = live.stopping
        code = found.code or int(live.unhealthy)
        again = plan.should_restart(policy, code, state.restart_count, stopped_by_user=stopped)
        live.unhealthy = False
        move = Move.RETRY if again and live.runs else Move.EXIT
        failures = plan.next_failures(live.extra.failures, found.at - state.started_at) if again else 0
        endpoints = live.extra.endpoints
        after = replace(
            live.row,
            state=replace(
                state,
                status=moved(live.name, live.status, move),
                pid=0,
                exit_code=found.code,
                oom_killed=found.oom,
                finished_at=found.at,
                stopped_by_user=stopped,
                error="",
                health=unwatched(state.health),
            ),
            extra=replace(live.extra, endpoints=(), failures=failures),
        )
        events = [
            *network_events(self._world, live, "disconnect"),
            *mount_events(live, "unmount"),
            live.event("die", exitCode=str(found.code), execDuration=_seconds(state, found)),
        ]
        if live.spec.auto_remove and not again and not live.restarting:
            await self._end_and_erase(live, after, endpoints, events)
            return None
        live.row = after
        shim, live.shim = live.shim, None
        result = Waited(found.code)
        if live.ended is not None and not live.ended.done():
            live.ended.set_result(result)
        live.finish(live.exit_waiters, result)
        await self._insist(live, lambda: self._world.commit(lambda tx: rows.save_ended(tx, after), *events))
        live.cleaning = self._world.chores.start(self.clean(live, shim, endpoints), f"clean up {live.name}")
        return plan.restart_delay(max(failures - 1, 0)) if again else None

    async def _insist(self, live: Live, work: Callable[[], Awaitable[T]]) -> T:
        """An end is recorded whatever it takes, even on a full disk."""
        while True:
            try:
                return await work()
            except (sqlite3.OperationalError, StateFull) as error:
                log.error("cannot record the end of %s: %s", live.name, error)
                await asyncio.sleep(_AGAIN)

    async def _end_and_erase(self, live: Live, after: Row, endpoints: Endpoints, events: list[Event]) -> None:
        """--rm: the end and the removal are one transaction; then those who wait are told, then the kernel is cleaned."""
        shim = live.shim
        gone = await self._insist(live, lambda: self._delete(live, events, volumes=True))
        live.row = after
        live.shim = None
        result = Waited(after.state.exit_code)
        ports = any(_published(each) for each in endpoints)
        if ports:
            await self.clean(live, shim, endpoints)
        if live.ended is not None and not live.ended.done():
            live.ended.set_result(result)
        live.finish(live.exit_waiters, result)
        live.finish(live.removal_waiters, result)
        rest = self._discard(live, gone) if ports else self._clean_up(live, shim, endpoints, gone)
        live.cleaning = self._world.chores.start(rest, f"clean up {live.name}")

    async def _clean_up(
        self, live: Live, shim: Shim | None, endpoints: Endpoints, volumes: list[str]
    ) -> None:
        await self.clean(live, shim, endpoints)
        await self._discard(live, volumes)

    async def clean(self, live: Live, shim: Shim | None, endpoints: Endpoints) -> None:
        """Takes the kernel's objects of a life away; failures are logged, recovery sweeps again."""
        self._places.silence(live)
        if shim is not None:
            live.leaving = self._world.chores.start(shim.release(), f"release {live.name}")
        try:
            for each in endpoints:
                await self._places.leave(EndpointPlan.from_dict(each), live.netns)
            await self._volumes.mounts.drop(live.id)
        except (OSError, KnarrError) as error:
            log.error("cannot clean up after %s: %s", live.name, error, exc_info=error)
        finally:
            live.release_netns()

    async def erase(self, live: Live, *, volumes: bool = True) -> None:
        """A container that does not run is removed."""
        if live.removing:
            return
        gone = await self._delete(live, [], volumes=volumes)
        attaching.drop(live)
        live.finish(live.exit_waiters, Waited(live.state.exit_code))
        live.finish(live.removal_waiters, Waited(live.state.exit_code))
        await self._discard(live, gone)

    async def _delete(self, live: Live, events: list[Event], *, volumes: bool) -> list[str]:
        """The transaction; which anonymous volumes went with the container."""
        live.removing = True
        mine = [mount.name for mount in live.extra.mounts if mount.anonymous] if volumes else []
        gone = [name for name in mine if self._volumes.users(name) <= {live.id}]

        def write(tx: sqlite3.Connection) -> None:
            rows.delete_container(tx, live.id)
            rows.delete_volumes(tx, gone)

        try:
            await self._world.commit(
                write, *events, live.event("destroy"), *(event("destroy", name, "local") for name in gone)
            )
        except BaseException as error:
            live.removing = False
            if gone and isinstance(error, Taken):  # somebody took a volume over meanwhile: it stays
                return await self._delete(live, events, volumes=False)
            raise
        self._roster.discard(live)
        self._roster.forget_execs(live)
        self._volumes.unuse(live.id, [mount.name for mount in live.extra.mounts if mount.name])
        self._volumes.forget(gone)
        return gone

    async def _discard(self, live: Live, volumes: list[str]) -> None:
        await blocking(discard_disk, self._world, live.id, live.extra.mounts)
        if volumes:
            await self._volumes.trash(volumes)
        self._trash.add(live.row.image, live.leaving)


def _seconds(state: ContainerState, found: Exit) -> str:
    return str(max(found.at - state.started_at, 0) // 1_000_000_000)


def _published(endpoint: Mapping[str, Any]) -> bool:
    return bool(endpoint["published"])
