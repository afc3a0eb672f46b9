"""The one door from the event loop to blocking calls: every one of them in the tree goes through `blocking`.

The pool is small and shared. A caller that is cancelled stops waiting; the call itself runs to its end, so what it makes
must be known to somebody else (a row, a lease, an undo step).
"""

import asyncio
import contextvars
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
THREADS = 16

_pool = ThreadPoolExecutor(THREADS, thread_name_prefix="blocking")


async def blocking(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """`function(*args, **kwargs)` on a thread of the pool, with this task's context."""
    context = contextvars.copy_context()
    call = functools.partial(context.run, function, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_pool, call)
