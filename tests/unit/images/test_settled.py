"""What is waited for to its end, though who waits is cancelled, and cancelled again."""

import asyncio

import pytest

from knarr.engine.images.settled import whole


async def test_a_cancelled_caller_waits_and_is_cancelled_then() -> None:
    go, order = asyncio.Event(), list[str]()

    async def work() -> None:
        await go.wait()
        order.append("work")

    async def caller() -> None:
        try:
            await whole(work())
        finally:
            order.append("caller")

    task = asyncio.create_task(caller())
    for _ in range(2):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.sleep(0)
    assert order == []
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert order == ["work", "caller"]


async def test_its_error_is_the_callers() -> None:
    async def work() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await whole(work())
