"""What all instructions of a build look at: options, arguments, the lexer, the checks; and how their words are expanded."""

from collections.abc import Callable
from dataclasses import dataclass, field

from knarr.build import operations as ops
from knarr.build.dockerfile.checks import Linter
from knarr.build.dockerfile.drafts import Late
from knarr.build.dockerfile.errors import DockerfileError
from knarr.build.dockerfile.golike import clean
from knarr.build.dockerfile.ignore import Matcher
from knarr.build.dockerfile.instructions import Command
from knarr.build.dockerfile.linting import check_variables
from knarr.build.dockerfile.naming import prefixed
from knarr.build.dockerfile.options import Options
from knarr.build.dockerfile.shell import Lexer
from knarr.build.dockerfile.units import Unit
from knarr.model.platform import Platform

_PLAIN = Lexer(ignore_quotes=True)


@dataclass(slots=True)
class Building:
    """One platform's build while its instructions are gone through."""

    options: Options
    target: Platform
    given: dict[str, str]
    arguments: dict[str, str]
    lexer: Lexer
    lint: Linter
    proxy: ops.Proxy | None
    epoch: int | None
    created: str
    matcher: Matcher | None
    context: Late = field(default_factory=Late)
    groups: int = 0

    def with_lint(self, lint: Linter) -> "Building":
        """The same with other checks, for one instruction."""
        if lint is self.lint:
            return self
        return Building(
            self.options, self.target, self.given, self.arguments, self.lexer, lint, self.proxy, self.epoch,
            self.created, self.matcher, self.context, self.groups,
        )  # fmt: skip

    def expander(self, unit: Unit, command: Command) -> Callable[[str], str]:
        """Expands words with a stage's variables, and checks that they exist."""

        def expand(word: str) -> str:
            return self._expanded(unit, command, self.lexer, word)

        return expand

    def _expanded(self, unit: Unit, command: Command, lexer: Lexer, text: str) -> str:
        missing: set[str] = set()
        try:
            found = lexer.expand(text, unit.state.env)
            missing = found.missing
        except DockerfileError as error:
            missing = error.missing
            raise
        finally:
            if missing:
                check_variables(command.said, missing, unit.variables, unit.state.env, self.lint)
        return found.text

    def expand_text(self, unit: Unit, command: Command, text: str) -> str:
        """Expands a heredoc: quotes mean nothing in it."""
        return self._expanded(unit, command, _PLAIN, text)

    def step_name(self, unit: Unit, text: str, platform: Platform | None) -> str:
        """A step's name in the progress display; counts the step."""
        return prefixed(unit, text, platform, unit.state.env, self.options.multi_platform)

    def record(self, unit: Unit, created_by: str, *, layer: bool = False) -> None:
        """A line of the image's history."""
        unit.image.record(created_by, layer=layer, created=self.created)


def normalise(parent: str, path: str, *, keep_slash: bool = False) -> str:
    """An absolute path; a relative one is below `parent`. A trailing slash can be kept, an absolute path is not cleaned."""
    new = path or (parent if parent.startswith("/") else f"/{parent}")
    if not new.startswith("/"):
        new = clean(f"/{parent}/{new}")
    if keep_slash:
        if path.endswith("/") and not new.endswith("/"):
            new += "/"
        elif path.endswith("/."):
            new = f"{new}." if new == "/" else f"{new}/."
    return new
