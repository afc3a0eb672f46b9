"""The builds that clients have under way, by the reference that a client gives each.

A client may ask for a build's status before it asks for the build. With buildx a build has no frontend of its own: the
client calls the frontend itself (LLBBridge/Solve), and its Return says which of the results shall be given away.
"""

import asyncio
import secrets
from dataclasses import dataclass, field

from knarr.build.errors import BuildFailed
from knarr.build.port import Loaded
from knarr.build.progress import Progress

# Longer than BuildKit waits: on a busy machine a client may be stopped between two of its calls for more than five seconds.
PATIENCE = 20.0


@dataclass(slots=True)
class Job:
    """One build. `returned` is what its client chose; `results` what was loaded in it, by the id it was given."""

    ref: str
    progress: Progress = field(default_factory=Progress)
    results: dict[str, Loaded] = field(default_factory=dict)
    returned: asyncio.Future[Loaded | None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    session: str = ""
    granted: frozenset[str] = frozenset()
    running: bool = False


class Jobs:
    """Those of one daemon. Results of living jobs can be inputs of others; what an ended one told can be heard for a while."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._ended: dict[str, Job] = {}
        self._waiting: dict[str, asyncio.Future[Job]] = {}

    def begin(self, ref: str, session: str) -> Job:
        """A build starts. Raises BuildFailed if there is one of that name."""
        if ref in self._jobs:
            raise BuildFailed(f"job ID {ref} exists")
        job = self._jobs[ref] = Job(ref, session=session)
        waiting = self._waiting.pop(ref, None)
        if waiting is not None:
            waiting.set_result(job)
        return job

    def end(self, job: Job) -> None:
        """It is over; who follows its progress hears the end."""
        job.progress.end()
        self._jobs.pop(job.ref, None)
        self._ended[job.ref] = job
        job.results.clear()
        asyncio.get_running_loop().call_later(PATIENCE, self._ended.pop, job.ref, None)
        if not job.returned.done():
            job.returned.cancel()

    def known(self, ref: str) -> bool:
        """Whether it runs, or ended a moment ago."""
        return ref in self._jobs or ref in self._ended

    async def heard(self, ref: str) -> Job:
        """As `get`, for who only listens: it may have ended before he came. Raises BuildFailed."""
        return self._ended[ref] if ref in self._ended else await self.get(ref)

    async def get(self, ref: str) -> Job:
        """Waits a while for one that was not begun yet. Raises BuildFailed."""
        if ref not in self._jobs and ref not in self._ended:
            waiting = self._waiting.setdefault(ref, asyncio.get_running_loop().create_future())
            try:
                async with asyncio.timeout(PATIENCE):
                    return await asyncio.shield(waiting)  # which may have ended again
            except TimeoutError:
                self._waiting.pop(ref, None)
        if ref not in self._jobs:
            raise BuildFailed(f"no such job {ref}")
        return self._jobs[ref]

    def keep(self, job: Job, loaded: Loaded) -> str:
        """An id for a result of `job`."""
        known = secrets.token_hex(12)
        job.results[known] = loaded
        return known

    def result(self, known: str) -> Loaded:
        """The result with that id. Raises BuildFailed."""
        for job in self._jobs.values():
            if known in job.results:
                return job.results[known]
        raise BuildFailed(f"no such ref: {known}")
