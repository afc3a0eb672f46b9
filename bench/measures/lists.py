"""`GET /containers/json` and `ps -a` with 500 containers: first all of them created, then as many as fit running."""

import os
import time
from contextlib import ExitStack

from bench import crowds
from bench.measures.ps import cpu_of
from bench.sides import Side, Sides
from bench.statistics import Row, Target, alternate, rows

NO_SLOWER = Target("≤ 1 time", 1)
COUNT = 500
_FOR_EACH = 24 << 20
"""Bytes of memory: what a running container costs dockerd, its shim and the process; and as much again for the host."""


def created(sides: Sides, pairs: int) -> list[Row]:
    """None of them runs."""
    with ExitStack() as stack:
        for side in sides.both:
            stack.enter_context(crowds.created(side, COUNT))
        return _rows(sides, pairs, f"{COUNT} created")


def running(sides: Sides, pairs: int) -> list[Row]:
    """As many as the machine has memory for."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    count = max(1, min(COUNT, free // 2 // _FOR_EACH))
    with ExitStack() as stack:
        for side in sides.both:
            stack.enter_context(crowds.running(side, count))
        return _rows(sides, pairs, f"{count} running")


def _rows(sides: Sides, pairs: int, crowd: str) -> list[Row]:
    def listed(side: Side) -> dict[str, float]:
        begin = time.perf_counter()
        side.client.request("GET", "/containers/json?all=1", lines=True)
        return {"list": time.perf_counter() - begin}

    answers = alternate(pairs, sides.both, listed)
    clients = alternate(pairs, sides.both, lambda side: cpu_of(side, "ps", "-a"))
    return [
        *rows(answers, {"list": (f"GET /containers/json, {crowd}", NO_SLOWER)}, "seconds"),
        *rows(
            clients,
            {"wall": (f"  docker ps -a, knarr ps -a, {crowd}", None), "cpu": ("    their CPU", None)},
            "seconds",
        ),
    ]
