"""A build's RUN: a life as any container's, with the same isolation, and without a row: it belongs to its build and ends with it.

A daemon that is killed leaves a shim that nobody claims and a snapshot that nobody knows: recovery ends and sweeps both.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from typing import Protocol

from knarr.build.bench import Given
from knarr.build.dockerfile.golike import quote
from knarr.build.errors import BuildFailed
from knarr.build.graph import Resources as Limits
from knarr.build.operations import Exec, Network, Security
from knarr.build.port import Console, Sessions
from knarr.build.progress import Step
from knarr.build.tree import Tree
from knarr.engine.building.cachemounts import CacheMounts
from knarr.engine.building.entering import converse, shell_of
from knarr.engine.building.stepmounts import SHM, StepMounts, Trees, Workplace
from knarr.engine.chronicle import Untold
from knarr.engine.creating import discard_disk
from knarr.engine.ending import Ender
from knarr.engine.images.settled import settled, whole
from knarr.engine.live import Live, PendingAttach, Roster
from knarr.engine.names import new_id
from knarr.engine.places import Places
from knarr.engine.plan import plan_container
from knarr.engine.record import STEP, Extra, Placed, Row
from knarr.engine.shims import Shim
from knarr.engine.starting import Starter
from knarr.engine.values import AttachOptions
from knarr.engine.volumemounts import VolumeMounts
from knarr.engine.world import World, now
from knarr.loop.blocking import blocking
from knarr.model.container import ContainerSpec, ContainerState, LogConfig, Resources, Status, Ulimit
from knarr.model.errors import CannotExecute, Invalid, NoSuchCommand
from knarr.model.image import ImageConfig
from knarr.wire import mux

_PIECE = 64 << 10
_HOSTNAME = "buildkitsandbox"
_WRITES = AttachOptions(stdout=True, stderr=True)
_TALKS = AttachOptions(stdin=True, stdout=True, stderr=True, framed=False)


class Around(Trees, Protocol):
    """What a step needs of its build."""

    session: str

    async def layer(self, key: str, base: Tree, *, mounted: Sequence[str] | None = None) -> Tree:
        """What snapshot `key` has beyond `base`, as one more layer."""
        ...


class Runner:
    """Those of one engine."""

    def __init__(
        self,
        world: World,
        roster: Roster,
        places: Places,
        mounts: VolumeMounts,
        ender: Ender,
        workplace: Workplace,
    ):
        self._tools = (world, roster, places, mounts, ender)
        self._world = world
        self._starter = Starter(world, roster, places, mounts, Untold())
        self._ender = ender
        self._workplace = workplace

    @contextlib.asynccontextmanager
    async def apart(self) -> AsyncIterator["Runner"]:
        """The same, but for cache mounts: they begin empty, and go at the end."""
        path = f"{self._workplace.aside}/{secrets.token_hex(8)}"
        caches = CacheMounts(path)
        await blocking(caches.open)
        try:
            yield Runner(*self._tools, replace(self._workplace, caches=caches))
        finally:
            await blocking(shutil.rmtree, path, True)

    async def run(
        self,
        bench: Around,
        base: Tree,
        command: Exec,
        inputs: Sequence[Given],
        limits: Limits | None,
        step: Step,
        sessions: Sessions,
    ) -> Tree:
        """See build.bench."""
        key = new_id()
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self._ender.discarded)
            stack.push_async_callback(settled, discard_disk, self._world, key, ())
            await settled(self._prepare, key, base)
            mounts = StepMounts(
                self._workplace, key, bench, inputs, partial(sessions.get, bench.session), stack
            )
            placed, told = await mounts.place(command), await mounts.environment(command)
            code = await self._life(self._live(key, base, command, placed, told, limits), command, step)
            if code:
                console = (await sessions.get(bench.session)).console(step.vertex.name)
                if console is not None:
                    live = self._live(key, base, shell_of(command), placed, told, limits, tty=True)
                    await self._enter(live, console)
                raise BuildFailed(
                    _incomplete(command, f"exit code: {code}"), vertex=step.vertex.digest, exit_code=code
                )
            return await bench.layer(key, base, mounted=[mount.target for mount in placed])

    def _prepare(self, key: str, base: Tree) -> None:
        os.mkdir(self._world.paths.container(key), 0o710)
        self._world.snapshots.prepare(key, base.chain, volatile=True)

    def _live(
        self,
        key: str,
        base: Tree,
        command: Exec,
        placed: Sequence[Placed],
        told: Sequence[str],
        limits: Limits | None,
        *,
        tty: bool = False,
    ) -> Live:
        joined = (limits.network if limits else "") or "bridge"
        network = {Network.HOST: "host", Network.NONE: "none"}.get(command.network, joined)
        asked = ContainerSpec(
            image="",
            entrypoint=command.args[:1],
            command=command.args[1:],
            environment=(*_proxies(command), *command.env, *told),
            working_dir=command.cwd,
            user=command.user,
            hostname=command.hostname or _HOSTNAME,
            network_mode=network,
            extra_hosts=tuple(f"{host.name}:{host.address}" for host in command.hosts),
            privileged=command.security == Security.INSECURE,
            log=LogConfig(driver="none"),
            tty=tty,
            open_stdin=tty,
            resources=_resources(command, limits),
            cgroup_parent=command.cgroup_parent,
            shm_size=next((m.size for m in command.mounts if m.dest == SHM), 0),
        )
        planned = plan_container(key, asked, ImageConfig(), self._world.host)
        parent = command.cgroup_parent or self._world.settings.cgroup_parent
        extra = Extra(
            path=planned.path,
            args=planned.args,
            chain=tuple(str(digest) for digest in base.chain),
            mounts=tuple(replace(each, asked_by=STEP) for each in placed),
            cgroup=f"{parent.rstrip('/') or self._world.paths.cgroup}/{key}",
        )
        row = Row(
            id=key,
            name=f"build-{key[:12]}",
            created=now(),
            image="",
            spec=planned.spec,
            state=ContainerState(status=Status.CREATED),
            extra=extra,
        )
        return Live(row)

    async def _life(self, live: Live, command: Exec, step: Step) -> int:
        """The exit code."""
        try:
            return await self._lived(live, _WRITES, lambda sock, _: _relay(sock, step))
        except (NoSuchCommand, CannotExecute) as error:
            step.write(2, f"{error}\n".encode())
            return 1  # as BuildKit reports it, whose runtime could not start the command
        except Invalid as error:
            if not str(error).lower().startswith("unable to find "):
                raise
            raise BuildFailed(_incomplete(command, str(error)), vertex=step.vertex.digest) from error

    async def _enter(self, live: Live, console: AbstractAsyncContextManager[Console]) -> None:
        """A shell in place of a command that failed."""
        async with console as shown:
            try:
                await self._lived(live, _TALKS, partial(converse, shown))
            except (NoSuchCommand, CannotExecute) as error:
                await shown.write(f"the step cannot be entered: {error}\r\n".encode())

    async def _lived(
        self, live: Live, options: AttachOptions, during: Callable[[socket.socket, Shim], Awaitable[None]]
    ) -> int:
        """The exit code. `during` has the process' streams. A cancelled step is killed, and nothing of it is left."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with ours:
            live.pending.append(PendingAttach(theirs, options, b""))
            shim = await self._begun(live)
            try:
                await during(ours, shim)
                return (await asyncio.shield(shim.exited)).code
            finally:
                await whole(self._end(live, shim))

    async def _begun(self, live: Live) -> Shim:
        """A start is not broken off: who is cancelled meanwhile ends what it began."""
        starting = asyncio.ensure_future(self._starter.start(live))
        try:
            shim, _ = await whole(starting)
        except asyncio.CancelledError:
            if not starting.cancelled() and starting.exception() is None:
                await whole(self._end(live, starting.result()[0]))
            raise
        finally:
            for pending in live.pending:
                pending.sock.close()
            live.pending.clear()
        return shim

    async def _end(self, live: Live, shim: Shim) -> None:
        if not shim.exited.done():
            await shim.signal_all(9)
            await asyncio.wait([shim.exited])
        await self._ender.clean(live, shim, live.extra.endpoints)
        if live.leaving is not None:
            await asyncio.wait([live.leaving])


