"""Parser directives: `# syntax=`, `# escape=` and `# check=` before anything else, each at most once."""

import json
import re
from dataclasses import dataclass, field
from typing import NamedTuple

from knarr.build.dockerfile.errors import DockerfileError, Lines
from knarr.build.dockerfile.golike import SPACES

_DIRECTIVE = re.compile(r"([a-zA-Z][a-zA-Z0-9]*)[\t\n\f\r ]*=[\t\n\f\r ]*(.+?)[\t\n\f\r ]*\Z")
_NAMES = frozenset(("syntax", "escape", "check"))
_BUILT_IN = re.compile(r"(?:[^/]+/)?docker/dockerfile(?:-upstream)?(?:[:@].*)?\Z")


class Directive(NamedTuple):
    """One directive and its line."""

    name: str
    value: str
    line: int


@dataclass(slots=True)
class Directives:
    """Reads lines until the first that is no directive."""

    mark: str = "#"
    line: int = 0
    done: bool = False
    seen: set[str] = field(default_factory=set)

    def read(self, line: str) -> Directive | None:
        """Raises DockerfileError for a directive that is there twice."""
        self.line += 1
        if self.done:
            return None
        found = None
        if line.startswith(self.mark):
            found = _DIRECTIVE.match(line.removeprefix(self.mark).lstrip(SPACES))
        if found is None or (name := found[1].lower()) not in _NAMES:
            self.done = True
            return None
        if name in self.seen:
            raise DockerfileError(f"only one {name} parser directive can be used")
        self.seen.add(name)
        return Directive(name, found[2], self.line)


def directive(name: str, text: str, mark: str = "#") -> Directive | None:
    """A directive of a Dockerfile. A line `#!` before all is skipped; after a repeated directive nothing counts."""
    text = text.removeprefix("\ufeff")
    reader = Directives(mark)
    if text.startswith("#!"):
        text = text.partition("\n")[2]
        reader.line = 1
    for line in text.split("\n"):
        try:
            found = reader.read(line.removesuffix("\r"))
        except DockerfileError:
            return None
        if found is not None and found.name == name:
            return found
        if reader.done:
            return None
    return None


def syntax(text: str) -> Directive | None:
    """Which frontend the file asks for: `# syntax=`, `// syntax=` or `{"syntax": …}`."""
    found = directive("syntax", text) or directive("syntax", text, "//")
    if found is not None:
        return found
    body = text.removeprefix("\ufeff").lstrip(SPACES)
    if body.startswith("{"):
        try:
            value = json.loads(body).get("syntax")
        except (ValueError, RecursionError):
            return None
        if isinstance(value, str):
            return Directive("syntax", value, 0)
    return None


def is_built_in(frontend: str) -> bool:
    """Whether a frontend image is one whose language knarr serves itself: docker/dockerfile, of any tag or mirror."""
    reference = frontend.strip(SPACES).partition(" ")[0]
    return _BUILT_IN.match(reference) is not None


def check_frontend(text: str, override: str = "") -> None:
    """Raises DockerfileError, at its line, when another frontend than the built-in is asked for."""
    if override:
        if not is_built_in(override):
            raise _unsupported(override)
        return
    found = syntax(text)
    if found is not None and not is_built_in(found.value):
        raise _unsupported(found.value, (found.line,))


def _unsupported(frontend: str, lines: Lines | None = None) -> DockerfileError:
    name = frontend.strip(SPACES).partition(" ")[0]
    return DockerfileError(f"frontend {name} is not supported: only docker/dockerfile is built in", lines)
