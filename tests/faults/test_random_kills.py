"""knarrd is killed at random moments of containers' lives: nothing acknowledged is lost, nothing is leaked.

The network has 13 addresses: a leaked one a round would end the test.
"""

import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from bench.client import Client, Failed

from tests.faults.conftest import knarrd_on
from tests.support import host
from tests.support.daemons import Knarrd
from tests.support.remains import remains

ROUNDS, WORKERS, SEED = 32, 3, 20240229
MOST_ANSWERS, LONGEST, LONGEST_RECOVERY = 15, 0.02, 0.8
BODY = {
    "Image": "busybox",
    "Cmd": ["sleep", "100000"],
    "Volumes": {"/data": {}},
    "HostConfig": {"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}},
}
STEPS = (
    ("created", "POST", "/containers/create?name={name}", BODY),
    ("running", "POST", "/containers/{name}/start", None),
    ("exited", "POST", "/containers/{name}/stop?t=0", None),
    ("gone", "DELETE", "/containers/{name}?v=1", None),
)
# What may be found after the last answer; a start that was cut off may count as a life that ended.
NEXT = {
    "": {"gone", "created"},
    "created": {"created", "running", "exited"},
    "running": {"running", "exited"},
    "exited": {"exited", "gone"},
    "gone": {"gone"},
}


@dataclass
class Worker:
    """Lives of containers one after the other until the daemon is gone; `acknowledged` is each one's last answer."""

    path: Path
    prefix: str
    acknowledged: dict[str, str] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    answers: int = 0

    def run(self) -> None:
        try:
            with Client(self.path) as client:
                for number in range(1000):
                    name = f"{self.prefix}-{number}"
                    self.acknowledged[name] = ""
                    for state, method, target, body in STEPS:
                        client.request(method, target.format(name=name), body)
                        self.acknowledged[name] = state
                        self.answers += 1
        except Failed as failure:
            if "closed the connection" not in str(failure):
                self.broken.append(str(failure))
        except (ConnectionError, FileNotFoundError):
            pass


@pytest.fixture
def small(busybox: Path) -> Iterator[Knarrd]:
    """A knarrd with few addresses."""
    with knarrd_on("ktfault0", "10.233.66.0/28", busybox) as knarrd:
        yield knarrd


@pytest.mark.timeout(600)
def test_killed_at_random_moments(small: Knarrd) -> None:
    moments = random.Random(SEED)
    seen = set()
    for number in range(ROUNDS):
        moment = moments.randint(0, MOST_ANSWERS), moments.uniform(0, LONGEST)
        workers = [Worker(small.socket, f"r{number}w{index}") for index in range(WORKERS)]
        work_and_kill(small, workers, *moment)
        if number % 3 == 0:
            recover_and_kill(small, moments.uniform(0, LONGEST_RECOVERY))
        small.start()
        states = statuses(small)
        print(f"round {number}: killed {moment[1]:.4f} s after answer {moment[0]}: {states}")
        for worker in workers:
            assert not worker.broken, (number, moment)
            for name, acknowledged in worker.acknowledged.items():
                assert states.get(name, "gone") in NEXT[acknowledged], (number, moment, name, acknowledged)
                seen.add(acknowledged)
        small.remove_containers()
        host.settle(lambda: without_volumes(small))
    assert "gone" in seen, "no round came as far as a removal"
    small.docker("volume", "prune", "-f", "-a")
    host.settle(lambda: remains(small))
    for index in range(12):
        small.docker("run", "-d", "--name", f"last{index}", "busybox", "sleep", "100000")


def work_and_kill(daemon: Knarrd, workers: list[Worker], answers: int, delay: float) -> None:
    """Kills the daemon `delay` seconds after the workers have got so many answers."""
    threads = [threading.Thread(target=worker.run) for worker in workers]
    for thread in threads:
        thread.start()
    host.wait_for(lambda: sum(worker.answers for worker in workers) >= answers, "answers")
    time.sleep(delay)  # the random moment itself, not a wait for something
    daemon.kill()
    for thread in threads:
        thread.join()


def recover_and_kill(daemon: Knarrd, delay: float) -> None:
    """Kills the next daemon too, while it cleans up behind the one that was killed."""
    daemon.begin()
    time.sleep(delay)  # as above
    daemon.kill()


def statuses(daemon: Knarrd) -> dict[str, str]:
    """name → status of every container."""
    with Client(daemon.socket) as client:
        listed = client.request("GET", "/containers/json?all=1")
    return {each["Names"][0].lstrip("/"): each["State"] for each in listed}


def without_volumes(daemon: Knarrd) -> dict[str, set[str]]:
    """What remains, but for volumes: an unacknowledged remove may have kept its anonymous volume."""
    found = remains(daemon)
    kept = {kind: {each for each in things if "volumes" not in each} for kind, things in found.items()}
    return {kind: things for kind, things in kept.items() if things}