def _incomplete(command: Exec, why: str) -> str:
    return f"process {quote(' '.join(command.args))} did not complete successfully: {why}"


async def _relay(sock: socket.socket, step: Step) -> None:
    """Frames until the other end closes."""
    loop = asyncio.get_running_loop()
    frames = mux.Decoder()
    while data := await loop.sock_recv(sock, _PIECE):
        for stream, payload in frames.feed(data):
            step.write(stream, payload)


def _proxies(command: Exec) -> list[str]:
    if command.proxy is None:
        return []
    proxy = command.proxy
    named = {
        "HTTP_PROXY": proxy.http,
        "HTTPS_PROXY": proxy.https,
        "FTP_PROXY": proxy.ftp,
        "NO_PROXY": proxy.none,
    }
    named["ALL_PROXY"] = proxy.all
    return [f"{key}={value}" for name, value in named.items() if value for key in (name, name.lower())]


def _resources(command: Exec, limits: Limits | None) -> Resources:
    ulimits = tuple(Ulimit(name=each.name, soft=each.soft, hard=each.hard) for each in command.ulimits)
    if limits is None:
        return Resources(ulimits=ulimits)
    return Resources(
        ulimits=ulimits,
        memory=limits.memory,
        memory_swap=limits.memory_swap,
        cpu_shares=limits.cpu_shares,
        cpu_period=limits.cpu_period,
        cpu_quota=limits.cpu_quota,
        cpuset_cpus=limits.cpuset_cpus,
        cpuset_mems=limits.cpuset_mems,
    )
