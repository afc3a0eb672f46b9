"""Coroutines of one thread that take turns: poll(2) and nothing else, for asyncio takes 50 ms to start, as long as a warm build.

A coroutine runs until it parks; whoever makes true what it waits for wakes it, and it looks again. It is not cancelled: what it
waits for fails, and in the end it is closed.
"""

import os
import select
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

READABLE = select.POLLIN
WRITABLE = select.POLLOUT


class _Park(Awaitable[None]):
    """Gives the turn to the others."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class Task:
    """A coroutine under way. Once `done`, `result` gives what it returned, or raises what it raised."""

    def __init__(self, turns: "Turns", work: Coroutine[Any, Any, Any]):
        self._turns = turns
        self._work = work
        self._value: Any = None
        self._error: BaseException | None = None
        self._ready = False
        self.done = False

    def wake(self) -> None:
        """Its next turn comes."""
        if not self._ready and not self.done:
            self._ready = True
            self._turns.ready.append(self)

    def step(self) -> None:
        """One turn."""
        self._ready = False
        try:
            self._work.send(None)
        except StopIteration as stop:
            self._value, self.done = stop.value, True
        except Exception as error:
            self._error, self.done = error, True

    def result(self) -> Any:
        """Raises what the coroutine raised."""
        if self._error is not None:
            raise self._error
        return self._value

    def close(self) -> None:
        """Its `finally` blocks run, and may not wait."""
        if not self.done:
            self.done = True
            self._work.close()


class Turns:
    """Of one thread. `settle` functions are called before it waits: they write what was said."""

    def __init__(self) -> None:
        self.ready: deque[Task] = deque()
        self.settle: list[Callable[[], None]] = []
        self._tasks: list[Task] = []
        self._poll = select.poll()
        self._heard: dict[int, Callable[[int], None]] = {}
        self._current: Task | None = None

    def start(self, work: Coroutine[Any, Any, Any]) -> Task:
        """A coroutine that runs beside the others."""
        task = Task(self, work)
        self._tasks = [each for each in self._tasks if not each.done]
        self._tasks.append(task)
        task.wake()
        return task

    def watch(self, descriptor: int, events: int, heard: Callable[[int], None]) -> None:
        """`heard` is told of what happens there, until `unwatch`; watching once more changes the events."""
        self._heard[descriptor] = heard
        self._poll.register(descriptor, events)

    def unwatch(self, descriptor: int) -> None:
        """No more; no error if it was not watched."""
        if self._heard.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    async def park(self, among: "set[Task]") -> None:
        """Until somebody wakes it, who finds it among those."""
        task = self._current
        assert task is not None
        among.add(task)
        try:
            await _Park()
        finally:
            among.discard(task)

    async def pause(self) -> None:
        """The others and the descriptors have a turn."""
        assert self._current is not None
        self._current.wake()
        await _Park()

    def run(self, until: Callable[[], bool], patience: float | None = None) -> bool:
        """Runs until that is so; False if it was not for so many seconds."""
        deadline = None if patience is None else time.monotonic() + patience
        while True:
            for _ in range(len(self.ready)):
                self._current = self.ready.popleft()
                self._current.step()
            self._current = None
            for each in self.settle:
                each()
            if until():
                return True
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return False
            self._wait(0 if self.ready else left)

    def _wait(self, left: float | None) -> None:
        for descriptor, events in self._poll.poll(None if left is None else left * 1000):
            heard = self._heard.get(descriptor)
            if heard is not None:
                heard(events)

    def close(self) -> None:
        """Closes what still runs."""
        for each in self._tasks:
            each.close()


class Bell:
    """Something that a signal handler or another thread rings, and a coroutine hears as a descriptor."""

    def __init__(self) -> None:
        self._drain, self._feed = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def fileno(self) -> int:
        return self._drain

    def ring(self) -> None:
        """Once or more often is the same."""
        try:
            os.write(self._feed, b"!")
        except BlockingIOError:
            return

    def hush(self) -> None:
        """It was heard."""
        try:
            os.read(self._drain, 1 << 16)
        except BlockingIOError:
            return

    def close(self) -> None:
        """Both ends."""
        os.close(self._drain)
        os.close(self._feed)
