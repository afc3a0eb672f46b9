"""What a daemon finds when it starts: rows with an intent, shims that lived on, kernel objects that no row claims.

Each row is finished, undone or adopted; then everything of ours that no row names is removed.
"""

import asyncio
import logging
import os
from dataclasses import replace

from knarr.engine import plan, rows
from knarr.engine.cgroups import children, end_cgroup
from knarr.engine.ending import Ender
from knarr.engine.execs import Execs
from knarr.engine.lifecycle import Lifecycle
from knarr.engine.live import Live, Roster
from knarr.engine.moves import Move, moved
from knarr.engine.nets import shares
from knarr.engine.places import Places
from knarr.engine.shims import Exit, Shim, read_exit
from knarr.engine.volumemounts import VolumeMounts
from knarr.engine.world import World, now
from knarr.loop.blocking import blocking
from knarr.model.container import Status
from knarr.model.errors import KnarrError, Unavailable
from knarr.network.plan import EndpointPlan
from knarr.runtime import netns
from knarr.snapshots.tree import discard_tree

log = logging.getLogger(__name__)
_LOST = 255


class Recovery:
    """One start of a daemon."""

    def __init__(
        self,
        world: World,
        roster: Roster,
        lifecycle: Lifecycle,
        ender: Ender,
        execs: Execs,
        places: Places,
        mounts: VolumeMounts,
    ) -> None:
        self._world = world
        self._roster = roster
        self._lifecycle = lifecycle
        self._ender = ender
        self._execs = execs
        self._places = places
        self._mounts = mounts
        self._exits: dict[str, Exit] = {}
        self._unborn: set[str] = set()

    async def recover(self) -> None:
        """Before anything else is served. The roster holds the rows already."""
        shims = await self._shims()
        lives = [
            live for live in self._roster if live.status not in (Status.CREATED, Status.EXITED, Status.DEAD)
        ]
        ended = [live for live in lives if not await self._take_up(live, shims.pop(live.id, None))]
        for shim in shims.values():
            await _give_up(shim)
        await self._adopt_networks()
        await self._mounts.adopt(
            {live.id: live.extra.mounts for live in self._roster if live.shim is not None}
        )
        await self._sweep()
        for live in ended:
            async with live.lock:
                await self._settle(live)

    async def start_containers(self) -> None:
        """Those whose policy says that they start with the daemon."""
        for live in self._roster:
            policy, state = live.spec.restart, live.state
            if live.status is Status.EXITED and plan.should_start_with_daemon(
                policy, state.status, stopped_by_user=state.stopped_by_user
            ):
                self._world.tasks.start(self._start(live), f"start {live.name}")

    async def _start(self, live: Live) -> None:
        try:
            await self._lifecycle.start(live)
        except (KnarrError, OSError) as error:
            log.warning("cannot start %s: %s", live.name, error)

    async def _shims(self) -> dict[str, Shim]:
        """Every shim that listens, by its container."""
        names = await blocking(os.listdir, self._world.paths.runs)
        found = await asyncio.gather(
            *(Shim.connect(self._world.paths.run(name)) for name in names), return_exceptions=True
        )
        for name, shim in zip(names, found, strict=True):
            if isinstance(shim, BaseException) and not isinstance(shim, Unavailable):
                log.error("cannot reach the shim of %s: %s", name, shim, exc_info=shim)
        return {shim.container: shim for shim in found if isinstance(shim, Shim)}

    async def _take_up(self, live: Live, shim: Shim | None) -> bool:
        """True if the container runs and is watched again."""
        if shim is None:
            return False
        if not shim.started or shim.exited.done() or live.status in (Status.REMOVING, Status.RESTARTING):
            if shim.exited.done() and shim.started:
                self._exits[live.id] = shim.exited.result()
            elif not shim.started:
                self._unborn.add(live.id)
            await _give_up(shim)
            return False
        if live.spec.network_mode == "none" or not shares(live.spec):
            live.netns = await blocking(_namespace_of, shim.pid)
        status = Status.PAUSED if shim.paused else Status.RUNNING
        started = live.state.started_at if live.status is not Status.STARTING else now()
        live.row = replace(
            live.row, state=replace(live.state, status=status, pid=shim.pid, started_at=started)
        )
        await self._world.commit(lambda tx: rows.save_state(tx, live.row))
        self._lifecycle.watch(live, shim)
        for handle in list(shim.execs.values()):
            await self._execs.adopt(live, handle)
        return True

    async def _settle(self, live: Live) -> None:
        """It does not run any more: its end is recorded, its removal finished, its next life begun."""
        if live.status is Status.REMOVING:
            await self._ender.clean(live, None, live.extra.endpoints)
            live.row = replace(live.row, state=replace(live.state, status=Status.EXITED))
            await self._ender.erase(live)
        elif live.status is Status.RESTARTING:
            self._lifecycle.retry(live, plan.restart_delay(live.extra.failures))
        elif live.id in self._unborn:
            await self._undo_start(live)
        elif (found := await self._exit(live)) is not None:
            await self._lifecycle.ended(live, found)
        elif live.status is Status.STARTING:
            await self._undo_start(live)
        else:
            await self._lifecycle.ended(live, Exit(_LOST, False, now()))

    async def _undo_start(self, live: Live) -> None:
        await self._ender.clean(live, None, live.extra.endpoints)
        status = moved(live.name, live.status, Move.EXIT if live.state.finished_at else Move.FAIL)
        live.row = replace(
            live.row,
            state=replace(live.state, status=status, pid=0),
            extra=replace(live.extra, endpoints=()),
        )
        await self._world.commit(lambda tx: rows.save_ended(tx, live.row))

    async def _exit(self, live: Live) -> Exit | None:
        """What the shim told or left; a host that lost power left nothing."""
        if live.id in self._exits:
            return self._exits[live.id]
        left = await blocking(read_exit, self._world.paths.run(live.id))
        return left if left is not None and left.at >= live.state.started_at else None

    async def _adopt_networks(self) -> None:
        """Places of living containers are theirs again, with their names and name servers; no others are left."""
        bridge = self._world.bridge
        if bridge is None:
            return
        known = []
        for live in self._roster:
            plans = [EndpointPlan.from_dict(value) for value in live.extra.endpoints if live.shim is not None]
            for planned in plans:
                known.append(planned.endpoint_id)
                await bridge.adopt(planned)
            if plans and live.netns >= 0:
                self._places.introduce(live)
                await self._places.serve_names(live, live.namespace)
        for net in self._world.nets:
            if net.config is not None:
                await bridge.sweep(net.config, known)

    async def _sweep(self) -> None:
        known = {live.id for live in self._roster}
        views = {mount.snapshot for live in self._roster for mount in live.extra.mounts if mount.snapshot}
        running = {live.id for live in self._roster if live.shim is not None}
        await blocking(self._sweep_disk, known, views, running)

    def _sweep_disk(self, known: set[str], views: set[str], running: set[str]) -> None:
        """Blocking. A run directory stays while its container's end is not on record."""
        paths, world = self._world.paths, self._world
        world.snapshots.sweep(known | views)
        world.snapshots.empty_trash()
        for directory in (paths.containers, paths.runs):
            for name in os.listdir(directory):
                if name not in known:
                    discard_tree(f"{directory}/{name}")
        for directory in filter(os.path.isdir, paths.names):
            for name in os.listdir(directory):
                netns.unname(f"{directory}/{name}")
            os.rmdir(directory)
        for name in os.listdir(paths.trash):
            discard_tree(f"{paths.trash}/{name}")
        self._sweep_cgroups(running)

    def _sweep_cgroups(self, running: set[str]) -> None:
        hierarchy, parent = self._world.hierarchy, self._world.paths.cgroup
        for name in children(parent, hierarchy) - running:
            end_cgroup(f"{parent}/{name}", hierarchy)


def _namespace_of(pid: int) -> int:
    """-1 if the process ends just now."""
    try:
        return os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):
        return -1


async def _give_up(shim: Shim) -> None:
    """Nobody claims this container, or it ended."""
    if shim.started and not shim.exited.done():
        await shim.signal_all(9)
        await asyncio.wait([shim.exited], timeout=60)
    await shim.release()
