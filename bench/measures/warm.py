"""12 steps that are all cached: at the front door, with each product's own client, and with the unmodified docker CLI on both sides.

At the front door one lean client, whose program has started, builds on both daemons: that is what the daemons differ in. The
docker CLI and buildx take most of their time for themselves, whoever serves them; what they take is told beside them.
"""

import socket
import subprocess
import tempfile
import time
from pathlib import Path

from tests.support.daemons import BIN

from bench.measures.builds import HALF, project, run, timed, told
from bench.sides import Side, Sides
from bench.statistics import Row, Target, alternate, rows
from knarr.api.client.http import Http
from knarr.build.client import calls, lending
from knarr.build.client.sending import Directories


def warm(sides: Sides, pairs: int) -> list[Row]:
    """All of it, on one project."""
    with tempfile.TemporaryDirectory(prefix="knarr-bench-") as directory:
        context = project(Path(directory))
        return [
            *_front_door(sides, pairs, context),
            *_own_clients(sides, pairs, context),
            *_unmodified(sides, pairs, context),
        ]


def _front_door(sides: Sides, pairs: int, context: Path) -> list[Row]:
    for side in sides.both:
        build(side, context)

    def measure(side: Side) -> dict[str, float]:
        begin = time.process_time()
        figures = timed(side, lambda: build(side, context))
        return {**figures, "client": time.process_time() - begin}

    samples = alternate(pairs, sides.both, measure)
    client = rows(samples, {"client": ("  CPU of the client", None)}, "seconds")
    return [*told(samples, "a build of 12 cached steps at the front door", HALF), *client]


def _own_clients(sides: Sides, pairs: int, context: Path) -> list[Row]:
    def measure(side: Side) -> dict[str, float]:
        begin = time.perf_counter()
        if side is sides.knarr:
            knarr = [str(BIN / "knarr"), "build", "--tag", "warm", str(context)]
            subprocess.run(knarr, env=side.daemon.environment(), capture_output=True, check=True)
        else:
            _docker_build(sides, side, context)
        return {"wall": time.perf_counter() - begin}

    for side in sides.both:
        measure(side)
    samples = alternate(pairs, sides.both, measure)
    return rows(samples, {"wall": ("12 cached steps: docker build, knarr build", HALF)}, "seconds")


def _unmodified(sides: Sides, pairs: int, context: Path) -> list[Row]:
    """The client by itself: what is left of `docker build` without the build that the lean client measures, in each pair."""

    def measure(side: Side) -> dict[str, float]:
        door = timed(side, lambda: build(side, context))["wall"]
        figures = timed(side, lambda: _docker_build(sides, side, context))
        return {**figures, "rest": figures["wall"] - door}

    for side in sides.both:
        _docker_build(sides, side, context)
    samples = alternate(pairs, sides.both, measure)
    start = alternate(pairs, sides.both, lambda side: _started(sides, side))
    words: dict[str, tuple[str, Target | None]] = {
        "wall": ("docker build on both, 12 cached steps", None),
        "rest": ("  without the build at the front door", None),
    }
    return [
        *rows(samples, words, "seconds"),
        *rows(start, {"wall": ("  buildx' start alone: docker buildx version", None)}, "seconds"),
    ]


def build(side: Side, context: Path) -> None:
    """By the lean client, in this process."""
    http = Http(f"unix://{side.daemon.socket}")
    ask = calls.Ask(
        attrs={"filename": "Dockerfile"},
        exporters=[calls.Kind("moby", {"name": "docker.io/library/warm:latest"})],
        shared_key=str(context),
    )
    roots = Directories({"context": str(context), "dockerfile": str(context)})
    services = [lending.health(), roots.service(), lending.credentials(lambda _: ("", ""))]

    def dial(path: str, headers: calls.Headers) -> tuple[socket.socket, bytes]:
        taken = http.hijack(path, protocol="h2c", repeated=headers)
        return taken.sock, taken.tail

    calls.build(dial, ask, services, lambda _: None)


def _docker_build(sides: Sides, side: Side, context: Path) -> None:
    run(sides, side, "build", "--tag", "warm", str(context))


def _started(sides: Sides, side: Side) -> dict[str, float]:
    return timed(side, lambda: run(sides, side, "buildx", "version"))
