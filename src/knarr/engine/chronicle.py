"""What is told of a start: the row, and the events that begin with it.

`starting` is on record before the kernel is touched; nobody waits for `running`: until it is written the shim itself says that the
container runs, and recovery asks it.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from knarr.engine import health, rows
from knarr.engine.live import Live
from knarr.engine.moves import Move, moved
from knarr.engine.record import Row
from knarr.engine.shims import Shim
from knarr.engine.telling import mount_events, network_events
from knarr.engine.world import World
from knarr.model.container import ContainerState, Status
from knarr.model.errors import CannotExecute, NoSuchCommand
from knarr.model.system import Event
from knarr.network.plan import EndpointPlan

log = logging.getLogger(__name__)
_AGAIN = 1.0


class Chronicle(Protocol):
    """Where a start leaves word of how far it came."""

    def starting(self, live: Live, plans: Sequence[EndpointPlan]) -> "asyncio.Future[list[Event]]":
        """It has its addresses; done when that is on record."""
        ...

    def running(self, live: Live, shim: Shim, opened: int) -> None:
        """Since `opened`, when its gate was: it may have ended again."""
        ...

    async def failed(self, live: Live, before: Row, error: BaseException) -> None:
        """Nothing of the life is left."""
        ...


class Recorded:
    """Of containers: in the database."""

    def __init__(self, world: World) -> None:
        self._world = world

    def starting(self, live: Live, plans: Sequence[EndpointPlan]) -> "asyncio.Future[list[Event]]":
        """See Chronicle."""
        live.row = row = _with_endpoints(live.row, plans)

        def write(tx: sqlite3.Connection) -> None:
            rows.save_state(tx, row)
            for plan in plans:
                where = (plan.address, plan.address6)
                rows.claim_endpoint(tx, live.id, plan.network.id, where, plan.published)

        return self._world.record(write)

    def running(self, live: Live, shim: Shim, opened: int) -> None:
        """See Chronicle."""
        state = ContainerState(
            status=moved(live.name, live.status, Move.STARTED),
            pid=shim.pid,
            started_at=opened,
            finished_at=live.state.finished_at,
            restart_count=live.state.restart_count,
            health=health.first(live.spec),
        )
        live.row = row = replace(live.row, state=state)
        record = self._world.record(
            lambda tx: rows.save_state(tx, row),
            *mount_events(live, "mount"),
            *network_events(self._world, live, "connect"),
            live.event("start"),
        )
        record.add_done_callback(lambda done: self._written(done, live, shim))

    def _written(self, done: "asyncio.Future[list[Event]]", live: Live, shim: Shim) -> None:
        if not done.cancelled() and (error := done.exception()) is not None and not self._world.closing:
            log.error("cannot record the start of %s: %s", live.name, error)
            self._world.tasks.start(self._write_again(live, shim), f"record {live.name}")

    async def _write_again(self, live: Live, shim: Shim) -> None:
        await asyncio.sleep(_AGAIN)
        async with live.lock:
            if live.shim is shim:
                record = self._world.record(lambda tx: rows.save_state(tx, live.row), live.event("start"))
                record.add_done_callback(lambda done: self._written(done, live, shim))

    async def failed(self, live: Live, before: Row, error: BaseException) -> None:
        """The row as it was, with the reason and Docker's exit code."""
        code = 127 if isinstance(error, NoSuchCommand) else 126 if isinstance(error, CannotExecute) else 128
        status = moved(live.name, Status.STARTING, Move.EXIT if before.state.finished_at else Move.FAIL)
        state = replace(before.state, status=status, error=str(error), exit_code=code, pid=0)
        live.row = replace(live.row, state=state, extra=replace(live.extra, endpoints=()))
        await self._world.commit(lambda tx: rows.save_ended(tx, live.row))


class Untold:
    """Of lives without a row: only whoever holds them knows."""

    def starting(self, live: Live, plans: Sequence[EndpointPlan]) -> "asyncio.Future[list[Event]]":
        """See Chronicle."""
        live.row = _with_endpoints(live.row, plans)
        done: asyncio.Future[list[Event]] = asyncio.get_running_loop().create_future()
        done.set_result([])
        return done

    def running(self, live: Live, shim: Shim, opened: int) -> None:
        """See Chronicle."""
        state = replace(live.state, status=Status.RUNNING, pid=shim.pid, started_at=opened)
        live.row = replace(live.row, state=state)

    async def failed(self, live: Live, before: Row, error: BaseException) -> None:
        """As it was."""
        live.row = before


def _with_endpoints(row: Row, plans: Sequence[EndpointPlan]) -> Row:
    """The row of a life that has these places."""
    return replace(row, extra=replace(row.extra, endpoints=tuple(plan.to_dict() for plan in plans)))
