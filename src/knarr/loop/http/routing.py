"""Paths to handlers: literal segments, `{name}` for one segment, `{name:path}` for one or more in the middle or end."""

import re
from collections.abc import Mapping
from typing import Generic, TypeVar

H = TypeVar("H")
_PARAMETER = re.compile(r"\{(\w+)(:path)?\}")


class Router(Generic[H]):
    """Exact paths are found by dictionary; patterns are tried in the order in which they were added.

    What is routed to is the caller's: a handler, or a value that has one.
    """

    def __init__(self) -> None:
        self._exact: dict[str, dict[str, H]] = {}
        self._patterns: list[tuple[re.Pattern[str], dict[str, H]]] = []
        self._by_text: dict[str, dict[str, H]] = {}

    def add(self, method: str, path: str, handler: H) -> None:
        """Routes `method` on `path`."""
        table = self._by_text.get(path)
        if table is None:
            table = self._by_text[path] = {}
            if "{" in path:
                self._patterns.append((_compile(path), table))
            else:
                self._exact[path] = table
        table[method] = handler

    def find(self, method: str, path: str) -> "tuple[H | None, Mapping[str, str], bool]":
        """The handler, the path's parameters, and whether the path is known at all (for other methods)."""
        table = self._exact.get(path)
        if table is not None and method in table:
            return table[method], {}, True
        known = table is not None
        for pattern, methods in self._patterns:
            match = pattern.match(path)
            if match:
                known = True
                handler = methods.get(method)
                if handler is not None:
                    return handler, match.groupdict(), True
        return None, {}, known


def _compile(path: str) -> re.Pattern[str]:
    out, position = "", 0
    for match in _PARAMETER.finditer(path):
        out += re.escape(path[position : match.start()])
        out += f"(?P<{match[1]}>{'.+' if match[2] else '[^/]+'})"
        position = match.end()
    return re.compile(out + re.escape(path[position:]) + r"\Z")
