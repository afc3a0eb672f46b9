"""What stages begin with: nothing, an image, or a named context. Only what the target needs is asked for."""

from dataclasses import replace

from knarr.build import operations as ops
from knarr.build.dockerfile import contexts, image
from knarr.build.dockerfile.checks import Linter
from knarr.build.dockerfile.drafts import SourceDraft, State
from knarr.build.dockerfile.errors import DockerfileError
from knarr.build.dockerfile.linting import check_base_platform
from knarr.build.dockerfile.naming import prefixed
from knarr.build.dockerfile.options import Options
from knarr.build.dockerfile.questions import ImageAnswer, ImageQuestion, Steps, ask, together
from knarr.build.dockerfile.units import SCRATCH, Unit, Units
from knarr.build.graph import About
from knarr.model.digest import Digest
from knarr.model.errors import Invalid
from knarr.model.platform import Platform
from knarr.model.reference import Reference

_COMMON = ("alpine", "busybox", "centos", "debian", "golang", "ubuntu", "fedora")


class Bases:
    """Finds the bases of units. `implicit` says that nobody chose a platform, so an image may."""

    def __init__(
        self, units: Units, options: Options, target: Platform, implicit: bool, lint: Linter
    ) -> None:
        self.units, self.options, self.lint = units, options, lint
        self.target, self.implicit = target, implicit

    def resolve(self, reachable: dict[Unit, None], every: bool) -> Steps[None]:
        """Gives each reachable unit without a base stage its state, image and platform; of others checks the name."""
        parts: list[Steps[None]] = []
        for unit in self.units.all:
            if unit.base is not None or unit.dispatched or unit.resolved:
                continue
            unit.resolved = every or unit in reachable
            if unit.base_name == SCRATCH and unit.context is None:
                unit.state, unit.image = State(), image.empty(self.target)
                unit.platform, unit.dispatched = self.target, unit.unregistered
            else:
                parts.append(self._located(unit))
        yield from together(parts)

    def _located(self, unit: Unit) -> Steps[None]:
        try:
            yield from self._resolve(unit)
        except DockerfileError as error:
            raise error.at(unit.stage.said.lines) from error.__cause__
        finally:
            unit.dispatched |= unit.unregistered

    def _resolve(self, unit: Unit) -> Steps[None]:
        name = unit.base_name
        try:
            reference = Reference.parse(name).tagged()
        except Invalid as error:
            raise DockerfileError(f'failed to parse stage name "{name}": {error}') from None
        platform = unit.platform or self.target
        unit.base_name = str(reference)
        if not unit.resolved:
            return
        if unit.context is not None:
            yield from self._from_own_context(unit)
            return
        context = contexts.find(unit.base_name, platform, self.options)
        if context is not None:
            state, config = yield from contexts.load(context, unit, self.options)
            config = image.empty(platform) if config is None else config
            unit.base_image, unit.image = config.copied(), replace(config, created="")
            unit.state, unit.platform = replace(state, platform=platform), platform
            return
        yield from self._from_image(unit, name, platform)

    def _from_own_context(self, unit: Unit) -> Steps[None]:
        """A stage whose name is a named context's is that context."""
        assert unit.context is not None
        unit.state, config = yield from contexts.load(unit.context, unit, self.options)
        unit.dispatched = True
        if config is not None:
            unit.image = replace(config, created="")
            if config.architecture and config.os:
                unit.platform = config.platform

    def _from_image(self, unit: Unit, name: str, platform: Platform) -> Steps[None]:
        answer = yield from self._ask(unit.base_name, name, platform)
        config = image.from_json(answer.config)
        unit.base_image, unit.image = config, replace(config, created="")
        if unit.platform is None and self.implicit:
            platform = self._detected(config, platform)
        reference = Reference.parse(answer.reference)
        if answer.digest:
            reference = reference._replace(digest=Digest.parse(answer.digest))
        unit.base_name, unit.platform = str(reference), platform
        # An image without layers is scratch; old images have no list of layers, but a history.
        if not config.layers and all(entry.get("empty_layer") for entry in config.history):
            unit.state = State()
            return
        line = prefixed(unit, f"FROM {reference}", platform, {}, self.options.multi_platform)
        about = About(line, unit.stage.said.code, unit.stage.said.lines)
        mode = self.options.resolve_mode
        attributes = () if mode == "default" else (("image.resolvemode", mode),)
        source = ops.Source(f"docker-image://{reference}", attributes)
        unit.state = State(SourceDraft(source, about, platform), platform=platform)
        check_base_platform(name, platform, config.platform, unit.stage.said.lines, self.lint)

    def _ask(self, reference: str, name: str, platform: Platform) -> Steps[ImageAnswer]:
        prefix = f"[{platform} internal]" if self.options.multi_platform else "[internal]"
        log_name = f"{prefix} load metadata for {reference}"
        try:
            answer = yield from ask(ImageQuestion(reference, platform, self.options.resolve_mode, log_name))
        except DockerfileError as error:
            names = [
                *self.units.names(),
                *(text for common in _COMMON for text in (common, f"{common}:latest")),
            ]
            raise DockerfileError(f"{name}: {error}").suggesting(name, names) from error.__cause__
        assert isinstance(answer, ImageAnswer)
        return answer

    def _detected(self, config: image.Image, platform: Platform) -> Platform:
        here = self.options.here
        wanted = (config.os, config.architecture)
        if wanted != (platform.os, platform.architecture) and wanted == (here.os, here.architecture):
            return here
        return platform
