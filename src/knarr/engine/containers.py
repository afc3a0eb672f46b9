"""Containers as the API and embedders use them: each method is one use case.

`name` is an id, a unique id prefix or a name. Unknown: NoSuchContainer. Docker's words are in `engine.errors`.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from dataclasses import replace

from knarr.engine import (
    archive,
    attaching,
    checks,
    links,
    rows,
    top,
    views,
)
from knarr.engine.committing import Commit, commit
from knarr.engine.creating import Creator
from knarr.engine.errors import IsPaused, IsRestarting, NameTaken
from knarr.engine.images.images import Images
from knarr.engine.lifecycle import Lifecycle
from knarr.engine.live import Live, Roster
from knarr.engine.logs import read_log
from knarr.engine.places import Places
from knarr.engine.pruning import prune
from knarr.engine.stats import Sample, follow, look
from knarr.engine.updating import Update, update
from knarr.engine.values import (
    AttachOptions,
    Change,
    Created,
    LogLine,
    LogOptions,
    PathStat,
    PortChange,
    Processes,
    Pruned,
    Waited,
)
from knarr.engine.volumes import Volumes
from knarr.engine.world import World
from knarr.loop.blocking import blocking
from knarr.model.container import ContainerSpec, ContainerView, Resources, RestartPolicy, Status
from knarr.model.errors import Invalid, KnarrError
from knarr.model.image import Image
from knarr.model.system import Step
from knarr.snapshots.changes import changes
from knarr.state.errors import Taken

_CONDITIONS = ("", "not-running", "next-exit", "removed")


class Containers:
    """All containers of one engine."""

    def __init__(
        self,
        world: World,
        roster: Roster,
        creator: Creator,
        lifecycle: Lifecycle,
        images: Images,
        places: Places,
        volumes: Volumes,
    ) -> None:
        self._world = world
        self._roster = roster
        self._creator = creator
        self._lifecycle = lifecycle
        self._images = images
        self._places = places
        self._volumes = volumes

    async def create(self, spec: ContainerSpec, *, name: str | None) -> Created:
        """Raises NoSuchImage, NameTaken, Invalid."""
        return await self._world.whole(self._creator.create(spec, name))

    async def start(self, name: str, *, detach_keys: str = "", explain: bool = False) -> tuple[Step, ...]:
        """Returns the walked steps when `explain`. Raises AlreadyStarted, NoSuchCommand, CannotExecute, PortTaken."""
        return await self._world.whole(self._lifecycle.start(self._roster.find(name), explain=explain))

    async def stop(self, name: str, *, signal: str = "", timeout: int | None = None) -> None:
        """Returns when it has ended; after `timeout` seconds (-1: never) it is killed. Raises NotStarted."""
        await self._world.whole(self._lifecycle.stop(self._roster.find(name), signal, timeout))

    async def kill(self, name: str, signal: str = "SIGKILL") -> None:
        """Raises NotRunning, Invalid for an unknown signal."""
        await self._world.whole(self._lifecycle.kill(self._roster.find(name), signal))

    async def restart(self, name: str, *, signal: str = "", timeout: int | None = None) -> None:
        """Stops it if it runs, and starts it."""
        await self._world.whole(self._lifecycle.restart(self._roster.find(name), signal, timeout))

    async def pause(self, name: str) -> None:
        """Raises NotRunning, Conflict."""
        await self._world.whole(self._lifecycle.pause(self._roster.find(name)))

    async def unpause(self, name: str) -> None:
        """Raises Conflict if it is not paused."""
        await self._world.whole(self._lifecycle.unpause(self._roster.find(name)))

    async def rename(self, name: str, new: str) -> None:
        """Raises NameTaken, Invalid."""
        if not new.removeprefix("/"):
            raise Invalid("Neither old nor new names may be empty")
        live = self._roster.find(name)
        bare = checks.check_name(f"/{new.removeprefix('/')}")
        async with live.lock:
            old = live.name
            if bare == old:
                raise Invalid("Renaming a container with the same name as its current name")
            self._roster.reserve(bare, live.id)
            row = live.renamed(bare)
            try:
                event = Live(row).event("rename", oldName=f"/{old}")
                await self._world.commit(lambda tx: rows.save_spec(tx, row), event)
            except Taken as error:
                self._roster.release(bare)
                raise NameTaken(bare, "?") from error
            except BaseException:
                self._roster.release(bare)
                raise
            live.row = replace(live.row, name=bare)
            self._roster.release(old)
            if live.runs:
                self._places.introduce(live)

    async def remove(
        self, name: str, *, force: bool = False, volumes: bool = False, link: bool = False
    ) -> None:
        """`volumes` takes its anonymous volumes too. Raises CannotRemove, RemovalInProgress."""
        if link:
            await self._unlink(name)
            return
        live = self._roster.find(name)
        await self._world.whole(self._lifecycle.remove(live, force=force, volumes=volumes, called=name))

    async def _unlink(self, name: str) -> None:
        """`name` is "container/alias"."""
        owner, slash, alias = name.removeprefix("/").rpartition("/")
        if not slash:
            self._roster.find(name)
            raise Invalid(f"Conflict, cannot remove the default link name of the container: {name}")
        live = self._roster.find(owner)
        async with live.lock:
            live.row = replace(live.row, spec=links.without(live, alias))
            await self._world.commit(lambda tx: rows.save_spec(tx, live.row))

    async def inspect(self, name: str, *, size: bool = False) -> ContainerView:
        """What it was asked to be and what it is."""
        live = self._roster.find(name)
        seen = replace(
            views.view(self._world, live),
            graph_data=await blocking(views.graph_data, self._world, live),
            spec=replace(live.spec, links=links.shown(live, self._roster)),
        )
        return await self._sized(seen, live) if size else seen

    async def _sized(self, seen: ContainerView, live: Live) -> ContainerView:
        own, whole = await blocking(views.sizes, self._world, live)
        return replace(seen, size_rw=own, size_root_fs=whole)

    async def list(
        self,
        *,
        all: bool = False,
        limit: int = 0,
        size: bool = False,
        filters: Mapping[str, Sequence[str]] | None = None,
    ) -> list[ContainerView]:
        """Newest first; only running ones unless `all`, `limit` or a filter of status says otherwise."""
        wanted = filters or {}
        chosen = views.Selection(wanted, self._roster, await self._ancestors(wanted.get("ancestor", ())))
        everything = all or limit > 0 or chosen.any_status
        found = [
            live
            for live in self._roster
            if (everything or live.runs or live.status is Status.RESTARTING) and chosen(live)
        ]
        found.sort(key=lambda live: live.row.created, reverse=True)
        called = links.names(self._roster)
        seen = [
            replace(view, links=tuple(called[view.id])) if view.id in called else view
            for view in (views.view(self._world, live) for live in found[: limit if limit > 0 else None])
        ]
        if size:
            seen = [await self._sized(each, live) for each, live in zip(seen, found, strict=False)]
        return await views.as_called(self._images.find, seen)

    async def _ancestors(self, names: Sequence[str]) -> frozenset[str]:
        ids = set()
        for name in names:
            with contextlib.suppress(KnarrError):
                ids.add(str((await self._images.get(name)).image.id))
        return frozenset(ids)

    async def wait(self, name: str, condition: str = "not-running") -> Waited:
        """Until the condition ("not-running", "next-exit", "removed") holds."""
        return await (await self.begin_wait(name, condition))

    async def begin_wait(self, name: str, condition: str = "not-running") -> Awaitable[Waited]:
        """Registered when it returns: nothing that happens afterwards is missed."""
        live = self._roster.find(name)
        if condition not in _CONDITIONS:
            raise Invalid(f"invalid condition: {_quote(condition)}")
        future: asyncio.Future[Waited] = asyncio.get_running_loop().create_future()
        idle = not live.runs and live.status not in (Status.RESTARTING, Status.STARTING)
        for waiters in (live.removal_waiters, live.exit_waiters):
            waiters[:] = [waiter for waiter in waiters if not waiter.done()]
        if condition == "removed":
            live.removal_waiters.append(future)
        elif condition != "next-exit" and idle:
            future.set_result(Waited(live.state.exit_code))
        else:
            live.exit_waiters.append(future)
        return future

    async def logs(self, name: str, options: LogOptions) -> AsyncIterator[LogLine]:
        """Awaited, it gives the lines; the caller closes the iterator. Raises Unsupported for driver "none"."""
        return await read_log(self._world, self._roster.find(name), options)

    async def check_attach(self, name: str) -> ContainerView:
        """What attach would refuse, before the answer's head is sent. Raises IsPaused, IsRestarting."""
        live = self._roster.find(name)
        if live.status is Status.PAUSED:
            raise IsPaused(f"container {name} is paused, unpause the container before attach")
        if live.status is Status.RESTARTING:
            raise IsRestarting(live.id)
        return views.view(self._world, live)

    async def attach(self, name: str, sock: socket.socket, options: AttachOptions, tail: bytes = b"") -> None:
        """Takes the client's socket over (its answer head has been sent) and returns; the caller closes its own object.

        A container that was created only is attached to when it starts: nothing of its output is missed.
        """
        await self.check_attach(name)
        live = self._roster.find(name)
        self._world.tell(live.event("attach"))
        if options.logs:
            await attaching.send_logs(self._world, live, sock, options)
        if not options.stream:
            return
        if live.runs and live.shim is not None:
            await attaching.give(live.shim, sock, options, tail, live.spec.tty)
        else:
            attaching.keep(live, sock, options, tail)

    async def resize(self, name: str, width: int, height: int) -> None:
        """Raises NotRunning."""
        live = self._roster.find(name)
        await live.running_shim().resize(width, height)
        self._world.tell(live.event("resize", height=str(height), width=str(width)))

    async def top(self, name: str, ps_args: str = "-ef") -> Processes:
        """Raises NotRunning, IsRestarting."""
        live = self._roster.find(name)
        table = await top.processes(frozenset(await live.running_shim().pids()), ps_args)
        self._world.tell(live.event("top"))
        return table

    async def archive_stat(self, name: str, path: str) -> PathStat:
        """Raises NoSuchPathInContainer."""
        return await archive.stat(self._world, self._volumes.mounts, self._roster.find(name), path, name)

    async def archive_get(self, name: str, path: str) -> tuple[PathStat, AsyncIterator[bytes]]:
        """A tar of `path`, named by its last component. The caller closes the iterator."""
        live = self._roster.find(name)
        found = await archive.get(self._world, self._volumes.mounts, live, path, name)
        self._world.tell(live.event("archive-path"))
        return found

    async def archive_put(
        self,
        name: str,
        path: str,
        body: AsyncIterator[bytes],
        *,
        no_overwrite_dir_non_dir: bool = False,
        copy_uid_gid: bool = False,
    ) -> None:
        """Unpacks a tar (plain, gzip, bzip2, xz or zstd) into directory `path`."""
        live = self._roster.find(name)
        archive.check_writable(live, path)
        await archive.put(
            self._world,
            self._volumes.mounts,
            live,
            path,
            name,
            body,
            no_overwrite_dir_non_dir=no_overwrite_dir_non_dir,
            copy_uid_gid=copy_uid_gid,
        )
        self._world.tell(live.event("extract-to-dir"))

    async def export(self, name: str) -> AsyncIterator[bytes]:
        """A tar of its whole root."""
        live = self._roster.find(name)
        stream = await archive.export(self._world, live)
        self._world.tell(live.event("export"))
        return stream

    async def changes(self, name: str) -> Sequence[Change]:
        """What differs from the image."""
        live = self._roster.find(name)
        found = await blocking(lambda: changes(self._world.snapshots.delta(live.id)))
        return views.own_changes([Change(each.kind, each.path) for each in found])

    async def commit(self, name: str, wish: Commit) -> Image:
        """An image of what it has changed. Raises Invalid, NoSuchImage."""
        return await commit(self._world, self._images, self._lifecycle, self._roster.find(name), wish)

    async def sample(self, name: str) -> Sample:
        """What it uses now."""
        return await look(self._roster.find(name))

    async def samples(self, name: str) -> AsyncIterator[Sample]:
        """Awaited, it gives a sample each second, until the container is removed. The caller closes the iterator."""
        return follow(self._roster.find(name), self._roster)

    async def update(
        self,
        name: str,
        resources: Resources,
        restart: RestartPolicy | None = None,
        on_unhealthy: str | None = None,
        ports: PortChange | None = None,
    ) -> tuple[str, ...]:
        """Fields at their defaults stay as they are; returns warnings."""
        wish = Update(resources, restart, on_unhealthy, ports)
        return await update(self._world, self._places, self._roster.find(name), wish)

    async def prune(self, wanted: Mapping[str, Sequence[str]] | None = None) -> Pruned:
        """Removes every stopped container that the filters (label, label!, until) allow."""
        return await prune(self._world, self._roster, self._lifecycle, wanted or {})

    async def end_all(self, timeout: int) -> None:
        """All that run are stopped, within `timeout` seconds: the daemon ends, and is not to leave them behind."""
        await self._lifecycle.end_all(timeout)

    def count(self) -> Mapping[str, int]:
        """How many run, are paused, are stopped."""
        counts = {"running": 0, "paused": 0, "stopped": 0}
        for live in self._roster:
            word = "paused" if live.status is Status.PAUSED else "running" if live.runs else "stopped"
            counts[word] += 1
        return counts


def _quote(text: str) -> str:
    return f'"{text}"'
