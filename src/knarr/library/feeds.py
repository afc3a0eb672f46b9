"""Answers that go on, as iterators; things that are made, as awaitables and as contexts that take them away again."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, Self, TypeVar

from knarr.api.client.aio import Answer, Http
from knarr.api.client.refusals import DaemonFailed
from knarr.library.reading import progress
from knarr.library.values import Progress
from knarr.model.errors import NotFound

T = TypeVar("T")
Filters = Mapping[str, str | bool | Sequence[str]] | None
Moment = datetime | float | None


def filters(asked: Filters) -> dict[str, list[str]] | None:
    """Docker's form: every value a list of texts."""
    if not asked:
        return None
    return {key: _texts(value) for key, value in asked.items()}


def _texts(value: str | bool | Sequence[str]) -> list[str]:
    if isinstance(value, bool):
        return [str(value).lower()]
    return [value] if isinstance(value, str) else list(value)


def moment(asked: Moment) -> str | None:
    """Seconds since the epoch."""
    if asked is None:
        return None
    return f"{asked.timestamp() if isinstance(asked, datetime) else asked:.6f}"


class Feed(Generic[T]):
    """Iterate it with `async for`. With `async with` it begins at once, so that nothing after that is missed, and ends with the
    block; without, it begins with the first item and ends when nothing refers to it any more."""

    def __init__(self, begin: Callable[[], Awaitable[Answer]], items: Callable[[Answer], AsyncIterator[T]]):
        self._begin, self._items = begin, items
        self._answer: Answer | None = None
        self._source: AsyncGenerator[T, None] | None = None

    async def _start(self) -> "AsyncGenerator[T, None]":
        if self._source is None:
            self._answer = await self._begin()
            self._source = _closing(self._answer, self._items)
        return self._source

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        return await (await self._start()).__anext__()

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends it; the daemon learns of it."""
        if self._source is not None:
            await self._source.aclose()
        if self._answer is not None:
            await self._answer.close()  # a generator that never began closes nothing


async def _closing(answer: Answer, items: Callable[[Answer], AsyncIterator[T]]) -> AsyncGenerator[T, None]:
    async with answer:
        async for item in items(answer):
            yield item


class Transfer(Generic[T]):
    """A transfer: `async for` gives its progress, `await` what came of it (after the progress, or instead of it)."""

    def __init__(
        self,
        begin: Callable[[], Awaitable[Answer]],
        result: Callable[[], Awaitable[T]],
        note: Callable[[Mapping[str, Any]], None] = lambda line: None,
    ):
        self._begin, self._result, self._note = begin, result, note
        self._done = False

    async def __aiter__(self) -> AsyncGenerator[Progress, None]:
        async with await self._begin() as answer:
            async for line in answer.lines():
                if "error" in line:
                    raise DaemonFailed(str(line["error"]))
                self._note(line)
                yield progress(line)
        self._done = True

    async def _whole(self) -> T:
        if not self._done:
            async for _ in self:
                pass
        return await self._result()

    def __await__(self) -> Generator[Any, None, T]:
        return self._whole().__await__()


class Made(Generic[T]):
    """`await` makes the thing and leaves it; `async with` makes it and takes it away at the block's end."""

    def __init__(self, make: Callable[[], Awaitable[T]], remove: Callable[[T], Awaitable[None]]):
        self._make, self._remove = make, remove
        self._held: list[T] = []

    async def _made(self) -> T:
        return await self._make()

    def __await__(self) -> Generator[Any, None, T]:
        return self._made().__await__()

    async def __aenter__(self) -> T:
        thing = await self._make()
        self._held.append(thing)
        return thing

    async def __aexit__(self, *_: object) -> None:
        with contextlib.suppress(NotFound):
            await self._remove(self._held.pop())


def json_lines(http: Http, path: str, query: Mapping[str, Any]) -> Callable[[], Awaitable[Answer]]:
    """Begins a GET."""
    return lambda: http.request("GET", path, query)
