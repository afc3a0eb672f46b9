"""The classic builder's voice: a build's progress as the lines that POST /build gives. Pure but for the clock behind ids.

One "Step" an instruction, in the Dockerfile's order; what a step writes comes under its line, even if it ran earlier.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from knarr.build.dockerfile.nodes import Node
from knarr.build.graph import Vertex as Operation
from knarr.build.told import STDERR, Output, Update, Vertex, Warned

Line = dict[str, Any]


@dataclass(slots=True)
class _Told:
    """What is known of one operation."""

    done: bool = False
    cached: bool = False
    failed: bool = False
    output: list[Output | Warned] = field(default_factory=list)


class Narrator:
    """Updates in, lines out."""

    def __init__(self, nodes: Sequence[Node], operations: Sequence[Operation], *, cached: bool = True):
        self._nodes = nodes
        self._by_line = _by_line(nodes, operations)
        self._told: dict[str, _Told] = {digest: _Told() for digest in self._by_line.values()}
        self._position = 0
        self._announced = False
        self._cached = cached

    def feed(self, updates: Sequence[Update]) -> Iterator[Line]:
        """The lines that can be said now."""
        for update in updates:
            match update:
                case Vertex() if update.digest in self._told:
                    told = self._told[update.digest]
                    told.cached = told.cached or update.cached
                    told.failed = bool(update.error)
                    told.done = bool(update.completed)
                case Output() if update.vertex in self._told:
                    self._told[update.vertex].output.append(update)
                case Warned() if update.vertex in self._told:
                    self._told[update.vertex].output.append(update)
                case _:
                    continue
            yield from self._advance()

    def finish(self) -> Iterator[Line]:
        """All that is left, after a build that went well."""
        for told in self._told.values():
            told.done = True
        yield from self._advance()

    def _advance(self) -> Iterator[Line]:
        while self._position < len(self._nodes):
            digest = self._by_line.get(self._position)
            if not self._announced:
                node = self._nodes[self._position]
                yield _stream(f"Step {self._position + 1}/{len(self._nodes)} : {node.original.strip()}")
                yield _stream("\n")
                self._announced = True
            if digest is not None:
                told = self._told[digest]
                yield from _outputs(told)
                if not told.done or told.failed:
                    return
                self._cached = self._cached and (told.cached or self._position == 0)
            if self._cached and self._position:
                yield _stream(" ---> Using cache\n")
            yield _stream(f" ---> {(digest or _name(self._position)).removeprefix('sha256:')[:12]}\n")
            self._position += 1
            self._announced = False


def _outputs(told: _Told) -> Iterator[Line]:
    waiting, told.output = told.output, []
    for output in waiting:
        if isinstance(output, Warned):
            yield _stream(f" ---> {output.short}\n")
            continue
        text = output.data.decode(errors="replace")
        # Docker paints what a step writes to its standard error.
        yield _stream(f"\x1b[91m{text}\x1b[0m" if output.stream == STDERR else text)


def _by_line(nodes: Sequence[Node], operations: Sequence[Operation]) -> Mapping[int, str]:
    """The operation of each instruction that has one."""
    found: dict[int, str] = {}
    for operation in operations:
        for position, node in enumerate(nodes):
            if set(node.lines) & set(operation.about.lines) and _belongs(node, operation):
                found[position] = operation.digest
    return found


def _belongs(node: Node, operation: Operation) -> bool:
    return not operation.about.name.startswith("[internal]") and node.value.lower() != "arg"


def _name(position: int) -> str:
    return f"{position:012x}"


def _stream(text: str) -> Line:
    return {"stream": text}
