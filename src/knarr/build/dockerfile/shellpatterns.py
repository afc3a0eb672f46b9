"""The patterns of `${name#pattern}`, `%` and `/`: `*`, `?` and escapes; no brackets.

They mean what the regular expressions mean that BuildKit makes of them: `*` and `?` don't match a line's end, the leftmost
match wins, and `*` prefers the shortest or the longest run. Matching takes time in proportion to pattern and value, whatever
they are: for each part of the pattern it is worked out from the back where a match can begin.
"""

import re

from knarr.build.dockerfile.errors import DockerfileError

_STAR, _ANY = object(), object()
_Token = object | str
_TEMPLATE = re.compile(r"\$(?:\$|(\w+)|\{(\w+)\})")


def trim_prefix(pattern: str, value: str, greedy: bool) -> str:
    """Without the shortest (or longest) prefix that matches."""
    end = _Matcher(_tokens(pattern), value).end(0, greedy)
    return value if end is None else value[end:]


def trim_suffix(pattern: str, value: str, greedy: bool) -> str:
    """Without the shortest (or longest) suffix that matches: the same, read from the end."""
    return trim_prefix(_reversed(pattern), value[::-1], greedy)[::-1]


def replace(pattern: str, substitute: str, value: str, every: bool) -> str:
    """The first match, or every one, replaced. In the latter case `$0` in the substitute is the match, as in Go."""
    matcher = _Matcher(_tokens(pattern), value)
    out: list[str] = []
    position, copied, previous = 0, 0, -1
    while position <= len(value):
        start = matcher.start(position)
        if start is None:
            break
        end = matcher.end(start, True)
        assert end is not None
        # An empty match right behind the previous match doesn't count.
        if end > start or start != previous:
            out += [value[copied:start], _filled(substitute, value[start:end]) if every else substitute]
            copied = end
        previous = end
        if not every:
            break
        position = end if end > start else start + 1
    return "".join(out) + value[copied:]


def _filled(template: str, match: str) -> str:
    def chosen(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        return "$" if name is None else match if name.isdigit() and int(name) == 0 else ""

    return _TEMPLATE.sub(chosen, template)


def _tokens(pattern: str) -> list[_Token]:
    tokens: list[_Token] = []
    characters = iter(range(len(pattern)))
    for index in characters:
        character = pattern[index]
        if character == "*":
            tokens.append(_STAR)
        elif character == "?":
            tokens.append(_ANY)
        elif character != "\\":
            tokens.append(character)
        else:
            following = pattern[index + 1 : index + 2]
            if following in ("}", "/") and following:
                continue  # escaped only to pass the lexer
            if following not in ("*", "?", "\\") or not following:
                # BuildKit prints the pattern in the order in which it matched it.
                raise DockerfileError(
                    f"invalid pattern ({pattern}) in substitution: invalid escape '\\{following or chr(0xFFFD)}'"
                )
            tokens.append(following)
            next(characters)
    return tokens


def _reversed(pattern: str) -> str:
    parts: list[str] = []
    index = 0
    while index < len(pattern):
        size = 2 if pattern[index] == "\\" and index + 1 < len(pattern) else 1
        parts.append(pattern[index : index + size])
        index += size
    return "".join(reversed(parts))


class _Matcher:
    """`possible[i]` has bit p when the tokens from i on match at position p of the value."""

    def __init__(self, tokens: list[_Token], value: str) -> None:
        self.tokens, self.value = tokens, value
        self.places: dict[str, int] = {}
        for position, character in enumerate(value):
            self.places[character] = self.places.get(character, 0) | 1 << position
        self.inside = (1 << len(value)) - 1 & ~self.places.get("\n", 0)
        possible = (1 << len(value) + 1) - 1
        self.possible = [possible]
        for token in reversed(tokens):
            if token is _STAR:
                possible = self._before(possible)
            else:
                allowed = self.inside if token is _ANY else self.places.get(str(token), 0)
                possible = possible >> 1 & allowed
            self.possible.append(possible)
        self.possible.reverse()

    def _before(self, possible: int) -> int:
        """Every position from which a run without a line's end leads to a possible one."""
        # Runs grow to the left: a carry through the bits of one line, read from the other end.
        reached = 0
        for first, last in self._lines():
            line = possible >> first & (1 << last - first + 1) - 1
            if line:
                reached |= (1 << line.bit_length()) - 1 << first
        return reached

    def _lines(self) -> list[tuple[int, int]]:
        lines, start = [], 0
        for part in self.value.split("\n"):
            lines.append((start, start + len(part)))
            start += len(part) + 1
        return lines

    def start(self, position: int) -> int | None:
        """Where the leftmost match at or behind `position` begins."""
        rest = self.possible[0] >> position
        return position + (rest & -rest).bit_length() - 1 if rest else None

    def end(self, position: int, greedy: bool) -> int | None:
        """Where the preferred match that begins at `position` ends."""
        if not self.possible[0] >> position & 1:
            return None
        for index, token in enumerate(self.tokens):
            if token is not _STAR:
                position += 1
                continue
            line_end = self.value.find("\n", position)
            line_end = len(self.value) if line_end < 0 else line_end
            rest = self.possible[index + 1] >> position & (1 << line_end - position + 1) - 1
            position += (rest.bit_length() if greedy else (rest & -rest).bit_length()) - 1
        return position
