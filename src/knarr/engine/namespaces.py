"""Network namespaces ready before anybody asks, each made by a thread of its own: no process is forked for one.

It is two descriptors of this process, so nothing is left of a spare when the process is gone; a container's is held by its
init too. New spares are made when nobody has asked for a while, so that
they are not made at the expense of the start that took the last.
"""

import asyncio
import os

from knarr.engine.zygote_jobs import Netns
from knarr.loop.blocking import alone
from knarr.loop.tasks import Tasks
from knarr.runtime import netns

SPARES = 2
_PAUSE = 0.1


class Namespaces:
    """The spares of one engine."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._ready: list[Netns] = []
        self._timer: asyncio.TimerHandle | None = None
        self._closed = self._filling = False

    async def take(self) -> Netns:
        """One without a name; the caller closes it."""
        self._refill_later()
        return self._ready.pop() if self._ready else await alone(_make)

    def _refill_later(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(_PAUSE, self.refill)

    def refill(self) -> None:
        """Makes what is missing, in the background."""
        if not self._closed and not self._filling:
            self._filling = True
            self._tasks.start(self._fill(), "spare network namespaces")

    async def _fill(self) -> None:
        try:
            while len(self._ready) < SPARES and not self._closed:
                made = await alone(_make)
                self._ready.append(made)
        finally:
            self._filling = False
        if self._closed:
            self.close()

    def close(self) -> None:
        """Lets the spares go."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        while self._ready:
            self._ready.pop().close()


def _make() -> Netns:
    fd, route = netns.make()
    return Netns(os.fstat(fd).st_ino, fd, route)
