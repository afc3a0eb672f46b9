"""A step of a plan, and what several parts of a plan need to know of a bundle. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from knarr.model.errors import Invalid

NAMESPACES = ("mount", "pid", "network", "ipc", "uts", "cgroup", "user", "time")


class Step(NamedTuple):
    """One act, why it is done, and what `walk` needs to do it."""

    act: str
    reason: str
    arguments: tuple[Any, ...] = ()


class Space(NamedTuple):
    """A container's namespaces: the kinds to make, and those to join with their paths."""

    new: tuple[str, ...]
    joined: tuple[tuple[str, str], ...]

    def has(self, kind: str) -> bool:
        """Whether it is not the runtime's own."""
        return kind in self.new or any(kind == other for other, _ in self.joined)

    def path(self, kind: str) -> str:
        """Of a joined one; "" where it is new or the runtime's own."""
        return dict(self.joined).get(kind, "")


def split_namespaces(entries: Sequence[Mapping[str, Any]]) -> Space:
    """OCI's linux.namespaces. Raises Invalid."""
    new: list[str] = []
    joined: list[tuple[str, str]] = []
    seen: set[str] = set()
    for entry in entries:
        kind, path = entry.get("type"), entry.get("path")
        if kind not in NAMESPACES:
            raise Invalid(f"unknown namespace type {kind!r}")
        if kind in seen:
            raise Invalid(f"malformed spec file: duplicated ns {kind!r}")
        seen.add(kind)
        if path:
            joined.append((kind, path))
        else:
            new.append(kind)
    return Space(tuple(new), tuple(joined))


def clean(path: str) -> str:
    """An absolute path without empty parts, "." and "..": as text, whatever links there are."""
    if path[:1] == "/" and path != "/" and "//" not in path and "/." not in path and path[-1] != "/":
        return path
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)
