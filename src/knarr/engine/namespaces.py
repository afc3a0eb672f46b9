"""Network namespaces ready before anybody asks: making one takes longer than everything else before a launch.

A spare has no name: it is two descriptors of this process, so nothing is left of it when the process is gone. The one that
is taken gets its name by a bind mount, and the next spare is made when the start that took it is over.
"""

import os

from knarr.engine.zygote import Netns, Zygote
from knarr.kernel.mounts import MS_BIND, mount
from knarr.loop.tasks import Tasks

SPARES = 2


class Namespaces:
    """The spares of one engine."""

    def __init__(self, zygote: Zygote, tasks: Tasks, directory: str) -> None:
        self._zygote = zygote
        self._tasks = tasks
        self._directory = directory
        self._ready: list[Netns] = []
        self._making = 0
        self._number = 0

    async def take(self) -> Netns:
        """One without a name; the caller closes its descriptors."""
        return self._ready.pop() if self._ready else await self._make()

    def refill(self) -> None:
        """Makes what is missing, in the background."""
        while len(self._ready) + self._making < SPARES:
            self._making += 1
            self._tasks.start(self._add(), "a spare network namespace")

    async def _add(self) -> None:
        try:
            self._ready.append(await self._make())
        finally:
            self._making -= 1

    async def _make(self) -> Netns:
        self._number += 1
        made = await self._zygote.netns(f"{self._directory}/spare-{os.getpid()}-{self._number}")
        try:
            await self._zygote.remove_netns(made.path)
        except BaseException:
            close(made)
            raise
        return made

    def close(self) -> None:
        """Lets the spares go."""
        for spare in self._ready:
            close(spare)
        self._ready.clear()


def name(fd: int, path: str) -> None:
    """Binds the namespace of a descriptor to a new file. Blocking."""
    os.close(os.open(path, os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o444))
    try:
        mount(f"/proc/self/fd/{fd}", path, None, MS_BIND)
    except OSError:
        os.unlink(path)
        raise


def close(netns: Netns) -> None:
    """Its descriptors."""
    os.close(netns.fd)
    if netns.owner >= 0:
        os.close(netns.owner)
    netns.route.close()
