"""A context of 20,000 files and 300 MB: copied into an image, sent and hashed once more, sent again when little has changed.

`docker build` first sends it all and copies it (nothing is cached); then every file is touched, so that all of it is sent and
hashed and the copy found in the cache; then nothing is touched; then one file is written. Before that, it is once watched:
what others wait meanwhile, and what memory it takes.
"""

import os
import random
import tempfile
from pathlib import Path

from bench.measures.builds import forget, run, timed, told
from bench.sides import Side, Sides
from bench.statistics import Row, Samples, Target, alternate, rows
from bench.watching import Watch

NO_SLOWER = Target("≤ 1 time", 1)
FILES, SIZE, DIRECTORIES = 20_000, 15_000, 400
_PIECES = 4096
_WORDS = {
    "first": ("sent, copied into an image", None),
    "touched": ("every file touched: sent and hashed, the rest cached", NO_SLOWER),
    "same": ("nothing touched", NO_SLOWER),
    "one": ("one file changed: copied anew", None),
}


def sent(sides: Sides, pairs: int) -> list[Row]:
    """One round is all four."""
    with tempfile.TemporaryDirectory(prefix="knarr-bench-") as directory:
        context = Path(directory)
        _fill(context)
        count = 0

        def build(side: Side) -> dict[str, float]:
            return timed(side, lambda: run(sides, side, "build", "--tag", "bench", directory))

        def measure(side: Side) -> dict[str, float]:
            nonlocal count
            figures: dict[str, float] = {}
            forget(sides, side)
            for name in _WORDS:
                count += 1
                if name == "touched":
                    _touch(context, count)
                if name == "one":
                    (context / "0/0").write_text(f"{count}\n")
                figures |= {f"{name} {key}": value for key, value in build(side).items()}
            return figures

        def watched(side: Side) -> dict[str, float]:
            """After a small build: a daemon's first one loads what it builds with."""
            run(sides, side, "build", "--tag", "bench", f"{directory}/0")
            forget(sides, side)
            with Watch(side) as watch:
                run(sides, side, "build", "--tag", "bench", directory)
            return {"slowest": watch.slowest, "peak": watch.peak}

        seen = alternate(1, sides.both, watched)  # first: memory that a daemon once had it may keep
        samples = alternate(max(1, pairs // 5), sides.both, measure)
    return [
        *(row for name, (what, target) in _WORDS.items() for row in told(_of(samples, name), what, target)),
        *rows(
            seen, {"slowest": ("  first, meanwhile: the slowest GET /containers/json", NO_SLOWER)}, "seconds"
        ),
        *rows(seen, {"peak": ("  first: memory above the idle daemon's, PSS", NO_SLOWER)}, "bytes"),
    ]


def _of(samples: list[Samples], name: str) -> list[Samples]:
    return [Samples({key: each.values[f"{name} {key}"] for key in ("wall", "cpu")}) for each in samples]


def _fill(context: Path) -> None:
    """Text as sources are: it compresses to about a third. No file is like another."""
    source = random.Random(20_000)
    words = [source.randbytes(source.randint(1, 6)).hex() for _ in range(_PIECES)]
    for number in range(FILES):
        path = context / str(number % DIRECTORIES) / str(number)
        path.parent.mkdir(exist_ok=True)
        text = " ".join(source.choices(words, k=SIZE // 8))
        path.write_text(f"{number} {text}"[:SIZE].ljust(SIZE, "."))
    for place in (context, context / "0"):
        (place / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")


def _touch(context: Path, count: int) -> None:
    moment = 1_700_000_000 + count
    for number in range(FILES):
        os.utime(context / str(number % DIRECTORIES) / str(number), (moment, moment))
