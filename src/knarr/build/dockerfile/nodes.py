"""The syntax tree: BuildKit's, with lists in place of its chains.

A node is an instruction: its name as written, its flags, and its arguments. An argument is a string or, for ONBUILD, the
node of the instruction that it triggers.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from knarr.build.dockerfile.errors import Lines, line_range
from knarr.build.dockerfile.golike import quote, quote_all


class Heredoc(NamedTuple):
    """`<<name`: its text, whether variables in it are expanded, and whether leading tabs go."""

    name: str
    expand: bool
    chomp: bool
    descriptor: int = 0
    content: str = ""


@dataclass(slots=True)
class Node:
    """One instruction. `json` says that the arguments were a JSON array."""

    value: str
    original: str = ""
    flags: list[str] = field(default_factory=list)
    arguments: "list[str | Node]" = field(default_factory=list)
    json: bool = False
    heredocs: list[Heredoc] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    start: int = 0
    end: int = 0

    @property
    def lines(self) -> Lines:
        """Where it stands."""
        return line_range(self.start, self.end)

    def words(self) -> list[str]:
        """The arguments, those of a triggered instruction behind its name."""
        found: list[str] = []
        for argument in self.arguments:
            if isinstance(argument, Node):
                found += [argument.value, *argument.words()]
            else:
                found.append(argument)
        return found

    def dump(self) -> str:
        """As BuildKit prints it: `(value ["flags"] "argument" …)` without the outer brackets."""
        text = self.value.lower()
        if self.flags:
            text += f" {quote_all(self.flags)}"
        for argument in self.arguments:
            # A triggered instruction hangs below a nameless node, whose own dump is trimmed.
            text += f" ({argument.dump()})" if isinstance(argument, Node) else f" {quote(argument)}"
        return text


class EmptyContinuation(NamedTuple):
    """A blank line inside a continued instruction."""

    line: int


class Tree(NamedTuple):
    """A parsed Dockerfile."""

    nodes: list[Node]
    escape: str
    empty_continuations: list[EmptyContinuation]

    def dump(self) -> str:
        """As BuildKit prints the root: a line for each instruction."""
        return "\n".join(f"({node.dump()})" for node in self.nodes)
