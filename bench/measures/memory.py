"""Memory: of an idle daemon with its helpers (RSS), and what each container with a published port adds to the host (PSS)."""

import os
import re
import time
from pathlib import Path

from tests.support import host

from bench import containers
from bench.sides import Side, Sides
from bench.statistics import Row, Target

IDLE = Target("≤ 70 MB", 70e6, relative=False)
ADDED = Target("≤ 2 MB", 2e6, relative=False)
COUNT = 10
QUIET = 2.0


def idle(sides: Sides, pairs: int) -> list[Row]:
    """All processes of both daemons while nothing runs: an image came, a container ran, and all is quiet again."""
    for side in sides.both:
        containers.run(side.client)
    time.sleep(QUIET)
    docker, knarr = (sum(_kilobytes(pid, "Rss") for pid in side.daemon.pids) * 1024.0 for side in sides.both)
    return [Row("idle daemon and its helpers, RSS", docker, knarr, "bytes", IDLE)]


def added(sides: Sides, pairs: int) -> list[Row]:
    """Ten containers with one published port each; the containers' own processes are not counted."""
    docker, knarr = (_added(side) for side in sides.both)
    return [Row("each container with a port adds, PSS", docker, knarr, "bytes", ADDED)]


def _added(side: Side) -> float:
    before = side.daemon.pids
    made: list[str] = []
    try:
        for _ in range(COUNT):
            made.append(
                containers.create(side.client, containers.SLEEP, PortBindings={"80/tcp": [{"HostPort": ""}]})
            )
            containers.start(side.client, made[-1])
        helpers = {_parent(_pid(side, container)) for container in made}
        helpers |= side.daemon.pids - before
        return sum(_kilobytes(pid, "Pss") for pid in helpers if _counts(pid)) * 1024.0 / COUNT
    finally:
        for container in made:
            containers.remove(side.client, container)


def _pid(side: Side, container: str) -> int:
    pid: int = side.client.request("GET", f"/containers/{container}/json")["State"]["Pid"]
    return pid


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _counts(pid: int) -> bool:
    """Not what runs inside, and not the zygote's next child, which takes the place of one that was there before."""
    contained = os.readlink(f"/proc/{pid}/ns/pid") != os.readlink("/proc/self/ns/pid")
    return not contained and host.comm(pid) != "knarr-zygote"


def _kilobytes(pid: int, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    return int(found[1]) if found else 0
