"""The CPU time of `ps`: docker's client against dockerd, ours against knarrd, one container running on each."""

import os
import subprocess

from tests.support.daemons import BIN

from bench import containers
from bench.sides import Side, Sides
from bench.statistics import Row, Target, alternate, rows

TARGET = Target("≤ 40 ms", 0.040, relative=False)


def cpu(sides: Sides, pairs: int) -> list[Row]:
    """User and system time of the client's process."""

    def measure(side: Side) -> dict[str, float]:
        program = sides.program if side is sides.docker else str(BIN / "knarr")
        process = subprocess.Popen([program, "ps"], env=side.daemon.environment(), stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise RuntimeError(f"{program} ps exited with status {process.returncode}")
        return {"cpu": used.ru_utime + used.ru_stime}

    made = [containers.create(side.client, containers.SLEEP) for side in sides.both]
    try:
        for side, container in zip(sides.both, made, strict=True):
            containers.start(side.client, container)
        samples = alternate(pairs, sides.both, measure)
    finally:
        for side, container in zip(sides.both, made, strict=True):
            containers.remove(side.client, container)
    return rows(samples, {"cpu": ("docker ps, knarr ps: CPU", TARGET)}, "seconds")
