"""What a build tells: from its beginning, to all who follow, until its end."""

import asyncio
from collections.abc import Sequence

import pytest

from knarr.build.errors import BuildFailed
from knarr.build.progress import Progress
from knarr.build.told import STDOUT, Output, Status, Update, Vertex


async def _all(progress: Progress) -> list[Update]:
    return [update async for bunch in progress.follow() for update in bunch]


async def test_a_late_follower_hears_the_beginning() -> None:
    progress = Progress()
    with progress.begin("one") as step:
        step.write(STDOUT, b"hello")
    early = asyncio.create_task(_all(progress))
    await asyncio.sleep(0)
    with progress.begin("two"):
        pass
    progress.end()
    told: Sequence[Update] = await early
    assert told == await _all(progress)
    assert [update.name for update in told if isinstance(update, Vertex)] == ["one", "one", "two", "two"]
    assert [update.data for update in told if isinstance(update, Output)] == [b"hello"]


async def test_a_step_that_fails_says_why() -> None:
    progress = Progress()
    with pytest.raises(BuildFailed), progress.begin("step"):
        raise BuildFailed("no good")
    progress.end()
    last = (await _all(progress))[-1]
    assert isinstance(last, Vertex)
    assert last.error == "no good"
    assert last.completed >= last.started > 0


async def test_counters_tell_their_last_value() -> None:
    progress = Progress()
    with progress.begin("step") as step, step.task("transferring", total=10) as task:
        for count in range(11):
            task.at(count)
    progress.end()
    counted = [update for update in await _all(progress) if isinstance(update, Status)]
    assert counted[-1].current == 10
    assert counted[-1].completed


async def test_output_without_an_end_is_clipped() -> None:
    progress = Progress()
    with progress.begin("yes") as step:
        for _ in range(40):
            step.write(STDOUT, b"y\n" * (256 << 10))
    progress.end()
    outputs = [update.data for update in await _all(progress) if isinstance(update, Output)]
    assert sum(map(len, outputs)) < (16 << 20) + 100
    assert outputs[-1].endswith(b"\n[output clipped, log limit 16MiB reached]\n")
    assert outputs[-1].count(b"clipped") == sum(data.count(b"clipped") for data in outputs)


async def test_with_a_pace_what_is_told_meanwhile_comes_together_and_the_end_at_once() -> None:
    progress = Progress()
    bunches: list[Sequence[Update]] = []
    first = asyncio.Event()

    async def follow() -> None:
        async for bunch in progress.follow(pace=3600):
            bunches.append(bunch)
            first.set()

    with progress.begin("one"):
        following = asyncio.create_task(follow())
        await first.wait()
    with progress.begin("two"):
        await asyncio.sleep(0)
    progress.end()
    async with asyncio.timeout(60):
        await following
    assert [[update.name for update in bunch if isinstance(update, Vertex)] for bunch in bunches] == [
        ["one"],
        ["one", "two", "two"],
    ]


async def test_what_the_cache_had_is_told_once() -> None:
    progress = Progress()
    progress.served("RUN true", "sha256:1", ["sha256:0"])
    progress.end()
    (told,) = await _all(progress)
    assert isinstance(told, Vertex)
    assert told.cached
    assert told.completed == told.started > 0
