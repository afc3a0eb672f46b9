"""What stages take from each other: files by COPY and mounts, and instructions by ONBUILD of their base."""

from knarr.build.dockerfile import instructions as i
from knarr.build.dockerfile import parser, reading
from knarr.build.dockerfile.errors import DockerfileError, Lines
from knarr.build.dockerfile.golike import parse_int
from knarr.build.dockerfile.shell import Lexer
from knarr.build.dockerfile.units import SCRATCH, Step, Unit, Units, unregistered


def step_of(unit: Unit, command: i.Command, units: Units, lexer: Lexer) -> Step:
    """An instruction with the units that it takes from, which the stage then needs."""
    step = Step(command)
    if isinstance(command, i.Transfer) and command.source_stage:
        step.sources = [_copied_from(command, units, lexer)]
    elif isinstance(command, i.Run):
        names = [stage or SCRATCH for stage in command.stages]
        step.sources = [units.find(name) or unregistered(name, ()) for name in names]
    for source in step.sources:
        unit.needs[source] = command.said.lines
        if source.unregistered:
            units.add(source)
    return step


def _copied_from(command: i.Transfer, units: Units, lexer: Lexer) -> Unit:
    name = command.source_stage
    if lexer.text(name, {}) != name:
        raise DockerfileError(
            "variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround"
        )
    index = parse_int(name)
    if index is not None:
        return units.at(index)
    return units.find(name) or unregistered(name, command.said.lines)


def trigger(unit: Unit, units: Units, lexer: Lexer) -> bool:
    """Puts what the base's ONBUILD says before the stage's instructions. Whether that needs further units."""
    unit.begin()
    triggers = list(unit.image.onbuild)
    if unit.base is not None and not unit.triggers_read:
        triggers += [step.command.trigger for step in unit.base.steps if isinstance(step.command, i.Onbuild)]
        unit.triggers_read = True
    if not triggers:
        return False
    unit.image.onbuild = []
    try:
        steps = [_triggered(unit, text, units, lexer) for text in triggers]
    except DockerfileError as error:
        error.locations[:] = [unit.stage.said.lines]
        raise
    unit.steps[:0] = steps
    unit.total += len(steps)
    return any(step.sources for step in steps)


def _triggered(unit: Unit, text: str, units: Units, lexer: Lexer) -> Step:
    nodes = parser.parse(text).nodes
    if len(nodes) != 1:
        raise DockerfileError("onbuild trigger should be a single expression")
    lines: Lines = unit.stage.said.lines
    nodes[0].start, nodes[0].end = (lines[0], lines[-1]) if lines else (0, 0)
    step = step_of(unit, reading.read_command(nodes[0]), units, lexer)
    step.triggered = True
    return step
