"""An event loop in a thread of its own, and feeds of it as plain iterators: what the synchronous front stands on."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Generic, Self, TypeVar

from knarr.library.feeds import Feed

T = TypeVar("T")


class Loop:
    """An event loop in a thread; any thread may call."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="knarr", daemon=True)
        self._thread.start()

    def call(self, work: Awaitable[T]) -> T:
        """Waits for it here; Ctrl-C cancels it."""
        future = asyncio.run_coroutine_threadsafe(_settled(work), self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def iterate(self, items: AsyncIterator[T]) -> Iterator[T]:
        """Item by item, as they are asked for."""
        try:
            while True:
                try:
                    item = self.call(items.__anext__())
                except StopAsyncIteration:
                    return
                yield item
        finally:
            closing = getattr(items, "aclose", None)
            if closing is not None:
                self.call(closing())

    def close(self) -> None:
        """Ends the thread."""
        with contextlib.suppress(RuntimeError):
            self.call(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _settled(work: Awaitable[T]) -> T:
    return await work


class Lines(Generic[T]):
    """A feed as an iterator; with `with` it begins at once and ends with the block."""

    def __init__(self, loop: Loop, feed: Feed[T]):
        self._loop, self._feed = loop, feed

    def __iter__(self) -> Iterator[T]:
        return self._loop.iterate(self._feed)

    def __enter__(self) -> Self:
        self._loop.call(self._feed.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call(self._feed.aclose())
