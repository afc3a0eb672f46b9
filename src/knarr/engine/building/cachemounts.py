"""Cache mounts: directories that outlive the builds that write to them, each known by its id.

Steps that share one use it at the same time. `locked` waits until nobody has it; `private` takes another of the same id where
somebody has it, and a later build finds that one as well. What holds one alone is joined by nobody.
"""

import asyncio
import contextlib
import hashlib
import os
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

from knarr.build.operations import Sharing
from knarr.loop.blocking import blocking

_LONGEST = 200


class CacheMounts:
    """Those of one engine, below `root`."""

    def __init__(self, root: str):
        self._root = root
        self._users: Counter[str] = Counter()
        self._alone: set[str] = set()
        self._changed = asyncio.Condition()
        self._making = asyncio.Lock()

    def open(self) -> None:
        """Blocking. Makes the directory that they lie in."""
        os.makedirs(self._root, mode=0o700, exist_ok=True)

    @contextlib.asynccontextmanager
    async def held(
        self, known: str, sharing: Sharing, fill: Callable[[], Awaitable[str]]
    ) -> AsyncIterator[str]:
        """The path of the one with the id `known`; `fill` makes a directory that a new one begins as."""
        name = await self._take(_directory(known), sharing)
        try:
            path = f"{self._root}/{name}"
            async with self._making:
                if not await blocking(os.path.isdir, path):
                    await blocking(os.rename, await fill(), path)
            await blocking(_touch, path)
            yield path
        finally:
            await self._leave(name)

    @contextlib.asynccontextmanager
    async def looked_at(self, known: str) -> AsyncIterator[str | None]:
        """The path of the one with the id `known`, to be read, when nobody has it alone; None if there is none."""
        name = _directory(known)
        async with self._changed:
            await self._changed.wait_for(lambda: name not in self._alone)
            self._users[name] += 1
        try:
            path = f"{self._root}/{name}"
            yield path if await blocking(os.path.isdir, path) else None
        finally:
            await self._leave(name, alone=False)

    async def _take(self, name: str, sharing: Sharing) -> str:
        async with self._changed:
            if sharing == Sharing.LOCKED:
                await self._changed.wait_for(lambda: not self._users[name])
            elif sharing == Sharing.PRIVATE:
                name = next(each for each in _series(name) if not self._users[each])
            else:
                name = next(each for each in _series(name) if each not in self._alone)
            if sharing != Sharing.SHARED:
                self._alone.add(name)
            self._users[name] += 1
        return name

    async def _leave(self, name: str, *, alone: bool = True) -> None:
        async with self._changed:
            if alone:
                self._alone.discard(name)
            self._users[name] -= 1
            if not self._users[name]:
                del self._users[name]
            self._changed.notify_all()

    async def remove(self, name: str) -> None:
        """Takes the directory `name` away, unless somebody has it by now."""
        async with self._making:
            if not self._users[name]:
                await blocking(shutil.rmtree, f"{self._root}/{name}", True)

    def every(self) -> Iterator[tuple[os.DirEntry[str], str, bool]]:
        """Blocking. Each one's directory, its id, and whether it is in use."""
        with contextlib.suppress(FileNotFoundError):
            for each in os.scandir(self._root):
                yield each, _known(each.name), bool(self._users[each.name])


def _directory(known: str) -> str:
    """An id as a name of a directory."""
    name = known.encode().hex() or "00"
    return name if len(name) <= _LONGEST else f"long-{hashlib.sha256(known.encode()).hexdigest()}"


def _known(name: str) -> str:
    try:
        return bytes.fromhex(name.partition("-")[0]).decode()
    except ValueError:
        return name


def _series(name: str) -> Iterator[str]:
    yield name
    number = 1
    while True:
        yield f"{name}-{number}"
        number += 1


def _touch(path: str) -> None:
    """The time of its last use, for who makes room."""
    os.utime(path, ns=(time.time_ns(), os.stat(path).st_mtime_ns))
