"""`ps`: docker's client against dockerd, ours against knarrd, one container running on each."""

import os
import subprocess
import time

from tests.support.daemons import BIN, CLIENTS

from bench import containers
from bench.sides import Side, Sides
from bench.statistics import Row, Target, alternate, rows

TARGET = Target("≤ 40 ms", 0.040, relative=False)
_DOCKER = str(CLIENTS / "usr/bin/docker")
"""Of dockerd's own release: what --docker names may be a static program that starts much faster, or slower."""

NO_SLOWER = Target("≤ 1 time", 1)


def cpu(sides: Sides, pairs: int) -> list[Row]:
    """Of the client's process: user and system time, and how long one waits for it."""
    made = [containers.create(side.client, containers.SLEEP) for side in sides.both]
    try:
        for side, container in zip(sides.both, made, strict=True):
            containers.start(side.client, container)
        samples = alternate(pairs, sides.both, lambda side: cpu_of(side, "ps"))
    finally:
        for side, container in zip(sides.both, made, strict=True):
            containers.remove(side.client, container)
    words: dict[str, tuple[str, Target | None]] = {"cpu": ("docker ps, knarr ps: CPU", TARGET)}
    return rows(samples, words | {"wall": ("  from start to end", NO_SLOWER)}, "seconds")


def cpu_of(side: Side, *words: str) -> dict[str, float]:
    """One command of the side's own client."""
    program = _DOCKER if side.name == "dockerd" else str(BIN / "knarr")
    begin = time.perf_counter()
    process = subprocess.Popen([program, *words], env=side.daemon.environment(), stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{program} {' '.join(words)} exited with status {process.returncode}")
    return {"cpu": used.ru_utime + used.ru_stime, "wall": wall}
