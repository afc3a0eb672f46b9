"""The one error of the Dockerfile language, with the lines it is about, shown as BuildKit shows them.

`locations` are the places that BuildKit's error carries, the innermost first: each a tuple of line numbers (from 1).
`excerpts()` prints them. Suggestions ("did you mean") are for words two edits or fewer away.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from knarr.model.errors import Invalid

Lines = tuple[int, ...]
_NEAR = 3


class DockerfileError(Invalid):
    """What is wrong with a Dockerfile, in BuildKit's words."""

    def __init__(self, message: str, lines: Lines | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.locations: list[Lines] = [] if lines is None else [lines]
        self.missing: set[str] = set()  # variables that were looked for in vain before the error

    def __str__(self) -> str:
        return self.message

    def at(self, lines: Lines) -> "DockerfileError":
        """Itself, with one more place."""
        self.locations.append(lines)
        return self

    def wrapped(self, prefix: str) -> "DockerfileError":
        """Itself, after `prefix: `."""
        self.message = f"{prefix}: {self.message}"
        return self

    def suggesting(self, word: str, options: Iterable[str], *, case: bool = True) -> "DockerfileError":
        """Itself, with "(did you mean …?)" when an option is near."""
        if match := nearest(word, options, case=case):
            self.message += f" (did you mean {match}?)"
        return self

    def excerpts(self, filename: str, text: str) -> list[str]:
        """The excerpt of each place."""
        return [excerpt(filename, text, lines) for lines in self.locations]


@contextmanager
def located(lines: Lines) -> Iterator[None]:
    """Adds a place to the errors that pass."""
    try:
        yield
    except DockerfileError as error:
        error.at(lines)
        raise


def line_range(start: int, end: int = 0) -> Lines:
    """The lines from `start` to `end`; only `start` when `end` is not after it."""
    return tuple(range(start, max(start, end) + 1))


def excerpt(filename: str, text: str, lines: Lines) -> str:
    """The lines around a place, `>>>` before those meant; "" when there is none."""
    all_lines = text.split("\n")
    if not lines or not 1 <= (first := min(lines)) <= len(all_lines):
        return ""
    start, end = first, min(max(lines), len(all_lines))
    pad, padded = (4 if start == end else 2), 0
    while padded < pad:
        if start > 1:
            start, padded = start - 1, padded + 1
        if end != len(all_lines):
            end, padded = end + 1, padded + 1
        padded += 1
    meant = set(lines)
    body = "".join(
        f" {number:3d} | {'>>>' if number in meant else '   '} {all_lines[number - 1]}\n"
        for number in range(start, end + 1)
    )
    return f"{filename}:{first}\n--------------------\n{body}--------------------\n"


def nearest(word: str, options: Iterable[str], *, case: bool = True) -> str:
    """The option with the fewest edits, at most two; "" when none is near or one is the word itself."""
    wanted = word if case else word.lower()
    match, best = "", _NEAR
    for option in options:
        candidate = option if case else option.lower()
        if candidate == wanted:
            return ""
        if abs(len(candidate) - len(wanted)) < best and (distance := _edits(wanted, candidate, best)) < best:
            match, best = candidate if case else _cased(candidate, word), distance
    return match


def _cased(match: str, word: str) -> str:
    return match.lower() if word == word.lower() else match.upper() if word == word.upper() else match


def _edits(one: str, other: str, limit: int) -> int:
    """The edits from one word to the other; `limit` stands for any larger number."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        previous, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (a != b))
        if min(row) >= limit:
            return limit
    return row[-1]
