"""Calls and tasks that are waited for to their end, whatever happens to who waits."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from knarr.loop.blocking import blocking

T = TypeVar("T")


async def settled(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """`blocking`, but a caller that is cancelled waits until the call has ended: what it uses may be closed then."""
    return await whole(blocking(function, *args, **kwargs))


async def whole(work: Awaitable[T]) -> T:
    """The outcome of `work`, which runs to its end: a caller that is cancelled waits for it, and is cancelled then."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        if not task.cancelled():
            task.exception()
        raise


@contextlib.asynccontextmanager
async def closing(pieces: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """An async generator that is not read to its end is closed here and now, with the connection that it holds."""
    try:
        yield pieces
    finally:
        close = getattr(pieces, "aclose", None)
        if close is not None:
            await close()


async def all_of(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Everything at once; the first failure ends the rest, waits for it, and is raised as it is."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        if tasks:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        failed = next((task for task in tasks if task.done() and task.exception() is not None), None)
        if failed is not None:
            await _end(tasks)
            error = failed.exception()
            assert error is not None
            raise error
        return [task.result() for task in tasks]
    finally:
        await _end(tasks)


async def _end(tasks: Sequence["asyncio.Task[Any]"]) -> None:
    for task in tasks:
        task.cancel()
    await quietly(asyncio.gather(*tasks, return_exceptions=True))


async def quietly(work: Awaitable[Any]) -> None:
    """Waits; what goes wrong is of no interest any more."""
    try:
        await work
    except Exception:
        return
