"""knarrd is killed at random moments of a mixed load: nothing acknowledged is lost, no object leaks.

Containers of every stage, execs, files, commits, tags, pulls, networks and volumes at once. KNARR_KILLS is how many moments there are
(100 for a thorough run), KNARR_SEED which: a failure names its own.
"""

import contextlib
import io
import os
import random
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from bench.client import Client, Failed

from knarr.content.leases import DAY
from tests.faults.conftest import knarrd_on
from tests.faults.test_random_kills import recover_and_kill
from tests.support import host, images
from tests.support.daemons import Knarrd
from tests.support.registries import knarr_registry
from tests.support.remains import remains

KILLS = int(os.environ.get("KNARR_KILLS", "12"))
SEED = int(os.environ.get("KNARR_SEED", "20261124"))
LONGEST, LONGEST_RECOVERY, MOST_ANSWERS = 0.05, 0.8, 60
SLEEP = ["sleep", "100000"]


class Step(NamedTuple):
    """One request. Once it is answered `what` is `state`; without one it asks for something that leaves nothing."""

    ask: Callable[[Client], object]
    what: str = ""
    state: str = ""


Life = Callable[[str], Iterator[Step]]


@dataclass
class Worker:
    """Lives of objects one after the other until the daemon is gone: what was acknowledged, and what was on its way."""

    path: Path
    prefix: str
    life: Life
    certain: dict[str, str] = field(default_factory=dict)
    asked: Step | None = None
    broken: list[str] = field(default_factory=list)
    answers: int = 0

    def run(self) -> None:
        try:
            with Client(self.path) as client:
                for number in range(1000):
                    for step in self.life(f"{self.prefix}-{number}"):
                        self.asked = step
                        step.ask(client)
                        if step.what:
                            self.certain[step.what] = step.state
                        self.asked = None
                        self.answers += 1
        except Failed as failure:
            if "closed the connection" not in str(failure):
                self.broken.append(str(failure))
        except (ConnectionError, FileNotFoundError):
            pass

    def possible(self) -> Iterator[tuple[str, set[str]]]:
        """What each thing may be found as."""
        asked = self.asked
        for what, state in self.certain.items():
            states = {state}
            if asked is not None and asked.what == what:
                states |= {asked.state, "exited"}  # of a start that was cut off, or of a removal by force
            yield what, states
        if asked is not None and asked.what and asked.what not in self.certain:
            yield asked.what, {"gone", asked.state}


def post(target: str, body: object = None, what: str = "", state: str = "") -> Step:
    """A POST."""
    return Step(lambda client: client.request("POST", target, body), what, state)


def delete(target: str, what: str, state: str = "gone") -> Step:
    """A DELETE."""
    return Step(lambda client: client.request("DELETE", target), what, state)


def container(name: str, **host_config: Any) -> Step:
    """A sleeping one."""
    body = {"Image": "busybox", "Cmd": SLEEP, "HostConfig": host_config}
    return post(f"/containers/create?name={name}", body, f"container {name}", "created")


