"""A pull of about 100 MB (four layers, 9,000 files) from a registry on the loopback interface."""

import tempfile
import time
from pathlib import Path

from tests.support import images
from tests.support.registries import knarr_registry

from bench.client import Failed
from bench.sides import Side, Sides
from bench.statistics import Row, Target, alternate, rows

TARGET = Target("≤ 1/2", 1 / 2)
LAYERS, FILES, FILE_SIZE = 4, 2250, 24 << 10


def loopback(sides: Sides, pairs: int) -> list[Row]:
    """Until the image can be run; its removal is not counted."""
    made = images.image([images.layer(images.noise(seed, FILES, FILE_SIZE)) for seed in range(LAYERS)])
    size = sum(map(len, made.blobs.values()))
    with tempfile.TemporaryDirectory(prefix="knarr-bench-") as directory:
        with knarr_registry(Path(directory)) as port:
            images.push(port, "bench", made)
            samples = alternate(max(1, pairs // 5), sides.both, lambda side: _pull(side, port))
    return rows(samples, {"all": (f"pull of {size / 1e6:.0f} MB from loopback", TARGET)}, "seconds")


def _pull(side: Side, port: int) -> dict[str, float]:
    name = f"127.0.0.1:{port}/bench"
    begin = time.perf_counter()
    told = side.client.lines("POST", f"/images/create?fromImage={name}&tag=latest")
    seconds = time.perf_counter() - begin
    for line in told:
        if "error" in line:
            raise Failed(f"{side.name} cannot pull: {line['error']}")
    side.client.request("DELETE", f"/images/{name}:latest?force=1")
    return {"all": seconds}
