"""`.dockerignore`: which files a build doesn't get, by moby's patternmatcher.

A pattern matches a file or one of its directories; `!` takes back; the last that matches decides. `*` and `?` stop at `/`, `**`
doesn't. A pattern with many wildcards is not given to a backtracking matcher, so a bad pattern can't cost much time.
"""

from collections.abc import Sequence
from functools import partial

from knarr.build.dockerfile.errors import DockerfileError
from knarr.build.dockerfile.golike import SPACES, clean
from knarr.build.dockerfile.ignorepatterns import Pattern, compiled, is_valid

_ROOT_PATTERNS = ("*", "**", "**/*")


def read(data: bytes) -> list[str]:
    """The patterns of an ignore file."""
    patterns: list[str] = []
    for line in data.decode("utf-8", "surrogateescape").removeprefix("\ufeff").split("\n"):
        if line.startswith("#") or not (pattern := line.strip(SPACES)):
            continue
        inverted = pattern.startswith("!")
        if inverted:
            pattern = pattern[1:].strip(SPACES)
        if pattern:
            pattern = clean(pattern)
            pattern = pattern[1:] if len(pattern) > 1 and pattern.startswith("/") else pattern
        patterns.append("!" + pattern if inverted else pattern)
    return patterns


class Matcher:
    """Patterns, ready to match. Raises DockerfileError for a malformed one: most at once, one that is no regular expression
    after translation when the first path is compared."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self.patterns: list[tuple[bool, Pattern]] = []
        self.texts: list[str] = []
        for text in patterns:
            if not (pattern := text.strip(SPACES)):
                continue
            pattern = clean(pattern)
            taken_back = pattern.startswith("!")
            if taken_back and len(pattern) == 1:
                raise DockerfileError('illegal exclusion pattern: "!"')
            pattern = pattern[taken_back:]
            if not is_valid(pattern):
                raise DockerfileError("syntax error in pattern")
            self.patterns.append((taken_back, _pattern(pattern)))
            self.texts.append(pattern)
        self.takes_back = any(taken_back for taken_back, _ in self.patterns)

    def excludes(self, path: str) -> bool:
        """Whether the file, or a directory that it is in, is left out."""
        parts = path.split("/")
        prefixes = ["/".join(parts[: index + 1]) for index in range(len(parts) - 1)]
        excluded = False
        for taken_back, matches in self.patterns:
            if taken_back == excluded and (matches(path) or any(matches(prefix) for prefix in prefixes)):
                excluded = not taken_back
        return excluded

    def step(self, path: str, parent: tuple[bool, ...] = ()) -> tuple[bool, tuple[bool, ...]]:
        """For a walk from the top: whether `path` is left out, and what to give as `parent` for what is in it."""
        excluded = False
        matched: list[bool] = []
        for index, (taken_back, matches) in enumerate(self.patterns):
            hit = bool(parent) and parent[index]
            if not hit and taken_back == excluded:
                hit = matches(path)
            matched.append(hit)
            if hit:
                excluded = not taken_back
        return excluded, tuple(matched)

    def excludes_everything(self) -> bool:
        """Whether a pattern leaves out all that is at the top."""
        pairs = zip(self.patterns, self.texts, strict=True)
        return any(not taken_back and text in _ROOT_PATTERNS for (taken_back, _), text in pairs)


def _pattern(text: str) -> Pattern:
    try:
        return compiled(text)
    except DockerfileError as error:
        return partial(_refuse, str(error))


def _refuse(why: str, _: str) -> bool:
    raise DockerfileError(why)
