"""A stack of undo steps: what failed half-way is taken back, newest first."""

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")


class Undo:
    """`async with Undo() as undo:` runs the pushed steps in reverse unless `keep()` was called.

    A step that fails does not stop the others; its error is attached to the first one as a note.
    """

    def __init__(self) -> None:
        self._steps: list[tuple[Callable[..., Awaitable[Any]], tuple[Any, ...]]] = []

    def push(self, step: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Registers `step(*args)` to be awaited if the block fails."""
        self._steps.append((step, args))

    async def do(
        self, action: Callable[..., Awaitable[T]], *args: Any, undo: Callable[..., Awaitable[Any]]
    ) -> T:
        """Awaits `action(*args)` and registers `undo(*args[:1])`: the first argument is the thing's key."""
        result = await action(*args)
        self.push(undo, *args[:1])
        return result

    def keep(self) -> None:
        """All went well: forget the steps."""
        self._steps.clear()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        first = error
        while self._steps:
            step, args = self._steps.pop()
            try:
                await step(*args)
            except Exception as failure:
                if first is None:
                    first = failure
                else:
                    first.add_note(f"cannot undo {getattr(step, '__qualname__', step)}: {failure}")
        if first is not None and error is None:
            raise first
