"""A Dockerfile for one platform: text and options to operations and an image configuration.

In order: read, find what FROM lines name, the target and what it needs, bases (asked for), triggers of bases (which may need
more), then every needed stage's instructions in the order of the file; at last the context, by what was used of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from knarr.build.dockerfile import (
    arguments,
    checks,
    contexts,
    directives,
    linting,
    parser,
    platforms,
    reading,
)
from knarr.build.dockerfile import instructions as i
from knarr.build.dockerfile.bases import Bases
from knarr.build.dockerfile.building import Building
from knarr.build.dockerfile.checks import Linter, Remark
from knarr.build.dockerfile.connecting import step_of, trigger
from knarr.build.dockerfile.dispatch import dispatch
from knarr.build.dockerfile.drafts import Freezer, SourceDraft
from knarr.build.dockerfile.errors import DockerfileError, Lines, located
from knarr.build.dockerfile.golike import parse_int
from knarr.build.dockerfile.ignore import Matcher, read
from knarr.build.dockerfile.image import Json
from knarr.build.dockerfile.options import Options
from knarr.build.dockerfile.questions import EpochQuestion, Steps, ask
from knarr.build.dockerfile.shell import Expansion, Lexer
from knarr.build.dockerfile.units import SCRATCH, Unit, Units, unregistered
from knarr.build.graph import About, Edge
from knarr.model.platform import Platform

_START = datetime(1970, 1, 1, tzinfo=UTC)


class Definition(NamedTuple):
    """A Dockerfile and its ignore file. `context` is the main context where it isn't the client's local one."""

    text: bytes
    filename: str = "Dockerfile"
    ignore: bytes | None = None
    context: Edge | None = None


class Result(NamedTuple):
    """What one platform's build makes. `output` None is an empty file system."""

    platform: Platform | None
    output: Edge | None
    image: Json
    base_image: Json | None
    epoch: int | None
    scans: tuple[tuple[str, Edge | None], ...] = ()


