"""The hub of what a build tells while it runs (`told`): it keeps all, so that whoever follows late still hears the beginning."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Sequence

from knarr.build.told import Output, Status, Update, Vertex, Warned

_PACE = 100_000_000
_MOST = 16 << 20
_CLIPPED = b"\n[output clipped, log limit 16MiB reached]\n"


class Progress:
    """One build's hub."""

    def __init__(self) -> None:
        self._updates: list[Update] = []
        self._waiting: set[asyncio.Future[None]] = set()
        self._resting: set[asyncio.Future[None]] = set()
        self._over = False

    @property
    def told(self) -> Sequence[Update]:
        """All so far."""
        return self._updates

    def tell(self, *updates: Update) -> None:
        """Adds to what is told."""
        self._updates += updates
        self._wake()

    def end(self) -> None:
        """Nothing more will come."""
        self._over = True
        self._wake()
        for each in self._resting:
            _settle(each)

    def _wake(self) -> None:
        for each in self._waiting:
            _settle(each)

    async def follow(self, pace: float = 0) -> AsyncIterator[Sequence[Update]]:
        """All from the beginning until the end, in bunches as they come; `pace`: so many seconds lie between two, but the last."""
        told = 0
        while True:
            if told < len(self._updates):
                bunch = self._updates[told:]
                told += len(bunch)
                yield bunch
                if pace and not self._over:
                    await self._rest(pace)
            elif self._over:
                return
            else:
                await self._among(self._waiting)

    async def _rest(self, pace: float) -> None:
        ending = asyncio.get_running_loop().create_future()
        timer = ending.get_loop().call_later(pace, _settle, ending)
        try:
            await self._among(self._resting, ending)
        finally:
            timer.cancel()

    async def _among(
        self, others: "set[asyncio.Future[None]]", mine: "asyncio.Future[None] | None" = None
    ) -> None:
        waiting = mine or asyncio.get_running_loop().create_future()
        others.add(waiting)
        try:
            await waiting
        finally:
            others.discard(waiting)

    def begin(self, name: str, digest: str = "", inputs: Sequence[str] = ()) -> "Step":
        """A step starts; a `digest` is made up for one that has none."""
        known = digest or unique(name)
        return Step(self, Vertex(digest=known, name=name, inputs=inputs, started=time.time_ns()))

    def served(self, name: str, digest: str, inputs: Sequence[str]) -> None:
        """A step begins and ends: the cache had it."""
        now = time.time_ns()
        self.tell(Vertex(digest=digest, name=name, inputs=inputs, started=now, completed=now, cached=True))


def _settle(waiting: "asyncio.Future[None]") -> None:
    if not waiting.done():
        waiting.set_result(None)


class Step:
    """A step under way: `with` ends it, with the error's text if there was one."""

    def __init__(self, progress: Progress, vertex: Vertex):
        self._progress = progress
        self._room = _MOST
        self.vertex = vertex
        progress.tell(vertex)

    def __enter__(self) -> "Step":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        text = "" if error is None else str(error) or type(error).__name__
        if isinstance(error, asyncio.CancelledError):
            text = "context canceled"
        self.vertex = self.vertex._replace(completed=time.time_ns(), error=text)
        self._progress.tell(self.vertex)

    def write(self, stream: int, data: bytes) -> None:
        """Output of the step's process; what goes beyond 16 MiB is lost, and that is said once."""
        if self._room < 0:
            return
        if len(data) > self._room:
            data = data[: self._room] + _CLIPPED
        self._room -= len(data)
        self._progress.tell(
            Output(vertex=self.vertex.digest, moment=time.time_ns(), stream=stream, data=data)
        )

    def warn(self, text: str) -> None:
        """Something that a person shall see, at the build's end too."""
        self._progress.tell(Warned(vertex=self.vertex.digest, level=1, short=text))

    def done(self, what: str) -> None:
        """A piece of the step's work that takes no time worth telling."""
        now = time.time_ns()
        self._progress.tell(
            Status(id=what, vertex=self.vertex.digest, moment=now, started=now, completed=now)
        )

    def task(self, what: str, name: str = "", total: int = 0) -> "Task":
        """A piece of the step's work starts."""
        now = time.time_ns()
        return Task(
            self._progress,
            Status(id=what, vertex=self.vertex.digest, name=name, total=total, moment=now, started=now),
        )


class Task:
    """A piece of work under way: `at` counts, `with` ends it."""

    def __init__(self, progress: Progress, status: Status):
        self._progress = progress
        self._status = status
        self._told = status.moment
        self._current = status.current
        progress.tell(status)

    def at(self, current: int) -> None:
        """How far it is; called for each of a context's packets, 80,000 of them for 20,000 files."""
        self._current = current
        now = time.time_ns()
        if now - self._told > _PACE:
            self._told = now
            self._status = self._status._replace(current=current, moment=now)
            self._progress.tell(self._status)

    def __enter__(self) -> "Task":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        now = time.time_ns()
        self._status = self._status._replace(current=self._current, moment=now, completed=now)
        self._progress.tell(self._status)


def unique(name: str) -> str:
    """A digest that no other step has."""
    return f"sha256:{hashlib.sha256(f'{name} {time.time_ns()}'.encode()).hexdigest()}"
