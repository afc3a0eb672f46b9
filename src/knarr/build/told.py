"""What a build tells while it runs, as values: its steps, their counters, their output and its warnings. Pure.

They are as BuildKit's Status stream has them; times are nanoseconds since 1970, 0 for what has not happened. A step's digest is
any unique "sha256:…". Fields are given by name.
"""

from collections.abc import Sequence
from typing import NamedTuple

STDOUT, STDERR = 1, 2


class Vertex(NamedTuple):
    """A step; told again with each change."""

    digest: str
    name: str
    inputs: Sequence[str] = ()
    started: int = 0
    completed: int = 0
    cached: bool = False
    error: str = ""


class Status(NamedTuple):
    """A piece of a step's work: bytes or things done, of `total` (0 where it is not known)."""

    id: str
    vertex: str
    name: str = ""
    current: int = 0
    total: int = 0
    moment: int = 0
    started: int = 0
    completed: int = 0


class Output(NamedTuple):
    """What a step's process wrote to `stream` (1 stdout, 2 stderr)."""

    vertex: str
    moment: int
    stream: int
    data: bytes


class Warned(NamedTuple):
    """A finding of a build check. `ranges`: ((line, column), (line, column)) pairs, lines from 1."""

    vertex: str
    level: int
    short: str
    detail: Sequence[str] = ()
    url: str = ""
    filename: str = ""
    source: bytes = b""
    ranges: Sequence[tuple[tuple[int, int], tuple[int, int]]] = ()


Spot = tuple[tuple[int, int], tuple[int, int]]
Update = Vertex | Status | Output | Warned
