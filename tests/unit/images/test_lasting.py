"""Layers reach the disk soon, and nobody waits for it."""

import asyncio
import threading
from pathlib import Path

import pytest

from knarr.engine.images import lasting
from knarr.kernel.files import syncfs


@pytest.mark.asyncio
async def test_wishes_during_one_are_served_by_one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go = threading.Semaphore(0), threading.Semaphore(0)
    paths: list[str] = []

    def sync(path: str) -> None:
        paths.append(path)
        begun.release()
        go.acquire()

    monkeypatch.setattr(lasting, "syncfs", sync)
    made = lasting.Lasting()
    for _ in range(3):
        made.wish("/a")
    assert await asyncio.to_thread(begun.acquire, timeout=60)
    for _ in range(2):
        made.wish("/a")
    go.release()
    assert await asyncio.to_thread(begun.acquire, timeout=60)
    go.release()
    while made._running:  # noqa: ASYNC110 - the twin of a thread has no event
        await asyncio.sleep(0.01)
    assert paths == ["/a", "/a"]
    made.wish("/a")
    assert await asyncio.to_thread(begun.acquire, timeout=60)
    go.release()


@pytest.mark.asyncio
async def test_a_failure_is_logged_and_the_next_wish_is_served(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    served = threading.Semaphore(0)

    def sync(path: str) -> None:
        served.release()
        raise OSError(5, "no disk", path)

    monkeypatch.setattr(lasting, "syncfs", sync)
    made = lasting.Lasting()
    for _ in range(2):
        made.wish("/a")
        assert await asyncio.to_thread(served.acquire, timeout=60)
        while made._running:  # noqa: ASYNC110 - the twin of a thread has no event
            await asyncio.sleep(0.01)
    assert "cannot synchronise /a" in caplog.text


def test_the_call_itself(tmp_path: Path) -> None:
    syncfs(str(tmp_path))
    with pytest.raises(FileNotFoundError):
        syncfs(str(tmp_path / "missing"))
