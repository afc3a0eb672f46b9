"""Rows as a table for people and as JSON for programs. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import asdict

from bench.statistics import Row

_HEAD = ("what", "dockerd", "knarr", "ratio", "target", "")
_MB = 1e6

UNITS: dict[str, Callable[[float], str]] = {
    "seconds": lambda value: f"{value * 1000:.1f} ms" if value < 1 else f"{value:.2f} s",
    "bytes": lambda value: f"{value / _MB:.1f} MB",
    "bytes/s": lambda value: f"{value / _MB:.0f} MB/s",
    "/s": lambda value: f"{value:.1f} /s",
    "times": lambda value: f"{value:.2f}",
}


def table(rows: Sequence[Row]) -> str:
    """Columns as wide as they must be."""
    lines = [_HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if 0 < column < 4 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def plain(rows: Sequence[Row]) -> list[dict[str, object]]:
    """What `--json` writes."""
    return [{**asdict(row), "ratio": row.ratio, "met": row.met} for row in rows]


def ratio(value: float | None) -> str:
    """A ratio below one as "1/12.5", above as "5.2"."""
    if value is None:
        return "-"
    return f"1/{1 / value:.1f}" if 0 < value < 0.95 else f"{value:.2f}"


def _cells(row: Row) -> tuple[str, ...]:
    show = UNITS[row.unit]
    figures = tuple("-" if value is None else show(value) for value in (row.docker, row.knarr))
    verdict = {None: "", True: "met", False: "MISSED"}[row.met]
    return (row.what, *figures, ratio(row.ratio), row.target.text if row.target else "", verdict)
