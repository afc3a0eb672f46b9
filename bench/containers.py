"""What the benchmarks do with containers, at the API."""

import itertools
import time
from collections.abc import Sequence
from typing import Any

from bench.client import Client, Failed

SLEEP = ("sleep", "100000")


def create(client: Client, command: Sequence[str], **host_config: Any) -> str:
    """The new container's id."""
    body = {"Image": "busybox:latest", "Cmd": list(command), "HostConfig": host_config}
    made: str = client.request("POST", "/containers/create", body)["Id"]
    return made


def start(client: Client, container: str) -> None:
    """Returns when it runs."""
    client.request("POST", f"/containers/{container}/start")


def wait(client: Client, container: str) -> None:
    """Returns when it has ended with status 0."""
    code = client.request("POST", f"/containers/{container}/wait")["StatusCode"]
    if code != 0:
        raise Failed(f"the container exited with status {code}")


def remove(client: Client, container: str) -> None:
    """Whatever its state."""
    client.request("DELETE", f"/containers/{container}?force=1&v=1")


def run(client: Client, command: Sequence[str] = ("true",), **host_config: Any) -> dict[str, float]:
    """create + start + wait + remove; the seconds of each and of all."""
    moments = [time.perf_counter()]
    container = create(client, command, **host_config)
    moments.append(time.perf_counter())
    for step in (start, wait, remove):
        step(client, container)
        moments.append(time.perf_counter())
    phases = dict(zip(("create", "start", "wait", "remove"), _differences(moments), strict=True))
    return {"all": moments[-1] - moments[0], **phases}


def _differences(moments: Sequence[float]) -> list[float]:
    return [later - earlier for earlier, later in itertools.pairwise(moments)]
