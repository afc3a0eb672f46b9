"""`exec true` at the API: create, start until the stream ends, inspect."""

import time

from bench import containers
from bench.client import Failed
from bench.sides import Side, Sides
from bench.statistics import Row, Target, alternate, rows

TARGET = Target("≤ 1/5", 1 / 5)


def api(sides: Sides, pairs: int) -> list[Row]:
    """In one running container a side."""
    running = {side.name: containers.create(side.client, containers.SLEEP) for side in sides.both}
    try:
        for side in sides.both:
            containers.start(side.client, running[side.name])
        samples = alternate(pairs, sides.both, lambda side: _exec(side, running[side.name]))
    finally:
        for side in sides.both:
            containers.remove(side.client, running[side.name])
    words: dict[str, tuple[str, Target | None]] = {"all": ("exec true, at the API", TARGET)}
    return rows(samples, words, "seconds")


def _exec(side: Side, container: str) -> dict[str, float]:
    begin = time.perf_counter()
    body = {"Cmd": ["true"], "AttachStdout": True, "AttachStderr": True}
    made = side.client.request("POST", f"/containers/{container}/exec", body)["Id"]
    side.client.stream("POST", f"/exec/{made}/start", {"Detach": False, "Tty": False})
    while (code := side.client.request("GET", f"/exec/{made}/json")["ExitCode"]) is None:
        pass
    if code != 0:
        raise Failed(f"the exec on {side.name} exited with status {code}")
    return {"all": time.perf_counter() - begin}
