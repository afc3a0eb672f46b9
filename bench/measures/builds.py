"""`docker build` by the unmodified client with buildx, the same on both sides: a cold cache, and eight builds at once.

Cold is after `docker builder prune --all`, without the image of the last time and with the base present. What the daemon's
processes worked is told beside it. A warm cache is measured in `warm`.
"""

import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.cpu import worked
from bench.sides import Side, Sides
from bench.statistics import Row, Samples, Target, alternate, rows

NO_SLOWER = Target("≤ 1 time", 1)
HALF = Target("≤ 1/2", 1 / 2)
MANY = 8

_STEPS = """\
FROM busybox
WORKDIR /app
COPY requirements .
RUN mkdir -p /var/lib/app /var/log/app
RUN cat requirements | sort > /etc/requirements
COPY src ./src
RUN find src -name '*.py' | sort > files
RUN cat src/*.py | md5sum > sum
RUN tar -cf /var/lib/app/src.tar src
COPY --chown=1000 config /etc/app
RUN chown -R 1000 /var/lib/app
"""
_WORDS = """\
ENV APP_HOME=/app LANG=C.UTF-8
EXPOSE 8000
USER 1000
CMD ["cat", "/app/sum"]
"""


def cold(sides: Sides, pairs: int) -> list[Row]:
    """The same without a cache."""
    with tempfile.TemporaryDirectory(prefix="knarr-bench-") as directory:
        context = project(Path(directory))

        def measure(side: Side) -> dict[str, float]:
            forget(sides, side)
            return timed(side, lambda: _build(sides, side, context))

        samples = alternate(max(1, pairs // 3), sides.both, measure)
    return told(samples, "docker build, 12 steps, nothing cached", NO_SLOWER)


def many(sides: Sides, pairs: int) -> list[Row]:
    """Eight different projects of 12 steps at once, without a cache."""
    with tempfile.TemporaryDirectory(prefix="knarr-bench-") as directory:
        contexts = [project(Path(directory, str(number)), f"{number}\n") for number in range(MANY)]

        def measure(side: Side) -> dict[str, float]:
            forget(sides, side, MANY)
            with ThreadPoolExecutor(MANY) as pool:

                def all_of_them() -> None:
                    names = (f"bench{number}" for number in range(MANY))
                    list(
                        pool.map(lambda words: _build(sides, side, *words), zip(contexts, names, strict=True))
                    )

                return timed(side, all_of_them)

        samples = alternate(max(1, pairs // 5), sides.both, measure)
    return told(samples, f"{MANY} docker builds at once, nothing cached", NO_SLOWER)


def project(directory: Path, salt: str = "") -> Path:
    """A small application of 200 files; with another `salt` nothing of it is the same to a cache."""
    (directory / "src").mkdir(parents=True)
    for number in range(200):
        (directory / f"src/module{number}.py").write_text(f"{salt}value = {number}\n" * 200)
    (directory / "requirements").write_text(f"{salt}flask\nredis\n")
    (directory / "config").write_text(f"{salt}port = 8000\n")
    mark = f"RUN echo {salt.strip()} > /etc/salt\n"
    (directory / "Dockerfile").write_text(_STEPS.replace("WORKDIR", f"{mark}WORKDIR", 1) + _WORDS)
    return directory


def forget(sides: Sides, side: Side, count: int = 0) -> None:
    """No image of ours, no cache."""
    names = ["bench", *(f"bench{number}" for number in range(count))]
    subprocess.run(
        [sides.program, "rmi", "-f", *names], env=side.daemon.environment(), check=False, capture_output=True
    )
    run(sides, side, "builder", "prune", "--all", "--force")


def timed(side: Side, work: Callable[[], None]) -> dict[str, float]:
    """From start to end, and what the daemon's processes worked meanwhile."""
    cpu, begin = worked(side.daemon.pids), time.perf_counter()
    work()
    wall = time.perf_counter() - begin
    return {"wall": wall, "cpu": worked(side.daemon.pids) - cpu}


def told(samples: Sequence[Samples], what: str, target: Target | None) -> list[Row]:
    """The rows of `timed`."""
    return rows(
        samples, {"wall": (what, target), "cpu": ("  CPU of the daemon's processes", None)}, "seconds"
    )


def run(sides: Sides, side: Side, *words: str) -> None:
    """The client, which must succeed."""
    done = subprocess.run(
        [sides.program, *words], env=side.daemon.environment(), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{side.name}: docker {' '.join(words)}\n{done.stderr[-2000:]}")


def _build(sides: Sides, side: Side, context: Path, name: str = "bench") -> None:
    run(sides, side, "build", "--tag", name, str(context))
