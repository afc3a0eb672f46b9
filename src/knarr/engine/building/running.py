"""A build's RUN: a life as any container's, with the same isolation, and without a row: it belongs to its build and ends with it.

A daemon that is killed leaves a shim that nobody claims and a snapshot that nobody knows: recovery ends and sweeps both.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import socket
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any, Protocol

from knarr.build.bench import Given
from knarr.build.context.select import select
from knarr.build.context.store import Files
from knarr.build.errors import BuildFailed
from knarr.build.graph import Resources as Limits
from knarr.build.operations import Copy, Exec, Mount, MountKind, Network, Security, Sharing
from knarr.build.port import Sessions
from knarr.build.progress import Step
from knarr.build.tree import Tree
from knarr.engine.building.archives import write_archive
from knarr.engine.creating import discard_disk
from knarr.engine.ending import Ender
from knarr.engine.live import Live, PendingAttach, Roster
from knarr.engine.names import new_id
from knarr.engine.places import Places
from knarr.engine.plan import plan_container
from knarr.engine.record import Extra, Placed, Row
from knarr.engine.shims import Shim
from knarr.engine.starting import Starter
from knarr.engine.values import AttachOptions
from knarr.engine.volumemounts import VolumeMounts
from knarr.engine.world import World, now
from knarr.engine.zygote import RootView
from knarr.kernel.files import write_all
from knarr.loop.blocking import blocking
from knarr.model.container import ContainerSpec, ContainerState, LogConfig, Resources, Status, Ulimit
from knarr.model.errors import CannotExecute, NoSuchCommand
from knarr.model.image import ImageConfig
from knarr.snapshots.maketar import TarOptions
from knarr.snapshots.untar import UntarOptions
from knarr.wire import mux

_PIECE = 64 << 10
_HOSTNAME = "buildkitsandbox"


class Around(Protocol):
    """What a step needs of its build."""

    session: str

    def snapshot(self, tree: Tree) -> AbstractAsyncContextManager[RootView]:
        """The tree to be read."""
        ...

    async def layer(self, key: str, base: Tree, *, mounted: Sequence[str] | None = None) -> Tree:
        """What snapshot `key` has beyond `base`, as one more layer."""
        ...


class _StepStarter(Starter):
    """Begins a life that no row tells of."""

    def _write_starting(self, life: Any) -> "asyncio.Future[Any]":
        live = life.live
        plans = [plan for _, plan in life.endpoints]
        live.row = replace(
            live.row, extra=replace(live.extra, endpoints=tuple(plan.to_dict() for plan in plans))
        )
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        done.set_result([])
        return done

    def _write_running(self, live: Live, shim: Shim, opened: int) -> None:
        state = replace(live.state, status=Status.RUNNING, pid=shim.pid, started_at=opened)
        live.row = replace(live.row, state=state)

    async def _failed(self, live: Live, before: Row, error: BaseException) -> None:
        live.row = before


class Runner:
    """Those of one engine. `root` is where cache mounts live; `aside` is emptied when the engine opens."""

    def __init__(
        self,
        world: World,
        roster: Roster,
        places: Places,
        mounts: VolumeMounts,
        ender: Ender,
        files: Files,
        root: str,
        mounted: "Counter[str]",
    ):
        self._world = world
        self._starter = _StepStarter(world, roster, places, mounts)
        self._ender = ender
        self._files = files
        self._caches = f"{root}/cachemounts"
        self._aside = f"{root}/mounts"
        self._locks: dict[str, asyncio.Lock] = {}
        self._mounted = mounted

    def open(self) -> None:
        """Blocking. Makes the directories, and empties the one for mounts that are a step's own."""
        shutil.rmtree(self._aside, ignore_errors=True)
        for each in (self._caches, self._aside):
            os.makedirs(each, mode=0o700, exist_ok=True)

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
            stack.push_async_callback(blocking, discard_disk, self._world, key, ())
            await blocking(self._prepare, key, base)
            placed, secrets_ = await self._mounts(stack, bench, command, inputs, sessions)
            live = self._live(key, base, command, placed, secrets_, limits)
            code = await self._life(live, step)
            if code:
                raise BuildFailed(
                    f'process "{" ".join(command.args)}" did not complete successfully: exit code: {code}',
                    vertex=step.vertex.digest,
                    exit_code=code,
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
    ) -> Live:
        network = {Network.HOST: "host", Network.NONE: "none"}.get(command.network, "bridge")
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
            resources=_resources(command, limits),
            cgroup_parent=command.cgroup_parent,
            shm_size=next((m.size for m in command.mounts if m.dest == "/dev/shm"), 0),
        )
        planned = plan_container(key, asked, ImageConfig(), self._world.host)
        parent = command.cgroup_parent or self._world.settings.cgroup_parent
        extra = Extra(
            path=planned.path,
            args=planned.args,
            chain=tuple(str(digest) for digest in base.chain),
            mounts=tuple(placed),
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

    async def _life(self, live: Live, step: Step) -> int:
        """The exit code. A cancelled step is killed, and nothing of it is left."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with ours:
            live.pending.append(
                PendingAttach(theirs, AttachOptions(stdout=True, stderr=True, framed=True), b"")
            )
            try:
                shim, _ = await self._starter.start(live)
            except (NoSuchCommand, CannotExecute) as error:
                step.write(2, f"{error}\n".encode())
                return 1  # as BuildKit reports it, whose runtime could not start the command
            finally:
                for pending in live.pending:
                    pending.sock.close()
                live.pending.clear()
            try:
                await _relay(ours, step)
                return (await asyncio.shield(shim.exited)).code
            finally:
                await asyncio.shield(self._end(live, shim))

    async def _end(self, live: Live, shim: Shim) -> None:
        if not shim.exited.done():
            await shim.signal_all(9)
            await asyncio.wait([shim.exited])
        await self._ender.clean(live, shim, live.extra.endpoints)
        if live.leaving is not None:
            await asyncio.wait([live.leaving])

    async def _mounts(
        self,
        stack: contextlib.AsyncExitStack,
        bench: Around,
        command: Exec,
        inputs: Sequence[Given],
        sessions: Sessions,
    ) -> tuple[list[Placed], list[str]]:
        """The step's own mounts as directories and files of the host, and what it is told in its environment."""
        placed = []
        for mount in command.mounts[1:]:
            if mount.dest == "/dev/shm":
                continue
            found = await self._mount(stack, bench, mount, inputs, sessions)
            if found is not None:
                placed.append(found)
        told = []
        for each in command.secrets:
            value = await self._secret(each.id, sessions, bench.session)
            if value is None and not each.optional:
                raise BuildFailed(f"secret {each.id}: not found")
            if value is not None:
                told.append(f"{each.name}={value.decode(errors='surrogateescape')}")
        return placed, told

    async def _mount(
        self,
        stack: contextlib.AsyncExitStack,
        bench: Around,
        mount: Mount,
        inputs: Sequence[Given],
        sessions: Sessions,
    ) -> Placed | None:
        match mount.kind:
            case MountKind.TMPFS:
                options = (f"size={mount.size}",) if mount.size else ()
                return Placed(type="tmpfs", target=mount.dest, options=options)
            case MountKind.CACHE:
                source = await self._cache(stack, bench, mount, inputs)
            case MountKind.SECRET:
                found = await self._secret_file(stack, bench, mount, sessions)
                if found is None:
                    return None
                source = found
            case MountKind.SSH:
                assert mount.credential is not None
                session = await sessions.get(bench.session)
                try:
                    path = await stack.enter_async_context(session.ssh_agent(mount.credential.id))
                except BuildFailed:
                    if mount.credential.optional:
                        return None
                    raise
                await blocking(_own, path, mount)
                source = path
            case _:
                given = Tree() if mount.input < 0 else inputs[mount.input]
                directory = await self._directory(stack)
                await self._fill(bench, directory, given, mount.selector)
                source = directory
        return Placed(
            type="bind",
            target=mount.dest,
            source=source,
            writable=not mount.readonly,
            propagation="rprivate",
        )

    async def _cache(
        self, stack: contextlib.AsyncExitStack, bench: Around, mount: Mount, inputs: Sequence[Given]
    ) -> str:
        """A directory that outlives the build; it begins with what its source has."""
        assert mount.cache is not None
        name = secrets.token_hex(16) if mount.cache.sharing == Sharing.PRIVATE else _safe(mount.cache.id)
        if mount.cache.sharing == Sharing.LOCKED:
            await stack.enter_async_context(self._locks.setdefault(name, asyncio.Lock()))
        path = f"{self._caches}/{name}"
        self._mounted[name] += 1
        stack.callback(self._mounted.subtract, (name,))
        if not os.path.isdir(path):
            aside = await self._directory(stack)
            given = Tree() if mount.input < 0 else inputs[mount.input]
            if given != Tree():
                await self._fill(bench, aside, given, mount.selector)
            else:
                await blocking(os.chmod, aside, 0o755)
            with contextlib.suppress(OSError):
                os.rename(aside, path)
        await blocking(_touch, path)
        if mount.cache.sharing == Sharing.PRIVATE:
            stack.push_async_callback(blocking, shutil.rmtree, path, True)
        return path

    async def _secret(self, name: str, sessions: Sessions, session: str) -> bytes | None:
        return await (await sessions.get(session)).secret(name)

    async def _secret_file(
        self, stack: contextlib.AsyncExitStack, bench: Around, mount: Mount, sessions: Sessions
    ) -> str | None:
        assert mount.credential is not None
        value = await self._secret(mount.credential.id, sessions, bench.session)
        if value is None:
            if mount.credential.optional:
                return None
            raise BuildFailed(f"secret {mount.credential.id}: not found")
        path = f"{await self._directory(stack)}/secret"
        await blocking(_write, path, value)
        await blocking(_own, path, mount)
        return path

    async def _directory(self, stack: contextlib.AsyncExitStack) -> str:
        """A new one, removed with the step."""
        path = f"{self._aside}/{secrets.token_hex(8)}"
        os.mkdir(path, 0o700)
        stack.push_async_callback(blocking, shutil.rmtree, path, True)
        return path

    async def _fill(self, bench: Around, directory: str, given: Given, selector: str) -> None:
        """What a bind mount shows, copied: the step may change it, and nobody sees that."""
        await blocking(os.chmod, directory, 0o755)
        zygote = self._world.zygote
        if isinstance(given, Tree):
            async with bench.snapshot(given) as view:
                job = await zygote.archive_get(
                    view, f"/{selector.strip('/')}", TarOptions(name=".", follow=True)
                )
                try:
                    unpacking = await zygote.unpack(directory, UntarOptions())
                    try:
                        while data := await blocking(os.read, job.drain, 1 << 20):
                            await blocking(write_all, unpacking.feed, data)
                    finally:
                        unpacking.close_feed()
                    await unpacking.result()
                    await job.result()
                finally:
                    job.close()
            return
        (match,) = select(given, Copy(selector or "/", "/", follow_symlink=True))
        unpacking = await zygote.unpack(directory, UntarOptions())
        try:
            await blocking(write_archive, unpacking.feed, self._files, match)
        finally:
            unpacking.close_feed()
        await unpacking.result()


async def _relay(sock: socket.socket, step: Step) -> None:
    """Frames until the other end closes."""
    loop = asyncio.get_running_loop()
    frames = mux.Decoder()
    while data := await loop.sock_recv(sock, _PIECE):
        for stream, payload in frames.feed(data):
            step.write(stream, payload)


def _write(path: str, data: bytes) -> None:
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(data)


def _touch(path: str) -> None:
    """The time of its last use, for who makes room."""
    os.utime(path, ns=(time.time_ns(), os.stat(path).st_mtime_ns))


def _own(path: str, mount: Mount) -> None:
    assert mount.credential is not None
    os.chown(path, mount.credential.uid, mount.credential.gid)
    os.chmod(path, mount.credential.mode or (0o400 if mount.kind == MountKind.SECRET else 0o600))


def _safe(name: str) -> str:
    return name.encode().hex()[:200] or "00"


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
