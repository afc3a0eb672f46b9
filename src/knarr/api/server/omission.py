"""How Go leaves out and how it says null: `omitempty`, and lists that are nil. Pure."""

from collections.abc import Iterable
from typing import Any


def listed(values: Iterable[str] | None) -> list[str] | None:
    """A list, or null."""
    return None if values is None else list(values)


def optional(value: dict[str, Any], key: str, each: Any) -> None:
    """Go's omitempty."""
    if each:
        value[key] = each
