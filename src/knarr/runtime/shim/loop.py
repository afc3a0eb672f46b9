"""epoll(7) with callbacks: the one thread of a shim. A callback must not block."""

import select
import time
from collections.abc import Callable
from typing import Any

READ, WRITE = select.EPOLLIN, select.EPOLLOUT
BROKEN = select.EPOLLHUP | select.EPOLLERR
"""Always reported for a watched descriptor, asked for or not."""


class Loop:
    """Descriptors and what to call when they are ready; one deadline at a time a name."""

    __slots__ = ("_callbacks", "_epoll", "_running", "_timers", "on_bug")

    def __init__(self) -> None:
        self._epoll = select.epoll(select.EPOLL_CLOEXEC)
        self._callbacks: dict[int, list[Any]] = {}
        self._timers: dict[object, tuple[float, Callable[[], None]]] = {}
        self._running = True
        self.on_bug: Callable[[], None] = lambda: None
        """Called while an exception of a callback is handled; its descriptor is no longer watched."""

    def watch(self, fd: int, events: int, callback: Callable[[int], None]) -> None:
        """Calls `callback(events)` when `fd` is ready; again with other events or another callback changes them."""
        known = self._callbacks.get(fd)
        if known is None:
            self._callbacks[fd] = [callback, events]
            self._epoll.register(fd, events)
            return
        known[0] = callback
        if known[1] != events:
            known[1] = events
            self._epoll.modify(fd, events)

    def forget(self, fd: int) -> None:
        """Stops watching; must come before the descriptor is closed. Unknown ones are ignored."""
        if self._callbacks.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def after(self, key: object, seconds: float, callback: Callable[[], None]) -> None:
        """Calls once, later; the same key replaces."""
        self._timers[key] = (time.monotonic() + seconds, callback)

    def cancel(self, key: object) -> None:
        """Takes a timer back; unknown ones are ignored."""
        self._timers.pop(key, None)

    def stop(self) -> None:
        """Ends `run` after this round."""
        self._running = False

    def run(self) -> None:
        """Serves until `stop`."""
        while self._running:
            self.turn(None)

    def turn(self, seconds: float | None) -> None:
        """Serves what is ready, or comes within `seconds` (None: whenever); and the timers that are due.

        What one callback closes and another opens may get the same number: the event was the former's.
        """
        if self._timers:
            first = max(0.0, min(when for when, _ in self._timers.values()) - time.monotonic())
            seconds = first if seconds is None else min(first, seconds)
        ready = [(fd, events, self._callbacks.get(fd)) for fd, events in self._epoll.poll(seconds)]
        for fd, events, entry in ready:
            if entry is not None and self._callbacks.get(fd) is entry:
                try:
                    entry[0](events)
                except Exception:
                    self.forget(fd)
                    self.on_bug()
        self._ring()

    def _ring(self) -> None:
        if self._timers:
            now = time.monotonic()
            for key in [key for key, (when, _) in self._timers.items() if when <= now]:
                entry = self._timers.pop(key, None)
                if entry is not None:
                    entry[1]()

    def close(self) -> None:
        """Lets go of the epoll descriptor."""
        self._epoll.close()
