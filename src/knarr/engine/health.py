"""Health checks: a probe now and again beside a container that runs, judged, recorded and told.

What is decided is pure and stands first; `Monitor` acts. A container that does not run, or is paused, is not probed and
counts as unhealthy, as with Docker.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from knarr.engine import rows
from knarr.engine.execs import Execs
from knarr.engine.live import Live
from knarr.engine.world import World, now
from knarr.model.container import ContainerSpec, ExecSpec, Health, Healthcheck, Probe
from knarr.model.durations import format_duration
from knarr.model.errors import KnarrError
from knarr.wire.mux import Decoder

_SECOND = 1_000_000_000
_INTERVAL = _TIMEOUT = 30 * _SECOND
_START_INTERVAL = 5 * _SECOND
_RETRIES = 3
_KEPT = 5
_OUTPUT = 4096
_SHELL = ("/bin/sh", "-c")


def effective(check: Healthcheck | None) -> Healthcheck | None:
    """The check with Docker's defaults; None where there is none, or "NONE"."""
    if check is None or not check.test or check.test[0] not in ("CMD", "CMD-SHELL"):
        return None
    return replace(
        check,
        interval=check.interval or _INTERVAL,
        timeout=check.timeout or _TIMEOUT,
        start_interval=check.start_interval or _START_INTERVAL,
        retries=check.retries or _RETRIES,
    )


def first(spec: ContainerSpec) -> Health | None:
    """The health of a container that begins a life."""
    return Health() if effective(spec.healthcheck) else None


def unwatched(health: Health | None) -> Health | None:
    """The health of a container that is no longer probed."""
    return replace(health, status="unhealthy") if health else None


def delay(check: Healthcheck, health: Health, lived: int) -> int:
    """Nanoseconds until the next probe of a container that has lived for `lived`."""
    starting = health.status == "starting" and lived < check.start_period
    return check.start_interval if starting else check.interval


def judged(check: Healthcheck, health: Health, probe: Probe, started: int) -> Health:
    """The health after a probe: failures count once the start period is over, or the container was healthy before."""
    log = (*health.log, probe)[-_KEPT:]
    if probe.exit_code == 0:
        return Health(status="healthy", log=log)
    if health.status == "starting" and probe.start - started < check.start_period:
        return replace(health, log=log)
    streak = health.failing_streak + 1
    status = "unhealthy" if streak >= check.retries else health.status
    return Health(status=status, failing_streak=streak, log=log)


class Monitor:
    """The probing of all containers of one engine."""

    def __init__(self, world: World, execs: Execs) -> None:
        self._world = world
        self._execs = execs
        self.on_unhealthy: Callable[[Live], Coroutine[Any, Any, None]] | None = None
        """What is done about a container that became unhealthy and asks for it."""

    def begin(self, live: Live) -> None:
        """Probes from now on; without a health check nothing happens."""
        check = effective(live.spec.healthcheck)
        if check is not None and live.state.health is not None and live.probing is None:
            live.probing = self._world.tasks.start(self._watch(live, check), f"health of {live.name}")

    def end(self, live: Live) -> None:
        """Probes no more."""
        if live.probing is not None:
            live.probing.cancel()
            live.probing = None

    async def _watch(self, live: Live, check: Healthcheck) -> None:
        while (health := live.state.health) is not None:
            await asyncio.sleep(delay(check, health, now() - live.state.started_at) / _SECOND)
            probe = await self._probe(live, check)
            async with live.lock:
                if live.probing is asyncio.current_task():
                    await self._record(live, check, probe)

    async def _record(self, live: Live, check: Healthcheck, probe: Probe) -> None:
        before = live.state.health
        if before is None:
            return
        after = judged(check, before, probe, live.state.started_at)
        live.row = replace(live.row, state=replace(live.state, health=after))
        events = [live.event(f"health_status: {after.status}")] if after.status != before.status else []
        await self._world.commit(lambda tx: rows.save_state(tx, live.row), *events)
        if (
            events
            and after.status == "unhealthy"
            and live.spec.on_unhealthy == "restart"
            and self.on_unhealthy
        ):
            self._world.tasks.start(self.on_unhealthy(live), f"end unhealthy {live.name}")

    async def _probe(self, live: Live, check: Healthcheck) -> Probe:
        start = now()
        try:
            code, output = await self._run(live, check)
        except (KnarrError, OSError) as error:
            code, output = -1, str(error)
        return Probe(start=start, end=now(), exit_code=code, output=output)

    async def _run(self, live: Live, check: Healthcheck) -> tuple[int, str]:
        """Exit code and output; a probe that takes too long, or is no longer wanted, is killed."""
        command = check.test[1:]
        if check.test[0] == "CMD-SHELL":
            command = (*(live.spec.shell or _SHELL), *command)
        asked = ExecSpec(command=command, attach_stdout=True, attach_stderr=True)
        exec_id = await self._execs.create(live.id, asked)
        mine, theirs = socket.socketpair()
        output = bytearray()
        with mine, contextlib.ExitStack() as stack:
            stack.callback(self._execs.forget, exec_id)
            with theirs:
                await self._execs.start(exec_id, sock=theirs)
            mine.setblocking(False)
            try:
                async with asyncio.timeout(check.timeout / _SECOND):
                    await _read(mine, output)
                    return await self._execs.ended(exec_id), _text(output)
            except TimeoutError:
                await self._execs.kill(exec_id)
                words = f"Health check exceeded timeout ({format_duration(check.timeout)})"
                return -1, f"{words}: {_text(output)}" if output else words
            except asyncio.CancelledError:
                self._world.chores.start(self._execs.kill(exec_id), f"end the health check of {live.name}")
                raise


async def _read(sock: socket.socket, output: bytearray) -> None:
    """Both streams to their end, of which the first bytes are kept."""
    loop, decoder = asyncio.get_running_loop(), Decoder()
    while data := await loop.sock_recv(sock, 1 << 16):
        for frame in decoder.feed(data):
            if len(output) <= _OUTPUT:
                output += frame.data


def _text(output: bytearray) -> str:
    text = output[:_OUTPUT].decode(errors="replace")
    return f"{text}..." if len(output) > _OUTPUT else text
