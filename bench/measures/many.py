"""Many containers: how many start in a second, and what a start costs when a hundred already run."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from bench import containers
from bench.client import Client
from bench.sides import Side, Sides
from bench.statistics import Row, Target, alternate, rows

RATE = Target("≥ 5 times", 5, at_least=True)
COUNT, AT_ONCE, RUNNING = 50, 10, 100


def rate(sides: Sides, pairs: int) -> list[Row]:
    """50 containers created and started, 10 at a time; their removal is not counted."""

    def measure(side: Side) -> dict[str, float]:
        begin = time.perf_counter()
        with _running(side, COUNT):
            return {"rate": COUNT / (time.perf_counter() - begin)}

    samples = alternate(max(1, pairs // 5), sides.both, measure)
    return rows(samples, {"rate": ("containers started, 10 at a time", RATE)}, "/s")


def crowd(sides: Sides, pairs: int) -> list[Row]:
    """`run true` with none and with 100 running on both sides."""
    alone = alternate(pairs, sides.both, lambda side: containers.run(side.client))
    with _running(sides.docker, RUNNING), _running(sides.knarr, RUNNING):
        beside = alternate(pairs, sides.both, lambda side: containers.run(side.client))
    docker, knarr = (
        (one.median("all") or 0, many.median("all") or 0) for one, many in zip(alone, beside, strict=True)
    )
    return [
        Row("run true, none running", docker[0], knarr[0], "seconds"),
        Row(f"run true, {RUNNING} running", docker[1], knarr[1], "seconds"),
        Row("  that is times as long", docker[1] / docker[0], knarr[1] / knarr[0], "times"),
    ]


@contextmanager
def _running(side: Side, count: int) -> Iterator[list[str]]:
    """`count` sleeping containers."""
    made: list[str] = []

    def start(client: Client) -> None:
        container = containers.create(client, containers.SLEEP)
        made.append(container)
        containers.start(client, container)

    try:
        _each(side, start, [()] * count)
        yield made
    finally:
        _each(side, containers.remove, [(container,) for container in made])


def _each(side: Side, work: Callable[..., None], arguments: list[tuple[str, ...]]) -> None:
    """Does it for all arguments, 10 at a time, each time on a connection that is kept for the next."""
    clients = [Client(side.daemon.socket) for _ in range(AT_ONCE)]
    free = list(clients)

    def one(words: tuple[str, ...]) -> None:
        client = free.pop()
        try:
            work(client, *words)
        finally:
            free.append(client)

    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(one, arguments))
    finally:
        for client in clients:
            client.close()
