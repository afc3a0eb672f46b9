"""Work under way that several builds want: it is done once."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from knarr.build.tree import Tree
from knarr.model.errors import KnarrError


class Flights:
    """Work under way by its key, so that equal work of several builds is done once; the last who waits cancels it.

    Work is done with the means of the build that began it: that one, cancelled, ends when the work does."""

    def __init__(self) -> None:
        self._running: dict[str, tuple[asyncio.Task[Tree], list[int]]] = {}

    async def do(self, key: str, work: Callable[[], Awaitable[Tree]]) -> Tree:
        """The result of `work`, or of the one that runs already."""
        begins = key not in self._running
        if begins:
            task = asyncio.ensure_future(_awaited(work))
            self._running[key] = (task, [0])
            task.add_done_callback(lambda done: self._forget(key, done))
        task, waiting = self._running[key]
        waiting[0] += 1
        try:
            return await asyncio.shield(task)
        finally:
            waiting[0] -= 1
            if not waiting[0] and not task.done():
                self._forget(key, task)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, KnarrError):
                    await task
            elif begins and not task.done():
                await asyncio.wait([task])

    def _forget(self, key: str, task: asyncio.Task[Tree]) -> None:
        """Nobody joins what is done or being cancelled."""
        if key in self._running and self._running[key][0] is task:
            del self._running[key]


async def _awaited(work: Callable[[], Awaitable[Tree]]) -> Tree:
    return await work()
