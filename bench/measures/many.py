"""Many containers: how many start in a second, and what a start costs when hundreds already run."""

import time
from collections.abc import Sequence
from contextlib import ExitStack

from bench import containers
from bench.crowds import running
from bench.sides import Side, Sides
from bench.statistics import Row, Samples, Target, alternate, rows

RATE = Target("≥ 5 times", 5, at_least=True)
STEADY = Target("≤ 1.2 times", 1.2, relative=False)
COUNT = 100
CROWDS = (100, 200)


def rate(sides: Sides, pairs: int) -> list[Row]:
    """100 containers created and started, 10 at a time; their removal is not counted."""

    def measure(side: Side) -> dict[str, float]:
        begin = time.perf_counter()
        with running(side, COUNT):
            return {"rate": COUNT / (time.perf_counter() - begin)}

    samples = alternate(max(1, pairs // 5), sides.both, measure)
    return rows(samples, {"rate": ("containers started, 10 at a time", RATE)}, "/s")


def crowd(sides: Sides, pairs: int) -> list[Row]:
    """The start of a container with none, 100 and 200 running; with none before and after, since machines drift. Each side's
    crowd is there alone: 200 are running then, and not 400."""
    alone = alternate(pairs, sides.both, _start)
    crowded = [_crowded(side, pairs) for side in sides.both]
    for before, after in zip(alone, alternate(pairs, sides.both, _start), strict=True):
        before.merge(after)
    rows = [_row("start, none running", alone)]
    rows += [_row(f"start, {count} running", [each[count] for each in crowded]) for count in CROWDS]
    docker, knarr = (
        (found[CROWDS[-1]].median("start") or 0) / (one.median("start") or 1)
        for one, found in zip(alone, crowded, strict=True)
    )
    return [*rows, Row(f"  {CROWDS[-1]} beside none: times as long", docker, knarr, "times", STEADY)]


def _crowded(side: Side, pairs: int) -> dict[int, Samples]:
    """By how many are running."""
    found: dict[int, Samples] = {}
    with ExitStack() as stack:
        there = 0
        for count in CROWDS:
            stack.enter_context(running(side, count - there))
            there = count
            (found[count],) = alternate(pairs, (side,), _start)
    return found


def _start(side: Side) -> dict[str, float]:
    return containers.run(side.client)


def _row(what: str, samples: Sequence[Samples]) -> Row:
    docker, knarr = (each.median("start") for each in samples)
    return Row(what, docker, knarr, "seconds")
