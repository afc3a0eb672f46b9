"""File systems of volumes with options: mounted on the host when the first life needs one, unmounted after the last.
Images that are mounted are on the host only until a life has them.

The kernel's mount table is what is believed: what a daemon finds mounted when it starts is kept if a living container
holds the volume, and unmounted otherwise. Mounting is a job of the zygote: a server that does not answer blocks nobody else.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Protocol

from knarr.engine import localdriver
from knarr.engine.localdriver import CannotMount
from knarr.engine.record import Placed
from knarr.engine.world import World
from knarr.kernel import mounts
from knarr.kernel.files import read_text
from knarr.loop.blocking import blocking


class Options(Protocol):
    """What must be known of volumes."""

    def options(self, name: str) -> Mapping[str, str] | None:
        """Its driver's options; None if it is not there."""


class VolumeMounts:
    """Who uses which mounted volume. A user is a container's id, or words for a task of the daemon."""

    def __init__(self, world: World, volumes: Options) -> None:
        self._world = world
        self._volumes = volumes
        self._users: dict[str, set[str]] = {}
        self._images: dict[str, list[str]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    def wanted(self, placed: Iterable[Placed]) -> list[str]:
        """The volumes among these that are mounted while they are used."""
        return [
            each.name
            for each in placed
            if each.type == "volume" and localdriver.needs_mount(self._volumes.options(each.name))
        ]

    async def take(self, user: str, placed: Sequence[Placed]) -> None:
        """All that `user` needs, or none. Raises CannotMount."""
        images = [each for each in placed if each.snapshot]
        names = self.wanted(placed)
        try:
            for name in names:
                await self._take(user, name)
            for each in images:
                self._images.setdefault(user, []).append(each.source)
                await self._mount_image(each)
        except BaseException:
            await self.drop(user)
            raise

    async def _take(self, user: str, name: str) -> None:
        async with self._lock(name):
            users = self._users.setdefault(name, set())
            if not users:
                await self._mount(name)
            users.add(user)

    async def _mount_image(self, placed: Placed) -> None:
        (mount,) = await blocking(self._world.snapshots.mounts, placed.snapshot)
        await blocking(os.makedirs, placed.source, 0o711, exist_ok=True)
        await self._world.zygote.mount_root(mount, placed.source, writable=placed.writable)

    async def settled(self, user: str) -> None:
        """It has its own clones by now: nobody needs the images' mounts on the host any more."""
        for path in self._images.pop(user, ()):
            await blocking(_take_away, path)

    async def drop(self, user: str) -> None:
        """It needs nothing any more."""
        await self.settled(user)
        for name in [name for name, users in self._users.items() if user in users]:
            async with self._lock(name):
                users = self._users.get(name, set())
                users.discard(user)
                if not users:
                    self._users.pop(name, None)
                    await self._unmount(name)

    @contextlib.asynccontextmanager
    async def held(self, user: str, placed: Sequence[Placed]) -> AsyncIterator[None]:
        """Mounted inside."""
        await self.take(user, placed)
        try:
            yield
        finally:
            await self.drop(user)

    async def adopt(self, running: Mapping[str, Sequence[Placed]]) -> None:
        """At start: by container, the mounts of those that live. Nothing else stays mounted."""
        for path in reversed(await blocking(_mounted_below, self._world.paths.containers)):
            await blocking(_take_away, path)
        found = await blocking(_mounted_below, self._world.paths.volumes)
        for user, placed in running.items():
            for name in self.wanted(placed):
                self._users.setdefault(name, set()).add(user)
        for path in reversed(found):
            if os.path.basename(os.path.dirname(path)) not in self._users:
                await blocking(unmount, path)

    def lent(self, name: str) -> bool:
        """Whether a task of the daemon has it mounted."""
        return any(" " in user for user in self._users.get(name, ()))

    async def free(self, name: str) -> None:
        """No container has it any more, though the last one's drop may be on its way."""
        if name in self._users:
            async with self._lock(name):
                self._users.pop(name, None)
                await self._unmount(name)
        self._locks.pop(name, None)

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())

    async def _mount(self, name: str) -> None:
        path = self._world.paths.volume(name)
        options = self._volumes.options(name) or {}
        where = f"error while mounting volume '{path}'"
        try:
            resolved = await blocking(localdriver.resolve, options, _address)
        except OSError as error:
            raise CannotMount(
                f"{where}: error resolving passed in network volume address: {_said(error)}"
            ) from None
        try:
            made = localdriver.calls(resolved)
        except CannotMount as error:
            raise CannotMount(f"{where}: {error}") from None
        for call in made:
            try:
                await self._world.zygote.mount(call.source, path, call.kind, call.flags, call.data)
            except OSError as error:
                if call is not made[0]:
                    await blocking(unmount, path)
                reason = localdriver.without_password(
                    call.told(path, os.strerror(error.errno or 0).lower()), options
                )
                raise CannotMount(f"{where}: failed to mount local volume: mount {reason}") from None

    async def _unmount(self, name: str) -> None:
        await blocking(unmount, self._world.paths.volume(name))


def _address(name: str) -> str:
    return str(socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)[0][4][0])


def _said(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _take_away(path: str) -> None:
    unmount(path)
    os.rmdir(path)


def unmount(path: str) -> None:
    """Nothing mounted is no error. What is busy goes out of sight at once, and away when it is free."""
    try:
        mounts.umount2(path, mounts.MNT_DETACH | mounts.UMOUNT_NOFOLLOW)
    except OSError as error:
        if not mounts.is_mount_error(error):
            raise


def _mounted_below(directory: str) -> list[str]:
    """The volumes that are mounted, in the order of their mounting (proc_pid_mountinfo(5))."""
    lines = read_text("/proc/self/mountinfo", 16 << 20).splitlines()
    points = [line.split()[4].encode().decode("unicode_escape") for line in lines]
    return [point for point in points if point.startswith(f"{directory}/")]
