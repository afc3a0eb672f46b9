"""Stages while they are built: what each needs, has become, and declares.

A `Unit` is a FROM and its instructions; also an image or a stage that `COPY --from` or `--mount from=` names without a FROM
("unregistered"). `Units` finds them by name and by number.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from knarr.build.dockerfile.drafts import State
from knarr.build.dockerfile.errors import DockerfileError, Lines
from knarr.build.dockerfile.image import Image
from knarr.build.dockerfile.instructions import Command, Said, Stage, Variable
from knarr.model.platform import Platform

SCRATCH = "scratch"


class Context(NamedTuple):
    """A named context: its specification, its name, and the name with a platform under which it was found."""

    name: str
    key: str
    specification: str
    platform: Platform | None


class Declared(NamedTuple):
    """A build argument as outlines tell it."""

    variable: Variable
    value: str
    lines: Lines
    needs: frozenset[str] = frozenset()


class Needed(NamedTuple):
    """A secret or an ssh agent as outlines tell it."""

    required: bool
    lines: Lines


@dataclass(slots=True)
class Outline:
    """What a stage takes from outside."""

    arguments: dict[str, Declared] = field(default_factory=dict)
    used: dict[str, None] = field(default_factory=dict)
    secrets: dict[str, Needed] = field(default_factory=dict)
    agents: dict[str, Needed] = field(default_factory=dict)

    def copied(self) -> "Outline":
        """A copy that grows on its own."""
        return Outline(dict(self.arguments), dict(self.used), dict(self.secrets), dict(self.agents))


@dataclass(slots=True, eq=False)
class Step:
    """An instruction and the units that it takes files from, one a mount or one for COPY; None where there is none."""

    command: Command
    sources: list["Unit"] = field(default_factory=list)
    triggered: bool = False


@dataclass(slots=True, eq=False)
class Unit:
    """One stage on its way to an image."""

    stage: Stage
    base_name: str
    label: str = ""
    state: State = field(default_factory=State)
    image: Image = field(default_factory=Image)
    base: "Unit | None" = None
    base_image: Image | None = None
    context: Context | None = None
    platform: Platform | None = None
    needs: dict["Unit", Lines] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    variables: list[Variable] = field(default_factory=list)
    context_paths: set[str] = field(default_factory=set)
    paths: set[str] = field(default_factory=set)
    outline: Outline = field(default_factory=Outline)
    unregistered: bool = False
    dispatched: bool = False
    resolved: bool = False
    triggers_read: bool = False
    ignore_cache: bool = False
    number: int = 0
    total: int = 0
    triggered: bool = False
    workdir_set: bool = False
    once: dict[str, Lines] = field(default_factory=dict)
    scans: set[str] = field(default_factory=set)

    def begin(self) -> None:
        """Takes over what the stage that it is based on has become."""
        if self.base is None:
            return
        self.state, self.platform = self.base.state, self.base.platform
        self.image = self.base.image.copied()
        self.image.onbuild = []
        self.base_image = self.base.base_image
        self.paths = self.base.paths
        self.workdir_set = self.base.workdir_set
        self.variables = [*self.variables, *self.base.variables]

    def needed(self) -> Iterator["Unit"]:
        """The units that it is directly made of."""
        if self.base is not None:
            yield self.base
        yield from self.needs

    def target_platform(self) -> Platform:
        """Its platform, which is known once it is dispatched."""
        assert self.platform is not None
        return self.platform


def unregistered(base_name: str, lines: Lines) -> Unit:
    """What a name stands for that no FROM introduces."""
    return Unit(Stage(Said("", "", lines), base_name), base_name, unregistered=True)


class Units:
    """All units, in the order of the file; unregistered ones follow."""

    def __init__(self) -> None:
        self.all: list[Unit] = []
        self.by_name: dict[str, Unit] = {}

    def add(self, unit: Unit) -> None:
        """Puts a unit behind the others. An earlier stage of its base's name becomes its base."""
        self.all.append(unit)
        base = self.by_name.get(unit.base_name)
        if base is not None:
            unit.base = base
            unit.outline = base.outline.copied()
        if unit.stage.name:
            self.by_name[unit.stage.name.lower()] = unit

    def find(self, name: str) -> Unit | None:
        """The stage of a name, in whatever case."""
        return self.by_name.get(name.lower())

    def at(self, index: int) -> Unit:
        """The stage of a number."""
        if not 0 <= index < len(self.all):
            raise DockerfileError(f"invalid stage index {index}")
        return self.all[index]

    def names(self) -> list[str]:
        """The names that a suggestion can make."""
        return [unit.label for unit in self.all if unit.label]

    def reachable(self, target: Unit) -> dict[Unit, None]:
        """The target and all that it needs."""
        found: dict[Unit, None] = {}
        stack = [target]
        while stack:
            unit = stack.pop()
            if unit not in found:
                found[unit] = None
                stack += unit.needed()
        return found

    def check_circles(self) -> None:
        """Raises DockerfileError when stages copy from each other in a circle."""
        visited: set[Unit] = set()
        for root in self.all:
            if root in visited:
                continue
            visited.add(root)
            path: dict[Unit, None] = {root: None}
            stack: list[tuple[Unit, Iterator[tuple[Unit, Lines]]]] = [(root, iter(root.needs.items()))]
            lines: list[Lines] = []
            while stack:
                unit, remaining = stack[-1]
                found = next(remaining, None)
                if found is None:
                    stack.pop()
                    path.pop(unit)
                    lines = lines[: len(stack) - 1]
                    continue
                needed, where = found
                if needed in path:
                    raise _circle(root, [*lines, where])
                if needed not in visited:
                    visited.add(needed)
                    path[needed] = None
                    lines.append(where)
                    stack.append((needed, iter(needed.needs.items())))


def _circle(root: Unit, lines: list[Lines]) -> DockerfileError:
    error = DockerfileError(f"circular dependency detected on stage: {root.label}")
    error.locations += lines
    return error
