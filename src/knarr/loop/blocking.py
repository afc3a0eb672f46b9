"""The one door from the event loop to blocking calls: all of them in the tree go through `blocking`, `hop` or `alone`.

The pool is small and shared. A caller that is cancelled stops waiting; the call itself runs to its end, so what it makes
must be known to somebody else (a row, a lease, an undo step).
"""

import _thread
import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
THREADS = 16

_Job = tuple["asyncio.Future[Any]", Callable[..., Any], tuple[Any, ...], dict[str, Any]]
_jobs: "queue.SimpleQueue[_Job]" = queue.SimpleQueue()
_idle = threading.Semaphore(0)
_threads: list[threading.Thread] = []


def hop(function: Callable[..., T], *args: Any, **kwargs: Any) -> "asyncio.Future[T]":
    """Begins `function(*args, **kwargs)` on a thread of the pool; nothing need be awaited for it to happen."""
    future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    _jobs.put((future, function, args, kwargs))
    if not _idle.acquire(blocking=False) and len(_threads) < THREADS:
        thread = threading.Thread(target=_serve, name=f"blocking {len(_threads)}", daemon=True)
        _threads.append(thread)
        thread.start()
    return future


def alone(function: Callable[..., T], *args: Any) -> "asyncio.Future[T]":
    """As `hop`, on a thread that nothing else runs on afterwards: for what changes its thread."""
    future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    _thread.start_new_thread(_run, (future, function, args, {}))
    return future


async def blocking(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """`function(*args, **kwargs)` on a thread of the pool."""
    return await hop(function, *args, **kwargs)


def _serve() -> None:
    while True:
        _run(*_jobs.get())
        _idle.release()


def _run(
    future: "asyncio.Future[Any]",
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    settle: Callable[..., None]
    try:
        found, settle = function(*args, **kwargs), _succeed
    except BaseException as error:
        found, settle = error, _fail
    try:
        future.get_loop().call_soon_threadsafe(settle, future, found)
    except RuntimeError:
        return  # the loop ended meanwhile; nobody waits


def _succeed(future: "asyncio.Future[Any]", found: Any) -> None:
    if not future.done():
        future.set_result(found)


def _fail(future: "asyncio.Future[Any]", error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
