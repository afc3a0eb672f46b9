"""`run busybox true` on the bridge network: at the API, and through the docker CLI."""

import subprocess
import time

from bench import containers
from bench.sides import Side, Sides
from bench.statistics import Row, Target, alternate, rows

API = Target("≤ 1/10", 1 / 10)
CLI = Target("≤ 1/7", 1 / 7)


def api(sides: Sides, pairs: int) -> list[Row]:
    """create + start + wait + remove on one kept connection, and each of them."""
    samples = alternate(pairs, sides.both, lambda side: containers.run(side.client))
    words: dict[str, tuple[str, Target | None]] = {"all": ("run true, at the API", API)}
    words |= {name: (f"  {name}", None) for name in ("create", "start", "wait", "remove")}
    return rows(samples, words, "seconds")


def cli(sides: Sides, pairs: int) -> list[Row]:
    """`docker run --rm busybox true`."""

    def measure(side: Side) -> dict[str, float]:
        begin = time.perf_counter()
        argv = [sides.program, "run", "--rm", "busybox", "true"]
        subprocess.run(argv, env=side.daemon.environment(), check=True, capture_output=True)
        return {"all": time.perf_counter() - begin}

    samples = alternate(pairs, sides.both, measure)
    return rows(samples, {"all": ("docker run --rm busybox true", CLI)}, "seconds")
