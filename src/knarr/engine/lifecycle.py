"""Begins, watches and ends lives of containers: start, exit, restart policies, stop, kill, removal.

A state is changed under the container's lock, so that a start finds nothing of the last life; an end is waited for without
it. `starting` and `ending` have the two halves of a life.
"""

import asyncio
import contextlib
import logging
from dataclasses import replace

from knarr.engine import attaching, rows, signals
from knarr.engine.cgroups import end_cgroup
from knarr.engine.chronicle import Recorded
from knarr.engine.ending import Ender
from knarr.engine.errors import (
    AlreadyStarted,
    CannotRemove,
    IsPaused,
    NotRunning,
    NotStarted,
    RemovalInProgress,
)
from knarr.engine.health import Monitor, unwatched
from knarr.engine.live import Live, Roster
from knarr.engine.moves import Move, moved
from knarr.engine.places import Places
from knarr.engine.shims import Exit, Shim, read_exit
from knarr.engine.starting import Starter
from knarr.engine.values import Waited
from knarr.engine.volumemounts import VolumeMounts
from knarr.engine.world import World, now
from knarr.loop.blocking import blocking
from knarr.model.container import Status
from knarr.model.errors import KnarrError, NotFound, Unavailable
from knarr.model.system import Event, Step

log = logging.getLogger(__name__)
_KILL_PATIENCE = 60.0


