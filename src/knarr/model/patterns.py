"""Go's filepath.Match: `*`, `?`, `[a-z]`, `[^a]`, a backslash before any of them; none of them matches a slash. No imports."""

_BAD = "syntax error in pattern"


def match(pattern: str, name: str) -> bool:
    """Whether the whole name matches. Raises ValueError for a pattern that Go calls malformed."""
    items = _parsed(pattern)
    # The items that may come next, as in any non-deterministic automaton: time is |pattern| · |name|.
    states = _closed({0}, items)
    for character in name:
        states = _closed(
            {position + step for position in states for step in _steps(items, position, character)}, items
        )
        if not states:
            return False
    return len(items) in states


def is_pattern(text: str) -> bool:
    """Whether anything in it is more than itself."""
    return any(character in text for character in "*?[\\")


Ranges = tuple[bool, tuple[tuple[str, str], ...]]
_ANY_ONE: Ranges = (True, (("/", "/"),))


def _parsed(pattern: str) -> list[Ranges | None]:
    """None stands for `*`; the rest are ranges of one character, and whether they are negated."""
    items: list[Ranges | None] = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == "*":
            items.append(None)
        elif character == "?":
            items.append(_ANY_ONE)
        elif character == "[":
            ranges, position = _class(pattern, position)
            items.append(ranges)
        else:
            if character == "\\":
                character, position = _escaped(pattern, position - 1)
            items.append((False, ((character, character),)))
    return items


def _class(pattern: str, position: int) -> tuple[Ranges, int]:
    negated = pattern[position : position + 1] == "^"
    position += negated
    found: list[tuple[str, str]] = []
    while True:
        if pattern[position : position + 1] == "]" and found:
            return (negated, tuple(found)), position + 1
        if pattern[position : position + 1] in ("", "-", "]"):
            raise ValueError(_BAD)
        low, position = _escaped(pattern, position)
        high = low
        if pattern[position : position + 1] == "-":
            if pattern[position + 1 : position + 2] in ("", "-", "]"):
                raise ValueError(_BAD)
            high, position = _escaped(pattern, position + 1)
        found.append((low, high))


def _escaped(pattern: str, position: int) -> tuple[str, int]:
    """One character, perhaps behind a backslash, and where it ends."""
    if pattern[position] == "\\":
        position += 1
        if position == len(pattern):
            raise ValueError(_BAD)
    return pattern[position], position + 1


def _closed(states: set[int], items: list[Ranges | None]) -> set[int]:
    """With what a `*` may skip."""
    found = set(states)
    for state in states:
        while state < len(items) and items[state] is None:
            state += 1
            found.add(state)
    return found


def _steps(items: list[Ranges | None], position: int, character: str) -> tuple[int, ...]:
    if position == len(items):
        return ()
    item = items[position]
    if item is None:
        return (0,) if character != "/" else ()
    negated, ranges = item
    if character == "/" and negated:
        return ()
    inside = any(low <= character <= high for low, high in ranges)
    return (1,) if inside != negated else ()
