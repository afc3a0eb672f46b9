"""Builds by their reference: who asks early waits, who listens late hears it all."""

import pytest

from knarr.build.errors import BuildFailed
from knarr.build.frontdoor import jobs
from knarr.build.frontdoor.jobs import Jobs


async def test_an_ended_build_can_be_heard() -> None:
    """A quick one is over before its client's second call comes."""
    known = Jobs()
    job = known.begin("a", "session")
    with job.progress.begin("step"):
        pass
    known.end(job)
    told = [update async for bunch in (await known.heard("a")).progress.follow() for update in bunch]
    assert len(told) == 2


async def test_an_ended_build_is_no_build(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be asked of it; and its name is free."""
    monkeypatch.setattr(jobs, "PATIENCE", 0.01)
    known = Jobs()
    known.end(known.begin("a", "session"))
    with pytest.raises(BuildFailed, match="no such job a"):
        await known.get("a")
    again = known.begin("a", "session")
    assert await known.get("a") is again