class Lifecycle:
    """The lives of all containers of one engine."""

    def __init__(
        self,
        world: World,
        roster: Roster,
        ender: Ender,
        health: Monitor,
        places: Places,
        mounts: VolumeMounts,
    ) -> None:
        self._world = world
        self._roster = roster
        self._ender = ender
        self._health = health
        health.on_unhealthy = self.end_unhealthy
        self._starter = Starter(world, roster, places, mounts, Recorded(world))

    async def start(self, live: Live, *, explain: bool = False) -> tuple[Step, ...]:
        """Raises AlreadyStarted, IsPaused, NoSuchCommand, CannotExecute, PortTaken."""
        async with live.lock:
            self._check_present(live)
            if live.status is Status.PAUSED:
                raise IsPaused("cannot start a paused container, try unpause instead")
            if live.status is Status.RUNNING:
                raise AlreadyStarted(f"container {live.name} is already running")
            self._stop_retrying(live)
            live.stopping = False
            return await self._start(live, restart_count=0, explain=explain)

    def _check_present(self, live: Live) -> None:
        if live.removing or live.id not in self._roster:
            raise NotFound(f"No such container: {live.id}")

    async def _start(self, live: Live, *, restart_count: int, explain: bool = False) -> tuple[Step, ...]:
        """The caller holds the lock."""
        live.row = replace(live.row, state=replace(live.state, restart_count=restart_count))
        self._roster.forget_execs(live)
        await self._cleaned(live)
        if live.leaving is not None:
            await asyncio.wait([live.leaving])
        try:
            shim, steps = await self._starter.start(live, explain=explain)
        except BaseException:
            attaching.drop(live)
            live.finish(live.exit_waiters, Waited(live.state.exit_code))
            if live.spec.auto_remove:
                await asyncio.shield(self._ender.erase(live))
            raise
        self.watch(live, shim)
        for late in live.pending:
            await attaching.hand_over(shim, late, live.spec.tty)
        live.pending.clear()
        return steps

    def watch(self, live: Live, shim: Shim) -> None:
        """From here on its end is noticed."""
        live.shim = shim
        live.ended = asyncio.get_running_loop().create_future()
        shim.on_oom = lambda: self._say(live.event("oom"))
        shim.on_detach = lambda exec_id: self._say(
            live.event("exec_detach", execID=exec_id) if exec_id else live.event("detach")
        )
        shim.exited.add_done_callback(lambda _: self._noticed(live, shim))
        if live.status is Status.RUNNING:
            self._health.begin(live)

    def _noticed(self, live: Live, shim: Shim) -> None:
        if not self._world.closing:
            self._world.tasks.start(self._over(live, shim), f"end {live.name}")

    def _say(self, event: Event) -> None:
        if not self._world.closing:
            self._world.tell(event)

    async def _over(self, live: Live, shim: Shim) -> None:
        try:
            found = shim.exited.result()
        except Unavailable:
            found = await self._lost(live)
        async with live.lock:
            if live.shim is shim and not self._world.closing:
                await self.ended(live, found)

    async def ended(self, live: Live, found: Exit) -> None:
        """A life is over. The caller holds the lock."""
        self._health.end(live)
        delay = await self._ender.ended(live, found)
        if delay is not None:
            self.retry(live, delay)

    async def _lost(self, live: Live) -> Exit:
        """The shim is gone without a word: what it left on disk, or that it was killed. Its cgroup ends with it."""
        left = await blocking(read_exit, self._world.paths.run(live.id))
        await blocking(end_cgroup, live.extra.cgroup, self._world.hierarchy)
        return left or Exit(137, False, now())

    def retry(self, live: Live, delay: int) -> None:
        """Begins the next life after `delay` nanoseconds."""
        if self._world.ending:
            return
        live.retry = self._world.tasks.start(self._retry(live, delay / 1e9), f"restart {live.name}")

    async def _retry(self, live: Live, delay: float) -> None:
        await asyncio.sleep(delay)
        async with live.lock:
            if live.status is not Status.RESTARTING or live.retry is not asyncio.current_task():
                return
            live.retry = None
            try:
                await self._start(live, restart_count=live.state.restart_count + 1)
            except (KnarrError, OSError) as error:
                log.warning("cannot restart %s: %s", live.name, error)

    def _stop_retrying(self, live: Live) -> None:
        if live.retry is not None:
            live.retry.cancel()
            live.retry = None

    async def stop(self, live: Live, signal: str, timeout: int | None) -> None:
        """Raises NotStarted."""
        async with live.lock:
            if live.status is Status.RESTARTING:
                await self._give_up(live)
                return
            if not live.runs:
                raise NotStarted(f"container {live.name} is already stopped")
            live.stopping = True
            ended = live.ended
        assert ended is not None
        number = signals.number(signal or live.spec.stop_signal or "SIGTERM")
        await self._signal(live, number)
        patience = self._stop_timeout(live) if timeout is None else None if timeout < 0 else timeout
        await asyncio.wait([ended], timeout=patience)
        if not ended.done():
            await self._kill(live, ended)
        async with live.lock:
            self._world.tell(live.event("stop"))
        await self._cleaned(live)

    async def end_unhealthy(self, live: Live) -> None:
        """Its policy decides what comes after: to it this is a failure, and nobody's stop."""
        async with live.lock:
            if live.status is not Status.RUNNING or live.stopping or live.ended is None:
                return
            live.unhealthy = True
            ended = live.ended
        log.info("container %s is unhealthy: it is ended for its restart policy", live.name)
        await self._signal(live, signals.number(live.spec.stop_signal or "SIGTERM"))
        await asyncio.wait([ended], timeout=self._stop_timeout(live))
        if not ended.done():
            await self._kill(live, ended)

    def _stop_timeout(self, live: Live) -> int | None:
        """Seconds until a kill; None: never."""
        own = live.spec.stop_timeout
        seconds = self._world.settings.default_stop_timeout if own is None else own
        return None if seconds < 0 else seconds

    async def _give_up(self, live: Live) -> None:
        """Between two lives: there is no next one. The caller holds the lock."""
        self._stop_retrying(live)
        state = replace(live.state, status=moved(live.name, live.status, Move.EXIT), stopped_by_user=True)
        live.row = replace(live.row, state=state)
        await self._world.commit(lambda tx: rows.save_state(tx, live.row), live.event("stop"))
        live.finish(live.exit_waiters, Waited(state.exit_code))

    async def _signal(self, live: Live, number: int) -> None:
        """With its event; a container that ends meanwhile is no error. A frozen one is thawed for its end."""
        with contextlib.suppress(NotRunning, NotFound, Unavailable):
            shim = live.running_shim()
            self._world.tell(live.event("kill", signal=str(number)))
            await shim.signal(number)
            if live.status is Status.PAUSED:
                await self._thaw(live, shim)

    async def _thaw(self, live: Live, shim: Shim) -> None:
        async with live.lock:
            if live.status is Status.PAUSED and live.shim is shim:
                await shim.resume()
                live.row = replace(live.row, state=replace(live.state, status=Status.RUNNING))
                await self._world.commit(lambda tx: rows.save_state(tx, live.row))

    async def end_all(self, timeout: int) -> None:
        """Every container ends with the daemon; those whose policy says so begin again with the next one."""
        self._world.ending = True
        running = [live for live in self._roster if live.runs]
        await asyncio.gather(*(self._end(live, timeout) for live in running), return_exceptions=True)

    async def _end(self, live: Live, timeout: int) -> None:
        ended = live.ended
        await self._signal(live, signals.number(live.spec.stop_signal or "SIGTERM"))
        if ended is None:
            return
        await asyncio.wait([ended], timeout=timeout)
        if not ended.done():
            await self._kill(live, ended)
        async with live.lock:
            await self._cleaned(live)

    async def _kill(self, live: Live, ended: "asyncio.Future[Waited]") -> None:
        await self._signal(live, 9)
        await asyncio.wait([ended], timeout=_KILL_PATIENCE)
        if not ended.done():
            raise Unavailable(f"container {live.id} did not end after it was killed")

    async def kill(self, live: Live, signal: str) -> None:
        """Raises NotRunning, Invalid."""
        number = signals.number(signal or "SIGKILL")
        async with live.lock:
            if live.status is Status.RESTARTING and number in (9, 15):
                await self._give_up(live)
                return
            shim = live.running_shim()
            if number == 9 or number == signals.number(live.spec.stop_signal or "SIGTERM"):
                live.stopping = True
            ended, paused = live.ended, live.status is Status.PAUSED
        try:
            await shim.signal(number)
        except (NotFound, Unavailable):
            raise NotRunning(live.id) from None
        self._world.tell(live.event("kill", signal=str(number)))
        if number == 9:
            if paused:
                with contextlib.suppress(NotFound, Unavailable):
                    await self._thaw(live, shim)
            if ended is not None:
                await asyncio.wait([ended], timeout=_KILL_PATIENCE)

    async def restart(self, live: Live, signal: str, timeout: int | None) -> None:
        """Stops it if it runs; --rm does not remove it in between."""
        live.restarting = True
        try:
            if live.runs or live.status is Status.RESTARTING:
                with contextlib.suppress(NotStarted):
                    await self.stop(live, signal, timeout)
        finally:
            live.restarting = False
        with contextlib.suppress(AlreadyStarted):
            await self.start(live)
        self._world.tell(live.event("restart"))

    async def pause(self, live: Live) -> None:
        """Raises NotRunning, Conflict."""
        async with live.lock:
            shim = live.running_shim()
            if live.status is Status.PAUSED:
                raise IsPaused(f"Container {live.id} is already paused")
            try:
                await shim.pause()
            except NotFound:  # its end is on the way
                raise NotRunning(live.id) from None
            self._health.end(live)
            await self._moved(live, Move.PAUSE, "pause")

    async def unpause(self, live: Live) -> None:
        """Raises Conflict."""
        async with live.lock:
            if live.status is not Status.PAUSED:
                raise NotRunning(live.id) if not live.runs else _NotPaused(live.id)
            await live.running_shim().resume()
            await self._moved(live, Move.UNPAUSE, "unpause")
            self._health.begin(live)

    async def _moved(self, live: Live, move: Move, action: str) -> None:
        health = unwatched(live.state.health) if move is Move.PAUSE else live.state.health
        state = replace(live.state, status=moved(live.name, live.status, move), health=health)
        live.row = replace(live.row, state=state)
        await self._world.commit(lambda tx: rows.save_state(tx, live.row), live.event(action))

    async def remove(self, live: Live, *, force: bool, volumes: bool, called: str = "") -> None:
        """Raises CannotRemove, RemovalInProgress."""
        if live.removing:
            raise RemovalInProgress(live.name)
        if not force:
            _check_removable(live, called or live.name)
        if live.runs or live.status in (Status.RESTARTING, Status.STARTING):
            await self._end_for_removal(live)
        async with live.lock:
            if live.id in self._roster:
                await self._ender.erase(live, volumes=volumes or live.spec.auto_remove)
        await self._cleaned(live)

    async def _cleaned(self, live: Live) -> None:
        """What --rm does behind the scenes is done when a caller who asked for the end has his answer."""
        if live.cleaning is not None:
            await asyncio.wait([live.cleaning])

    async def _end_for_removal(self, live: Live) -> None:
        async with live.lock:
            if live.status is Status.RESTARTING:
                await self._give_up(live)
            if not live.runs:
                return
            live.stopping = True
            ended = live.ended
        if ended is not None:
            await self._kill(live, ended)


def _check_removable(live: Live, called: str) -> None:
    if live.status is Status.PAUSED:
        raise CannotRemove(called, "paused and must be unpaused first")
    if live.status in (Status.RUNNING, Status.RESTARTING, Status.STARTING):
        word = "restarting" if live.status is Status.RESTARTING else "running"
        raise CannotRemove(called, f"{word}: stop the container before removing or force remove")


class _NotPaused(NotRunning):
    def __init__(self, container_id: str) -> None:
        KnarrError.__init__(self, f"Container {container_id} is not paused")
