"""100 MB of lines through the json-file log, with the same rotation on both sides."""

from bench import containers
from bench.sides import Side, Sides
from bench.statistics import Row, Target, alternate, rows

TARGET = Target("≥ 1 time", 1, at_least=True)
SIZE, LINE = 100_000_000, 101
COMMAND = ("sh", "-c", f"yes {'x' * (LINE - 1)} | head -c {SIZE}")
LOG = {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}


def throughput(sides: Sides, pairs: int) -> list[Row]:
    """Bytes a second from start to the container's end."""

    def measure(side: Side) -> dict[str, float]:
        phases = containers.run(side.client, COMMAND, LogConfig=LOG)
        return {"speed": SIZE / (phases["start"] + phases["wait"])}

    samples = alternate(max(1, pairs // 5), sides.both, measure)
    return rows(samples, {"speed": ("log of 101-byte lines, json-file", TARGET)}, "bytes/s")
