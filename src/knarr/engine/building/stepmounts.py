"""A RUN's own mounts: directories, files and views of trees on the host, all gone with the step.

What a bind mount shows may be changed by the step, and nobody else sees that: a tree is looked at through a snapshot, a
client's files are copied.
"""

import contextlib
import os
import posixpath
import secrets
import shutil
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, replace
from typing import Protocol

from knarr.build.bench import Given
from knarr.build.context.select import select
from knarr.build.context.store import Files
from knarr.build.errors import BuildFailed
from knarr.build.operations import Copy, Exec, Mount, MountKind
from knarr.build.port import Session
from knarr.build.tree import Tree
from knarr.engine.building.archives import write_archive
from knarr.engine.building.cachemounts import CacheMounts
from knarr.engine.record import Placed
from knarr.engine.world import World
from knarr.engine.zygote_jobs import RootView
from knarr.kernel.files import write_all
from knarr.loop.blocking import blocking
from knarr.snapshots.maketar import TarOptions
from knarr.snapshots.untar import UntarOptions

SHM = "/dev/shm"
_PIECE = 1 << 20


class Trees(Protocol):
    """Trees to be looked at, and changed where nobody sees it."""

    def writable(self, tree: Tree) -> AbstractAsyncContextManager[tuple[str, RootView]]:
        """A snapshot on the tree: its key, and how a job sees it."""
        ...

    async def restored(self, known: str, directory: str) -> bool:
        """Whether a cache elsewhere filled the directory with a cache mount of that id; else it may be anything."""
        ...


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where mounts are made: directories in `aside`, secrets in `vault`, which is in memory where /run is."""

    world: World
    files: Files
    caches: CacheMounts
    aside: str
    vault: str

    def open(self) -> None:
        """Blocking. Makes the directories; what an earlier daemon left goes."""
        for each in (self.aside, self.vault):
            shutil.rmtree(each, ignore_errors=True)
            os.makedirs(each, mode=0o700)
        self.caches.open()


class StepMounts:
    """Those of the step `key`; `stack` takes them away. `lend` gives the session of its client."""

    def __init__(
        self,
        workplace: Workplace,
        key: str,
        trees: Trees,
        inputs: Sequence[Given],
        lend: Callable[[], Awaitable[Session]],
        stack: AsyncExitStack,
    ):
        self._workplace = workplace
        self._key = key
        self._trees = trees
        self._inputs = inputs
        self._lend = lend
        self._stack = stack

    async def place(self, command: Exec) -> list[Placed]:
        """Everything but the root. Raises BuildFailed."""
        wanted = [mount for mount in command.mounts[1:] if mount.dest != SHM]
        placed = [await self._place(_absolute(mount, command.cwd)) for mount in wanted]
        return [each for each in placed if each is not None]

    async def environment(self, command: Exec) -> list[str]:
        """Secrets that the step has as variables; one that the client has not is empty. Raises BuildFailed."""
        told = []
        for each in command.secrets:
            value = await self._secret(each.id, each.optional) or b""
            told.append(f"{each.name}={value.decode(errors='surrogateescape')}")
        return told

    async def _place(self, mount: Mount) -> Placed | None:
        match mount.kind:
            case MountKind.TMPFS:
                options = (f"size={mount.size}",) if mount.size else ()
                return Placed(type="tmpfs", target=mount.dest, options=options)
            case MountKind.CACHE:
                return _bound(mount, await self._cache(mount))
            case MountKind.SECRET:
                path = await self._secret_file(mount)
                mount = replace(mount, readonly=True)
            case MountKind.SSH:
                path = await self._agent(mount)
            case _:
                given = self._given(mount)
                if isinstance(given, Tree) and given.layers and self._workplace.world.remap is None:
                    return await self._view(mount, given)
                path = await self._directory(self._workplace.aside)
                path = await self._fill(path, given, mount.selector)
        return None if path is None else _bound(mount, path)

    def _given(self, mount: Mount) -> Given:
        return Tree() if mount.input < 0 else self._inputs[mount.input]

    async def _view(self, mount: Mount, tree: Tree) -> Placed:
        key, _ = await self._stack.enter_async_context(self._trees.writable(tree))
        return Placed(
            type="image",
            target=mount.dest,
            source=f"{self._workplace.world.paths.container(self._key)}/view-{key}",
            writable=not mount.readonly,
            propagation="rprivate",
            snapshot=key,
            subpath=mount.selector.strip("/"),
        )

    async def _cache(self, mount: Mount) -> str:
        assert mount.cache is not None

        async def fill() -> str:
            assert mount.cache is not None
            path = await self._directory(self._workplace.aside)
            if not await self._trees.restored(mount.cache.id, path):
                path = await self._directory(self._workplace.aside)
                path = await self._fill(path, self._given(mount), mount.selector)
            return path

        held = self._workplace.caches.held(mount.cache.id, mount.cache.sharing, fill)
        return await self._stack.enter_async_context(held)

    async def _secret(self, name: str, optional: bool) -> bytes | None:
        value = await (await self._lend()).secret(name)
        if value is None and not optional:
            raise BuildFailed(f"secret {name}: not found")
        return value

    async def _secret_file(self, mount: Mount) -> str | None:
        assert mount.credential is not None
        value = await self._secret(mount.credential.id, mount.credential.optional)
        if value is None:
            return None
        path = f"{await self._directory(self._workplace.vault)}/secret"
        await blocking(_write, path, value)
        await blocking(_own, path, mount, 0o400)
        return path

    async def _agent(self, mount: Mount) -> str | None:
        assert mount.credential is not None
        session = await self._lend()
        try:
            path = await self._stack.enter_async_context(session.ssh_agent(mount.credential.id))
        except BuildFailed:
            if mount.credential.optional:
                return None
            raise
        await blocking(_own, path, mount, 0o600)
        return path

    async def _directory(self, where: str) -> str:
        """A new one, removed with the step."""
        path = f"{where}/{secrets.token_hex(8)}"
        os.mkdir(path, 0o700)
        self._stack.push_async_callback(blocking, shutil.rmtree, path, True)
        return path

    async def _fill(self, directory: str, given: Given, selector: str) -> str:
        """A copy of what is at `selector`: the directory, or the file in it."""
        await blocking(os.chmod, directory, 0o755)
        if given == Tree():
            return directory
        name = ""
        unpacking = await self._workplace.world.zygote.unpack(directory, UntarOptions())
        try:
            if isinstance(given, Tree):
                await self._pour(given, selector, unpacking.feed)
            else:
                (match,) = select(given, Copy(selector or "/", "/", follow_symlink=True))
                name = "" if match.is_dir else match.name
                await blocking(write_archive, unpacking.feed, self._workplace.files, match)
        finally:
            unpacking.close_feed()
        await unpacking.result()
        return f"{directory}/{name}" if name else directory

    async def _pour(self, tree: Tree, selector: str, feed: int) -> None:
        options = TarOptions(name=".", follow=True)
        async with self._trees.writable(tree) as (_, view):
            job = await self._workplace.world.zygote.archive_get(view, f"/{selector.strip('/')}", options)
            with contextlib.closing(job):
                while data := await blocking(os.read, job.drain, _PIECE):
                    await blocking(write_all, feed, data)
                await job.result()


def _absolute(mount: Mount, directory: str) -> Mount:
    return replace(mount, dest=posixpath.join(directory or "/", mount.dest))


def _bound(mount: Mount, source: str) -> Placed:
    return Placed(
        type="bind",
        target=mount.dest,
        source=source,
        writable=not mount.readonly,
        propagation="rprivate",
    )


def _write(path: str, data: bytes) -> None:
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(data)


def _own(path: str, mount: Mount, mode: int) -> None:
    assert mount.credential is not None
    os.chown(path, mount.credential.uid, mount.credential.gid)
    os.chmod(path, mount.credential.mode or mode)
