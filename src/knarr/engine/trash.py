"""Deletes what removed containers and steps of builds left on disk, a little later and for many at once: nobody waits for it.

A tree may be busy for a moment: a shim that is on its way out still holds its mounts.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from knarr.engine import rows
from knarr.engine.world import World
from knarr.loop.blocking import blocking

log = logging.getLogger(__name__)
_PAUSE = 0.2
_PATIENCE = (0.1, 0.5, 2, 5)  # seconds between attempts to delete what is busy


class Trash:
    """What was removed since the last time; `collect` takes the layers of images that only a container held."""

    def __init__(self, world: World, collect: Callable[[], Awaitable[None]]) -> None:
        self._world = world
        self._collect = collect
        self._images: set[str] = set()
        self._filled = False
        self._leaving: list[asyncio.Task[None]] = []
        self._sweep: asyncio.Task[None] | None = None

    def add(self, image: str, leaving: "asyncio.Task[None] | None") -> None:
        """Something of a container of `image` (of none: "") is in the trash; its shim is gone when `leaving` is done."""
        self._filled = True
        if image:
            self._images.add(image)
        if leaving is not None and not leaving.done():
            self._leaving.append(leaving)
        if self._sweep is None or self._sweep.done():
            self._sweep = self._world.chores.start(self._empty(), "empty the trash")

    async def _empty(self) -> None:
        while self._filled:
            if not self._world.closing:
                await asyncio.sleep(_PAUSE)
            self._filled = False
            images, self._images = self._images, set()
            leaving, self._leaving = self._leaving, []
            if leaving:
                await asyncio.wait(leaving)
            if not images or await self._kept(images):
                await self._delete()
            else:
                await self._collect()

    async def _kept(self, images: set[str]) -> bool:
        return await self._world.db.read(lambda tx: all(rows.has_image(tx, each) for each in images))

    async def _delete(self) -> None:
        for delay in _PATIENCE:
            try:
                await blocking(self._world.snapshots.empty_trash)
            except OSError as error:
                log.warning("cannot empty the trash yet: %s", error)
                await asyncio.sleep(delay)
            else:
                return
