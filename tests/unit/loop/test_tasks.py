"""blocking() and Tasks: errors come back, no call is cut short, no task is lost and none fails unseen."""

import asyncio
import threading

import pytest

from knarr.loop.blocking import THREADS, alone, blocking, hop
from knarr.loop.tasks import Tasks

PATIENCE = 30


async def test_a_call_leaves_the_loop() -> None:
    assert await blocking(lambda: threading.current_thread() is threading.main_thread()) is False


async def test_arguments_and_errors_pass() -> None:
    assert await blocking(int, "ff", base=16) == 255
    with pytest.raises(ValueError, match="invalid literal"):
        await blocking(int, "x")


async def test_calls_run_beside_each_other() -> None:
    barrier = threading.Barrier(THREADS)
    await asyncio.gather(*(blocking(barrier.wait, PATIENCE) for _ in range(THREADS)))


async def test_a_hop_happens_unawaited() -> None:
    done = threading.Event()
    hop(done.set)
    assert await blocking(done.wait, PATIENCE)


async def test_what_changes_its_thread_has_one_of_its_own() -> None:
    local = threading.local()

    def once() -> bool:
        seen = hasattr(local, "seen")
        local.seen = True
        return seen

    assert [await alone(once) for _ in range(3)] == [False, False, False]
    with pytest.raises(ValueError, match="invalid literal"):
        await alone(int, "x")


async def test_a_cancelled_caller_does_not_stop_its_call() -> None:
    entered, leave, done = threading.Event(), threading.Event(), threading.Event()

    def call() -> None:
        entered.set()
        leave.wait(PATIENCE)
        done.set()

    task = asyncio.create_task(blocking(call))
    await blocking(entered.wait, PATIENCE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    leave.set()
    assert await blocking(done.wait, PATIENCE)


async def test_a_failure_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    tasks = Tasks("test")

    async def fail() -> None:
        raise RuntimeError("the reason")

    tasks.start(fail(), "the work")
    await tasks.drain()
    assert "the work failed: the reason" in caplog.text
    assert len(tasks) == 0


async def test_closing_cancels_and_awaits() -> None:
    tasks = Tasks("test")
    cleaned = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.set()

    tasks.start(work(), "work")
    await asyncio.sleep(0)
    await tasks.close()
    assert cleaned.is_set()
    assert len(tasks) == 0
    with pytest.raises(RuntimeError, match="test is closing"):
        tasks.start(work(), "more")


async def test_draining_waits_for_what_tasks_start() -> None:
    tasks = Tasks("test")
    done: list[int] = []

    async def work(number: int) -> None:
        await asyncio.sleep(0)
        if number:
            tasks.start(work(number - 1), f"work {number}")
        done.append(number)

    tasks.start(work(3), "work")
    await tasks.drain()
    assert done == [3, 2, 1, 0]
