"""From work that reports to lines that are iterated; bytes are reported at most ten times a second."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from knarr.kernel import malloc
from knarr.loop.blocking import hop
from knarr.model.image import Progress

Report = Callable[[Progress], None]
_INTERVAL = 0.1


async def streamed(work: Callable[[Report], Awaitable[None]]) -> AsyncIterator[Progress]:
    """What `work(report)` reports, as it reports it, then what it raises. Closed early, it cancels the work and waits."""
    queue: asyncio.Queue[Progress | None] = asyncio.Queue()

    async def run() -> None:
        try:
            await work(queue.put_nowait)
        finally:
            queue.put_nowait(None)

    task = asyncio.ensure_future(run())
    try:
        while (line := await queue.get()) is not None:
            yield line
        await task
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
        hop(malloc.trim)  # an archive's buffers are large, and the next one may be long in coming


class Meter:
    """Bytes of one transfer, told as `status` lines of `id`."""

    def __init__(self, report: Report, identity: str, status: str, total: int) -> None:
        self._report = report
        self._id = identity
        self._status = status
        self._total = total
        self._next = 0.0

    def at(self, current: int) -> None:
        """So many bytes are through."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _INTERVAL
            self._report(
                Progress(
                    id=self._id, status=self._status, current=min(current, self._total), total=self._total
                )
            )