@dataclass(slots=True)
class Conversion:
    """One platform's conversion; `platform` None lets the base image choose. `unit` is the target, when there is one."""

    definition: Definition
    options: Options
    platform: Platform | None
    lint: Linter
    every_stage: bool = False
    unit: Unit | None = None

    def run(self) -> Steps[Result]:
        """The result. Raises DockerfileError."""
        units, building = yield from self._dispatched()
        return self._result(units, building)

    def target(self) -> Steps[Unit]:
        """The target's stage after all its instructions, without making vertices."""
        yield from self._dispatched()
        self.lint.check()
        assert self.unit is not None
        return self.unit

    def _dispatched(self) -> Steps[tuple[Units, Building]]:
        stages, lexer, found = self._read()
        given = dict(self.options.build_args)
        values, epoch = yield from self._epoch(stages, lexer, found.values, given)
        units = Units()
        for index, stage in enumerate(stages):
            self._add(units, index, stage, lexer, values, found)
        self.unit = self._target(units)
        self._connect(units, lexer)
        target = self.platform or self.options.here
        reachable = yield from self._resolve(
            units, Bases(units, self.options, target, self.platform is None, self.lint), lexer
        )
        building = Building(
            self.options, target, given, values, lexer, self.lint, arguments.proxy(given), epoch, _rfc3339(epoch),
            self._matcher(),
        )  # fmt: skip
        for unit in units.all:
            if self.every_stage or (unit in reachable and not unit.dispatched):
                dispatch(unit, building)
        self.unit.paths.add("/")
        return units, building

    def _read(self) -> tuple[list[i.Stage], Lexer, arguments.Globals]:
        if not self.definition.text:
            raise DockerfileError("the Dockerfile cannot be empty")
        tree = parser.parse(parser.decode(self.definition.text))
        for empty in tree.empty_continuations:
            self.lint.run(checks.NO_EMPTY_CONTINUATION, (empty.line,), "Empty continuation line")
        stages, commands = reading.read(tree, self.lint)
        if not stages:
            raise DockerfileError("dockerfile contains no stages to build")
        linting.check_stages(stages, self.lint)
        lexer = Lexer(tree.escape)
        values = arguments.platform_arguments(
            self.options.here,
            self.platform or self.options.here,
            self.options.build_args,
            self.options.target or stages[-1].name,
        )
        self._check_defaults(stages, commands, lexer, values)
        return stages, lexer, arguments.global_arguments(values, lexer, commands, self.options.build_args)

    def _check_defaults(
        self, stages: list[i.Stage], commands: list[i.Arg], lexer: Lexer, values: dict[str, str]
    ) -> None:
        try:
            defaults = arguments.global_arguments(values, lexer, commands, {}).values
            for stage in stages:
                linting.check_default_base(stage, lexer.text(stage.base, defaults), self.lint)
        except DockerfileError:
            return  # the build fails of it later, with its place

    def _epoch(
        self, stages: list[i.Stage], lexer: Lexer, values: dict[str, str], given: dict[str, str]
    ) -> Steps[tuple[dict[str, str], int | None]]:
        name = arguments.EPOCH
        text = given[name] if name in given else values.get(name, "")
        if name not in given and not text:
            return values, None
        epoch = parse_int(text)
        if epoch is None and text:
            epoch = yield from self._asked_epoch(text, stages, lexer, values)
        for place in (given, values):
            if name in place:
                del place[name]
                if epoch is not None:
                    place[name] = str(epoch)
        return values, epoch

    def _asked_epoch(
        self, text: str, stages: list[i.Stage], lexer: Lexer, values: dict[str, str]
    ) -> Steps[int | None]:
        output, what = None, "main build context metadata"
        if text == "context":
            output = self.definition.context
        elif (context := contexts.find(text, None, self.options)) is not None:
            state, _ = yield from contexts.load(context, unregistered(text, ()), self.options)
            output, what = (
                Freezer(self.options.here).freeze(state.output),
                f"SOURCE_DATE_EPOCH named context {text}",
            )
        else:
            stage = next((stage for stage in stages if stage.name and stage.name == text.lower()), None)
            if stage is None:
                raise DockerfileError(f"invalid SOURCE_DATE_EPOCH: {text}")
            with located(stage.said.lines):
                source = arguments.epoch_source(stage, self.options.build_args, values, lexer)
            output = Freezer(self.options.here).freeze(SourceDraft(source, About()))
            what = f"SOURCE_DATE_EPOCH source stage {stage.name}"
        if output is None:
            return None
        answer = yield from ask(EpochQuestion(output, f"[internal] resolve {what}"))
        return answer if isinstance(answer, int) else None

    def _add(
        self,
        units: Units,
        index: int,
        stage: i.Stage,
        lexer: Lexer,
        values: dict[str, str],
        found: arguments.Globals,
    ) -> None:
        lines = stage.said.lines
        lint = self.lint.for_comments(stage.said.comments)
        known = (*found.declared, *values)
        with located(lines):
            base = self._expanded(stage.base, lexer, values, known, lines, lint)
            if not base.text:
                raise DockerfileError(f"base name ({stage.base}) should not be blank")
        unit = Unit(stage, base.text, stage.name or f"stage-{index}")
        unit.outline.arguments = dict(found.declared)
        used = dict.fromkeys(sorted(base.found))
        if stage.platform:
            used |= self._set_platform(unit, lexer, values, known, lint)
        if stage.name:
            unit.context = contexts.find(stage.name, unit.platform or self.platform, self.options)
        units.add(unit)
        if unit.context is not None:
            unit.base = None
            return
        unit.outline.used |= used
        counted = (i.Transfer, i.Run, i.Workdir)
        unit.total = sum(isinstance(command, counted) for command in stage.commands)
        unit.total += unit.base_name != SCRATCH and unit.base is None
        unit.ignore_cache = self.options.skips_cache(stage.name)

    def _expanded(
        self,
        text: str,
        lexer: Lexer,
        values: dict[str, str],
        known: Sequence[str],
        lines: Lines,
        lint: Linter,
    ) -> Expansion:
        try:
            found = lexer.expand(text, values)
        except DockerfileError as error:
            linting.check_from_arguments(error.missing, known, lines, lint)
            raise
        linting.check_from_arguments(found.missing, known, lines, lint)
        return found

    def _set_platform(
        self, unit: Unit, lexer: Lexer, values: dict[str, str], known: Sequence[str], lint: Linter
    ) -> dict[str, None]:
        stage, lines = unit.stage, unit.stage.said.lines
        here = self.options.here
        try:
            found = self._expanded(stage.platform, lexer, values, known, lines, lint)
        except DockerfileError as error:
            raise error.wrapped("failed to process arguments for platform ").at(lines) from None
        linting.check_platform(stage, found, values, here, lint)
        if not found.text:
            empty = DockerfileError(f"empty platform value from expression {stage.platform}", lines)
            raise _suggested(empty, found.missing, values)
        try:
            unit.platform = platforms.parse(found.text, here)
        except DockerfileError as error:
            _suggested(error.at(lines), found.missing, values)
            raise error.wrapped(f"failed to parse platform {stage.platform}").at(lines) from None
        return dict.fromkeys(sorted(found.found))

    def _target(self, units: Units) -> Unit:
        name = self.options.target
        if not name:
            return units.all[-1]
        unit = units.find(name)
        if unit is None:
            raise DockerfileError(f'target stage "{name}" could not be found').suggesting(name, units.names())
        return unit

    def _connect(self, units: Units, lexer: Lexer) -> None:
        for unit in list(units.all):
            for command in unit.stage.commands:
                unit.steps.append(step_of(unit, command, units, lexer))
        units.check_circles()
        if len(units.all) == 1:
            units.all[0].label = ""

    def _resolve(self, units: Units, bases: Bases, lexer: Lexer) -> Steps[dict[Unit, None]]:
        assert self.unit is not None
        while True:
            reachable = units.reachable(self.unit)
            yield from bases.resolve(reachable, self.every_stage)
            if not any(trigger(unit, units, lexer) for unit in reachable):
                return reachable

    def _matcher(self) -> Matcher | None:
        patterns = self._excludes()
        return Matcher(patterns) if patterns else None

    def _excludes(self) -> list[str]:
        if self.definition.ignore is None or self.definition.context is not None:
            return []
        return read(self.definition.ignore)

    def _result(self, units: Units, building: Building) -> Result:
        assert self.unit is not None
        unit, target = self.unit, building.target
        image = unit.image
        if self.options.labels:
            image.labels = {**(image.labels or {}), **self.options.labels}
        self.lint.check()
        used = {path for one in units.all for path in one.context_paths}
        building.context.output = contexts.main_context(
            self.options, self.definition.context, contexts.follow_paths(used), self._excludes()
        )
        if self.platform is not None:
            same = (target.os, target.architecture) == (image.os, image.architecture)
            image.os, image.architecture = target.os, target.architecture
            image.variant = target.variant if target.variant or not same else image.variant
            image.os_version = image.os_version if same else ""
        normal = platforms.normalise(image.platform)
        image.os, image.architecture, image.variant = normal
        freezer = Freezer(target)
        base = unit.base_image.to_json() if unit.base_image is not None else None
        output = freezer.freeze(unit.state.output)
        return Result(
            self.platform,
            output,
            image.to_json(),
            base,
            building.epoch,
            self._scans(units, building, freezer),
        )

    def _scans(
        self, units: Units, building: Building, freezer: Freezer
    ) -> tuple[tuple[str, Edge | None], ...]:
        """What else an SBOM shall look at: the context, and stages that say so."""
        assert self.unit is not None
        found: list[tuple[str, Edge | None]] = []
        if "BUILDKIT_SBOM_SCAN_CONTEXT" in self.unit.scans:
            found.append(("context", freezer.freeze(building.context)))
        for unit in units.reachable(self.unit):
            if unit is not self.unit and "BUILDKIT_SBOM_SCAN_STAGE" in unit.scans:
                found.append((unit.label, freezer.freeze(unit.state.output)))
        return tuple(found)


def _suggested(error: DockerfileError, missing: set[str], values: dict[str, str]) -> DockerfileError:
    before = error.message
    for name in sorted(missing):
        if error.suggesting(name, values).message != before:
            break
    return error


def _rfc3339(epoch: int | None) -> str:
    """A moment as Go writes it to JSON; years that have no four digits are left out."""
    if epoch is None:
        return ""
    try:
        return (_START + timedelta(seconds=epoch)).strftime("%Y-%m-%dT%H:%M:%SZ")
    except OverflowError:
        return ""


def linter(
    definition: Definition, options: Options, *, remarks: list[Remark] | None = None, silent: bool = False
) -> Linter:
    """The checks that the client or the file chooses; findings go to `remarks`."""
    lint = options.lint
    if lint is None:
        found = directives.directive("check", parser.decode(definition.text))
        try:
            lint = checks.parse_options(found.value.partition(" ")[0] if found else "")
        except DockerfileError as error:
            raise error.wrapped("failed to parse check options") from None
    return replace(lint, silent=silent, warnings=[] if remarks is None else remarks)
