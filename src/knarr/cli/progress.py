"""Progress of pulls, pushes and loads: bars on a terminal, plain lines otherwise."""

import sys
from collections.abc import Iterable
from typing import Any

from knarr.cli.units import human_size

_WIDTH = 30


class StreamError(Exception):
    """What went wrong after the daemon had begun to answer: told as it is."""


def show(lines: Iterable[dict[str, Any]], *, quiet: bool = False) -> list[Any]:
    """Prints a stream of progress; its `aux` values. Raises StreamError."""
    display = _Terminal() if sys.stdout.isatty() else _Plain()
    aux = []
    for line in lines:
        if "error" in line:
            raise StreamError((line.get("errorDetail") or {}).get("message") or line["error"])
        if "aux" in line:
            aux.append(line["aux"])
        elif not quiet:
            display.line(line)
    return aux


def _text(line: dict[str, Any]) -> str:
    if "stream" in line:
        return str(line["stream"]).rstrip("\n")
    status = str(line.get("status", ""))
    return f"{line['id']}: {status}" if line.get("id") else status


class _Plain:
    """Without the lines that would move a bar."""

    def line(self, line: dict[str, Any]) -> None:
        detail = line.get("progressDetail") or {}
        if detail.get("current") or detail.get("total"):
            return
        print(_text(line), flush=True)


class _Terminal:
    """One row for each id, redrawn in place (ECMA-48 cursor moves)."""

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}

    def line(self, line: dict[str, Any]) -> None:
        key = line.get("id")
        if not key:
            print(_text(line), flush=True)
            self._rows = {name: row + 1 for name, row in self._rows.items()}
            return
        if key not in self._rows:
            print()
            self._rows = {name: row + 1 for name, row in self._rows.items()}
            self._rows[key] = 1
        up = self._rows[key]
        print(f"\x1b[{up}A\r\x1b[2K{_text(line)}{_bar(line)}\x1b[{up}B\r", end="", flush=True)


def _bar(line: dict[str, Any]) -> str:
    detail = line.get("progressDetail") or {}
    current, total = detail.get("current", 0), detail.get("total", 0)
    if not current:
        return ""
    if not total:
        return f"  {human_size(current)}"
    full = int(_WIDTH * min(current / total, 1))
    return f" [{'=' * full}>{' ' * (_WIDTH - full)}] {human_size(current)}/{human_size(total)}"
