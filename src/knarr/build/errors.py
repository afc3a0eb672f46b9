"""What can go wrong in a build, with the place in the Dockerfile where there is one."""

from collections.abc import Sequence
from typing import NamedTuple

from knarr.model.errors import Invalid, KnarrError, NotFound

Spot = tuple[tuple[int, int], tuple[int, int]]


class Place(NamedTuple):
    """Lines of a Dockerfile (from 1), as (line, column) pairs from and to."""

    filename: str
    source: bytes
    ranges: Sequence[Spot] = ()


class BuildFailed(KnarrError):
    """A build that could not be done; `str` is BuildKit's sentence. `vertex` is the step's digest, `exit_code` its process';
    `around` are the places that lead to `place`."""

    def __init__(
        self, text: str, *, place: Place | None = None, vertex: str = "", exit_code: int | None = None
    ):
        super().__init__(text)
        self.place = place
        self.around: Sequence[Place] = ()
        self.vertex = vertex
        self.exit_code = exit_code


class BadBuild(BuildFailed, Invalid):
    """A Dockerfile or a request that cannot be built."""


class NoSuchSession(NotFound):
    """The client's session is not, or no longer, there."""

    def __init__(self, session: str):
        super().__init__(f"no active session for {session}: context deadline exceeded")
