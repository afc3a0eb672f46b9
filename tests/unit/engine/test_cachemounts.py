"""Who gets which cache mount, and when."""

import asyncio
import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from knarr.build.operations import Sharing
from knarr.engine.building.cachemounts import CacheMounts


class Caches:
    """Those below a directory of the test's own; each begins with the number of its making."""

    def __init__(self, root: Path):
        self.mounts = CacheMounts(str(root / "caches"))
        self.mounts.open()
        self._root = root
        self.made = 0

    async def fill(self) -> str:
        self.made += 1
        path = self._root / f"made-{self.made}"
        path.mkdir()
        (path / "number").write_text(str(self.made))
        return str(path)

    async def take(self, stack: AsyncExitStack, known: str, sharing: Sharing) -> str:
        return await stack.enter_async_context(self.mounts.held(known, sharing, self.fill))


@pytest.fixture
def caches(tmp_path: Path) -> Caches:
    return Caches(tmp_path)


async def _turns(until: Callable[[], bool] = lambda: False) -> None:
    for _ in range(50):
        if until():
            return
        await asyncio.sleep(0)


async def test_shared_is_one(caches: Caches) -> None:
    async with AsyncExitStack() as stack:
        first = await caches.take(stack, "deps", Sharing.SHARED)
        assert await caches.take(stack, "deps", Sharing.SHARED) == first
        assert await caches.take(stack, "others", Sharing.SHARED) != first
    assert caches.made == 2


async def test_it_outlives_its_users(caches: Caches) -> None:
    for sharing in (Sharing.SHARED, Sharing.PRIVATE, Sharing.LOCKED):
        async with caches.mounts.held("deps", sharing, caches.fill) as path:
            assert Path(path, "number").read_text() == "1"


async def test_private_is_ones_own_and_found_again(caches: Caches) -> None:
    async with AsyncExitStack() as stack:
        paths = {await caches.take(stack, "deps", Sharing.PRIVATE) for _ in range(3)}
        assert await caches.take(stack, "deps", Sharing.SHARED) not in paths
    assert len(paths) == 3
    async with AsyncExitStack() as stack:
        assert {await caches.take(stack, "deps", Sharing.PRIVATE) for _ in range(3)} == paths
    assert caches.made == 4


@pytest.mark.parametrize("other", [Sharing.SHARED, Sharing.LOCKED])
async def test_locked_waits_for_all(caches: Caches, other: Sharing) -> None:
    async with AsyncExitStack() as holding, AsyncExitStack() as waiting:
        first = await caches.take(holding, "deps", other)
        second = asyncio.create_task(caches.take(waiting, "deps", Sharing.LOCKED))
        await _turns(second.done)
        assert not second.done()
        await holding.aclose()
        assert await second == first


async def test_a_cancelled_wait_holds_nothing(caches: Caches) -> None:
    async with AsyncExitStack() as holding, AsyncExitStack() as waiting:
        await caches.take(holding, "deps", Sharing.LOCKED)
        second = asyncio.create_task(caches.take(waiting, "deps", Sharing.LOCKED))
        await _turns(second.done)
        second.cancel()
        await asyncio.wait([second])
    async with caches.mounts.held("deps", Sharing.LOCKED, caches.fill):
        pass
    assert caches.made == 1


async def test_what_is_used_is_not_removed(caches: Caches) -> None:
    async with caches.mounts.held("deps", Sharing.SHARED, caches.fill) as path:
        await caches.mounts.remove(os.path.basename(path))
        assert os.path.isdir(path)
    await caches.mounts.remove(os.path.basename(path))
    assert not os.path.exists(path)


async def test_ids_of_any_length_are_told_apart(caches: Caches) -> None:
    names = ["", "a", "a/b", "é", *("x" * 300 + end for end in "ab")]
    async with AsyncExitStack() as stack:
        paths = [await caches.take(stack, name, Sharing.SHARED) for name in names]
        assert len(set(paths)) == len(names)
        known = {name for _, name, in_use in caches.mounts.every() if in_use}
    assert {"a", "a/b", "é"} <= known