def lives(name: str) -> Iterator[Step]:
    """create, start, exec, cp, stop, rm."""
    what = f"container {name}"
    yield container(name, PortBindings={"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}, Binds=["/data"])
    yield post(f"/containers/{name}/start", None, what, "running")
    yield Step(lambda client: execute(client, name))
    data = tar_of("kept", name.encode())
    yield Step(
        lambda client: client.request("PUT", f"/containers/{name}/archive?path=/root", data),
        f"file {name}",
        "there",
    )
    yield post(f"/containers/{name}/stop?t=0", None, what, "exited")
    yield Step(lambda client: client.request("DELETE", f"/containers/{name}?v=1"), what, "gone")


def commits(name: str) -> Iterator[Step]:
    """create, commit, tag, rmi, rm."""
    yield container(name, NetworkMode="none")
    yield post(f"/commit?container={name}&repo={name}&tag=one", {}, f"image {name}:one", "there")
    yield post(f"/images/{name}:one/tag?repo={name}&tag=two", None, f"image {name}:two", "there")
    yield delete(f"/images/{name}:one", f"image {name}:one")
    yield delete(f"/images/{name}:two", f"image {name}:two")
    yield delete(f"/containers/{name}", f"container {name}")


def networks(name: str) -> Iterator[Step]:
    """network create, run there, connect and disconnect another, rm, network rm."""
    yield post("/networks/create", {"Name": name}, f"network {name}", "there")
    yield container(name, NetworkMode=name)
    yield post(f"/containers/{name}/start", None, f"container {name}", "running")
    yield post("/networks/bridge/connect", {"Container": name})
    yield post(f"/networks/{name}/disconnect", {"Container": name})
    yield delete(f"/networks/{name}", f"network {name}")
    yield delete(f"/containers/{name}?force=1", f"container {name}")


def volumes(name: str) -> Iterator[Step]:
    """volume create, a container on it, rm, volume rm."""
    yield post("/volumes/create", {"Name": name}, f"volume {name}", "there")
    yield container(name, NetworkMode="none", Binds=[f"{name}:/data"])
    yield post(f"/containers/{name}/start", None, f"container {name}", "running")
    yield delete(f"/containers/{name}?force=1", f"container {name}")
    yield delete(f"/volumes/{name}", f"volume {name}")


def pulls(port: int) -> Life:
    """pull, rmi."""

    def life(name: str) -> Iterator[Step]:
        there = f"127.0.0.1:{port}/load"
        yield Step(lambda client: pulled(client, there), f"image {there}:latest", "there")
        yield delete(f"/images/{there}:latest", f"image {there}:latest")

    return life


def execute(client: Client, name: str) -> None:
    """An exec to its end, which has its exit code."""
    made = client.request(
        "POST", f"/containers/{name}/exec", {"Cmd": ["sh", "-c", "exit 3"], "AttachStdout": True}
    )
    client.stream("POST", f"/exec/{made['Id']}/start", {"Detach": False, "Tty": False})
    while (code := client.request("GET", f"/exec/{made['Id']}/json")["ExitCode"]) is None:
        time.sleep(0.001)
    if code != 3:
        raise Failed(f"an exec of {name} ended with {code}")


def pulled(client: Client, name: str) -> None:
    """To the end of the stream."""
    for line in client.lines("POST", f"/images/create?fromImage={name}&tag=latest"):
        if "error" in line:
            raise Failed(f"cannot pull: {line['error']}")


def tar_of(name: str, data: bytes) -> bytes:
    """One file."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


@pytest.fixture
def loaded(busybox: Path, tmp_path: Path) -> Iterator[tuple[Knarrd, int]]:
    """A knarrd, and the port of a registry that has the image `load`."""
    with knarr_registry(tmp_path) as port:
        made = images.image([images.layer(images.noise(seed, 60, 4 << 10)) for seed in range(2)])
        images.push(port, "load", made)
        with knarrd_on("ktfault0", "10.233.68.0/26", busybox) as knarrd:
            yield knarrd, port


@pytest.mark.timeout(120 + 12 * KILLS)
def test_killed_under_a_mixed_load(loaded: tuple[Knarrd, int]) -> None:
    daemon, port = loaded
    moments = random.Random(SEED)
    before, links, tables = stored(daemon), host.links(), host.nft("list", "tables")
    seen: set[tuple[str, str]] = set()
    for number in range(KILLS):
        moment = moments.randint(0, MOST_ANSWERS), moments.uniform(0, LONGEST)
        kinds: list[Life] = [lives, lives, commits, networks, volumes, pulls(port)]
        workers = [Worker(daemon.socket, f"r{number}w{at}", life) for at, life in enumerate(kinds)]
        work_and_kill(daemon, workers, *moment)
        if number % 3 == 2:
            recover_and_kill(daemon, moments.uniform(0, LONGEST_RECOVERY))
        daemon.start()
        where = f"seed {SEED}, kill {number}: {moment[1]:.4f} s after answer {moment[0]}"
        print(where)
        found = present(daemon)
        for worker in workers:
            assert not worker.broken, where
            for what, states in worker.possible():
                state = "there" if holds(daemon, what, found) else found.get(what, "gone")
                if not (what.startswith("file ") and f"container {what[5:]}" not in found):
                    assert state in states, (where, what, states, worker.asked)
                seen.add((what.partition(" ")[0], worker.certain.get(what, "")))
        clear(daemon)
        a_day_passes(daemon)
        host.settle(lambda: remains(daemon))
        assert stored(daemon) - before == set(), where
        host.settle(lambda: host.links() - links)
        assert host.nft("list", "tables") == tables, where
    wanted = {(kind, "gone") for kind in ("container", "image", "network", "volume")}
    assert wanted <= seen, "the load did not come as far as a removal of each kind"
    assert any(kind == "file" for kind, _ in seen)


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


def present(daemon: Knarrd) -> dict[str, str]:
    """What there is, and as what."""
    with Client(daemon.socket) as client:
        listed = client.request("GET", "/containers/json?all=1")
        found = {f"container {each['Names'][0].lstrip('/')}": each["State"] for each in listed}
        tags = [tag for each in client.request("GET", "/images/json") for tag in each["RepoTags"] or ()]
        nets = [each["Name"] for each in client.request("GET", "/networks")]
        vols = [each["Name"] for each in client.request("GET", "/volumes")["Volumes"] or ()]
    for kind, names in (("image", tags), ("network", nets), ("volume", vols)):
        found |= {f"{kind} {name}": "there" for name in names}
    return found


def holds(daemon: Knarrd, what: str, found: dict[str, str]) -> bool:
    """Whether a container that is there has the file that was copied into it."""
    kind, _, name = what.partition(" ")
    if kind != "file" or f"container {name}" not in found:
        return False
    status, _ = daemon.api("HEAD", f"/containers/{name}/archive?path=/root/kept")
    return status == 200


def clear(daemon: Knarrd) -> None:
    """Removes whatever there is but busybox."""
    with Client(daemon.socket) as client:
        for each in client.request("GET", "/containers/json?all=1"):
            client.request("DELETE", f"/containers/{each['Id']}?force=1&v=1")
        for each in client.request("GET", "/images/json"):
            for tag in each["RepoTags"] or [each["Id"]]:
                if not tag.startswith("busybox:"):
                    client.request("DELETE", f"/images/{tag}?force=1")
        client.request("POST", "/networks/prune")
        client.request("POST", "/volumes/prune?filters=%7B%22all%22%3A%5B%22true%22%5D%7D")


def a_day_passes(daemon: Knarrd) -> None:
    """What a pull that was broken off had fetched is kept for so long; the next prune finds it old."""
    old = time.time() - 2 * DAY
    for place in ("leases", "content"):
        for path in (daemon.data_root / place).rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                os.utime(path, (old, old))
    with Client(daemon.socket) as client:
        client.request("POST", "/images/prune")


def stored(daemon: Knarrd) -> set[str]:
    """The files of images: blobs, downloads, layers."""
    places = ("content", "snapshots")
    done = subprocess.run(
        [
            "find",
            *places,
            "-mindepth",
            "1",
            "-maxdepth",
            "4",
            "-not",
            "-path",
            "*/diff/*",
            "-not",
            "-path",
            "*/fs/*",
        ],
        cwd=daemon.data_root,
        capture_output=True,
        text=True,
        check=False,
    )
    return set(done.stdout.split())
