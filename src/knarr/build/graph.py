"""The graph of operations that a build is: one to one what BuildKit calls LLB (solver/pb/ops.proto).

Frozen values only. A vertex is named by the digest of its operation, its platform and its inputs' digests: the SHA-256 of
the bytes that BuildKit's encoding gives, so both engines name equal vertices alike. What doesn't change a result (names for
people, lines, resources, whether the cache may serve) is in `About` and not in the digest. `None` in an edge's place is
the empty file system, "scratch".
"""

import enum
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from knarr.build.llb import encode
from knarr.build.operations import Operation
from knarr.model.platform import Platform

__all__ = ["About", "Edge", "Group", "Resources", "Vertex", "vertex", "walk"]


class Group(NamedTuple):
    """Vertices that a person sees as one step: `COPY --link` is a copy and a merge."""

    id: str
    name: str
    weak: bool


class Resources(NamedTuple):
    """cgroup limits of a step, and the network it joins, from the builder's options; zero and "" mean none."""

    memory: int = 0
    memory_swap: int = 0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    network: str = ""


@dataclass(frozen=True, slots=True)
class About:
    """What people and the scheduler are told of a vertex. `name` is the line of the progress display."""

    name: str = ""
    command: str = ""
    lines: tuple[int, ...] = ()
    ignore_cache: bool = False
    group: Group | None = None
    resources: Resources | None = None


class Edge(NamedTuple):
    """One output of a vertex: an input of another, or a build's result."""

    vertex: "Vertex"
    output: int = 0

    @property
    def digest(self) -> str:
        """The vertex's."""
        return self.vertex.digest


@dataclass(frozen=True, slots=True, eq=False)
class Vertex:
    """One operation on its inputs. Make them with `vertex()`; two are equal when their digests are."""

    operation: Operation
    inputs: tuple[Edge, ...]
    platform: Platform | None
    digest: str
    about: About = field(default_factory=About)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vertex) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)


def vertex(
    operation: Operation,
    inputs: tuple[Edge, ...] = (),
    platform: Platform | None = None,
    about: About | None = None,
) -> Vertex:
    """The vertex of an operation, with its digest."""
    encoded = encode(operation, [(edge.vertex.digest, edge.output) for edge in inputs], platform)
    digest = f"sha256:{hashlib.sha256(encoded).hexdigest()}"
    return Vertex(operation, inputs, platform, digest, about or About())


class _Visit(enum.Enum):
    ENTER = enum.auto()
    LEAVE = enum.auto()


def walk(*results: Edge | None) -> Iterator[Vertex]:
    """Every vertex that the results need, once, inputs before those that use them."""
    seen: set[str] = set()
    stack = [(edge.vertex, _Visit.ENTER) for edge in reversed(results) if edge is not None]
    while stack:
        node, visit = stack.pop()
        if visit is _Visit.LEAVE:
            yield node
        elif node.digest not in seen:
            seen.add(node.digest)
            stack.append((node, _Visit.LEAVE))
            stack += [(edge.vertex, _Visit.ENTER) for edge in reversed(node.inputs)]
