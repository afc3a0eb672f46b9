"""One pattern of `.dockerignore`, compiled: text to a function of a path.

Plain text, `**/text` and `text/**` are compared as strings. Few wildcards become a regular expression, many a set of states
that walks the path once: time in proportion to the path, whatever the pattern.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from knarr.build.dockerfile.errors import DockerfileError

Pattern = Callable[[str], bool]
_FEW = 2
_CONTROL = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_CLASSES = {"d": "0-9", "w": "0-9A-Za-z_", "s": r"\t\n\f\r "}


class _Part(NamedTuple):
    """A single character (`many` false), a run of such, or a run of whole directories."""

    expression: str
    many: bool = False
    directories: bool = False


def is_valid(pattern: str) -> bool:
    """Whether Go's filepath.Match would read it: brackets closed, nothing behind a last backslash missing."""
    position, size = 0, len(pattern)
    while position < size:
        character = pattern[position]
        position += 1
        if character == "\\":
            if position == size:
                return False
            position += 1
        elif character == "[":
            position = _bracket(pattern, position)
            if position < 0:
                return False
    return True


def _bracket(pattern: str, position: int) -> int:
    """Behind the `]`; -1 when the bracket is malformed."""
    position += pattern.startswith("^", position)
    ranges = 0
    while not (ranges and pattern.startswith("]", position)):
        position = _bound(pattern, position)
        if position > 0 and pattern.startswith("-", position):
            position = _bound(pattern, position + 1)
        if position < 0:
            return -1
        ranges += 1
    return position + 1


def _bound(pattern: str, position: int) -> int:
    character = pattern[position : position + 1]
    if character in ("", "-", "]"):
        return -1
    if character == "\\":
        position += 1
    # What follows must exist: a bracket that is not closed is malformed.
    return position + 1 if position + 1 < len(pattern) else -1


def compiled(pattern: str) -> Pattern:
    """The function that says whether a path matches."""
    parts: list[_Part] = []
    kind = "exact"
    position, size, first = 0, len(pattern), True
    while position < size:
        character = pattern[position]
        position += 1
        if character == "*" and pattern.startswith("*", position):
            position += 1
            position += pattern.startswith("/", position)
            at_end = position == size
            kind = "prefix" if at_end and kind == "exact" else "expression"
            parts.append(_Part(".", many=True) if at_end else _Part(".", many=True, directories=True))
            if first:
                kind = "suffix"
        elif character == "\\" and position < size:
            parts.append(_Part(_escape(pattern[position])))
            kind = "expression"
            position += 1
        elif character == "[":
            end = _bracket(pattern, position)
            parts.append(_Part(_set(pattern[position : end - 1])))
            kind, position = "expression", end
        elif character in "*?":
            parts.append(_Part("[^/]", many=character == "*"))
            kind = "expression"
        else:
            parts.append(_Part(re.escape(character)))
            kind = "expression" if character == "]" else kind
        first = False
    return _matcher(pattern, kind, parts)


def _matcher(pattern: str, kind: str, parts: list[_Part]) -> Pattern:
    if kind == "exact":
        return pattern.__eq__
    if kind == "prefix":
        prefix = pattern[:-2]
        return lambda path: path.startswith(prefix)
    if kind == "suffix":
        suffix = pattern[2:]
        bare = suffix[1:] if suffix.startswith("/") else None
        return lambda path: path.endswith(suffix) or path == bare
    if sum(part.many for part in parts) <= _FEW:
        expression = "".join(
            rf"(?:{part.expression}*/)?" if part.directories else part.expression + "*" * part.many
            for part in parts
        )
        return _searching(re.compile(expression))
    return _States(parts).match


def _searching(expression: re.Pattern[str]) -> Pattern:
    return lambda path: expression.fullmatch(path) is not None


def _escape(character: str) -> str:
    """What a regular expression means by a backslash and the character."""
    if character in _CONTROL:
        return re.escape(_CONTROL[character])
    if character.lower() in _CLASSES:
        return f"[{'^' if character.isupper() else ''}{_CLASSES[character.lower()]}]"
    if character.isalnum() or not character.isascii():
        raise DockerfileError("syntax error in pattern")
    return re.escape(character)


def _set(body: str) -> str:
    """The inside of a bracket as a regular expression's set."""
    negated = body.startswith("^")
    position, out = int(negated), []
    while position < len(body):
        character = body[position]
        if character == "\\" and position + 1 < len(body):
            position += 1
            inner = body[position]
            out.append(_CLASSES.get(inner) or re.escape(_CONTROL.get(inner, inner)))
        elif character == "-" and out and position + 1 < len(body):
            out.append("-")
        else:
            out.append(re.escape(character))
        position += 1
    text = f"[{'^' * negated}{''.join(out)}]"
    try:
        re.compile(text)
    except re.error:
        raise DockerfileError("syntax error in pattern") from None
    return text


class _States:
    """Bit i: the parts before i are matched. A run keeps its bit while its character fits."""

    def __init__(self, parts: list[_Part]) -> None:
        self.parts = [(re.compile(part.expression), part.many, part.directories) for part in parts]
        self.final = 1 << len(parts)

    def _through(self, states: int) -> int:
        """With the states that skip a run."""
        for index, (_, many, _) in enumerate(self.parts):
            if many and states >> index & 1:
                states |= 2 << index
        return states

    def match(self, path: str) -> bool:
        states = self._through(1)
        # A run of directories that has begun may only be left behind a slash: such states are kept apart.
        running = 0
        for character in path:
            states, running = self._next(states, running, character)
            if not states and not running:
                return False
        return bool(states & self.final)

    def _next(self, states: int, running: int, character: str) -> tuple[int, int]:
        moved = still = 0
        for index, (expression, many, directories) in enumerate(self.parts):
            bit = 1 << index
            if not (states | running) & bit or not expression.match(character):
                continue
            if directories:
                still |= bit
                moved |= bit << 1 if character == "/" else 0
            elif states & bit:
                moved |= bit if many else bit << 1
        return self._through(moved), still
