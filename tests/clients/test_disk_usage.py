"""`docker system df` and the prunes: what is told adds up to what is on disk, and what is pruned is gone."""

import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import host
from tests.support.daemons import Daemon, Dockerd

MIB = 1 << 20


def root(seed: int, size: int) -> bytes:
    """A tar of one file that cannot be compressed."""
    import random

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        entry = tarfile.TarInfo(f"noise{seed}")
        entry.size = size
        tar.addfile(entry, io.BytesIO(random.Random(seed).randbytes(size)))
    return out.getvalue()


@pytest.fixture
def full(daemon: Daemon) -> Iterator[Daemon]:
    """Two images, one on the other, a volume and a container with files of known sizes."""
    daemon.docker("buildx", "history", "rm", "--all")  # what earlier builds' records keep is no image's
    daemon.docker("builder", "prune", "-af")
    daemon.docker("import", "-", "df:base", data=root(1, 6 * MIB))
    daemon.docker(
        "run", "--name", "maker", "busybox", "sh", "-c", "dd if=/dev/urandom of=/made bs=1M count=3"
    )
    daemon.docker("commit", "maker", "df:made")
    daemon.docker("rm", "maker")
    script = "dd if=/dev/urandom of=/own bs=1M count=4; dd if=/dev/urandom of=/v/file bs=1M count=5; ln /v/file /v/too"
    daemon.docker("run", "--name", "writer", "-v", "sized:/v", "df:made", "sh", "-c", script)
    yield daemon
    daemon.remove_containers()
    daemon.docker("volume", "prune", "-af")
    for name in ("df:base", "df:made"):
        daemon.docker("rmi", "-f", name, check=False)


def usage(daemon: Daemon) -> dict[str, Any]:
    """GET /system/df"""
    status, value = daemon.api("GET", "/v1.51/system/df")
    assert status == 200
    return value  # type: ignore[no-any-return]


def on_disk(directory: Path) -> int:
    """Bytes of whole blocks, each file once, as du(1) counts; the database is the daemon's own."""
    total, seen = 0, set()
    for where, _, names in os.walk(directory):
        for name in names:
            if name.startswith("state.db"):
                continue
            found = os.lstat(Path(where) / name)
            if (found.st_dev, found.st_ino) not in seen:
                seen.add((found.st_dev, found.st_ino))
                total += found.st_blocks * 512
    return total


def near(told: int, real: int, part: float = 0.05) -> bool:
    """Within a few percent."""
    return abs(told - real) <= part * real


def test_what_is_told_of_each(full: Daemon) -> None:
    told = usage(full)
    images = {(each["RepoTags"] or ["-"])[0]: each for each in told["Images"]}
    made, busybox = images["df:made"], images["busybox:latest"]
    assert made["Containers"] == 1
    assert near(made["Size"] - made["SharedSize"], 3 * MIB * (1 if isinstance(full, Dockerd) else 2))
    assert made["SharedSize"] == busybox["SharedSize"] > 0
    (container,) = told["Containers"]
    assert near(container["SizeRw"], 4 * MIB)
    (volume,) = [each for each in told["Volumes"] if each["Name"] == "sized"]
    assert near(volume["UsageData"]["Size"], 5 * MIB)
    assert volume["UsageData"]["RefCount"] == 1
    assert told["BuildCache"] == []


def test_it_adds_up_to_what_is_on_disk(full: Daemon) -> None:
    if isinstance(full, Dockerd):
        pytest.skip("dockerd keeps caches of its own below its root")
    told = usage(full)
    unique = sum(each["Size"] - each["SharedSize"] for each in told["Images"])
    assert unique < told["LayersSize"] <= sum(each["Size"] for each in told["Images"])
    total = (
        told["LayersSize"]
        + sum(each["SizeRw"] for each in told["Containers"])
        + sum(each["UsageData"]["Size"] for each in told["Volumes"])
    )
    # What was removed just before is still on its way out.
    host.settle(lambda: set() if near(total, on_disk(full.data_root)) else {on_disk(full.data_root)})


def test_df_as_the_cli_shows_it(full: Daemon) -> None:
    rows = {
        row["Type"]: row
        for row in map(json.loads, full.docker("system", "df", "--format", "{{json .}}").stdout.splitlines())
    }
    assert set(rows) == {"Images", "Containers", "Local Volumes", "Build Cache"}
    assert (rows["Images"]["Active"], rows["Containers"]["TotalCount"]) == ("1", "1")
    assert rows["Containers"]["Active"] == "0"
    assert rows["Local Volumes"]["Size"] == "5.243MB"
    assert rows["Build Cache"]["Size"] == "0B"
    out = full.docker("system", "df", "-v").stdout
    for words in (
        "Images space usage:",
        "Containers space usage:",
        "Local Volumes space usage:",
        "sized",
        "writer",
    ):
        assert words in out
    status, told = full.api("GET", "/v1.45/system/df?type=volume")
    assert (status, told["Images"], told["Containers"]) == (200, None, None)
    status, told = full.api("GET", "/v1.45/system/df?type=nothing")
    assert (status, told["message"]) == (400, "unknown object type: nothing")


def test_container_prune(full: Daemon) -> None:
    out = full.docker("container", "prune", "-f", "--filter", "until=1h").stdout
    assert "Deleted" not in out
    out = full.docker("container", "prune", "-f", "--filter", "label=none").stdout
    assert "Deleted" not in out
    done = full.docker("container", "prune", "-f", "--filter", "nope=1", check=False)
    assert "invalid filter 'nope'" in done.stderr
    full.docker("run", "-d", "--name", "lives", "busybox", "sleep", "600")
    out = full.docker("container", "prune", "-f").stdout
    assert "Deleted Containers:" in out
    assert "Total reclaimed space: 4." in out
    assert full.docker("ps", "-a", "--format", "{{.Names}}").stdout == "lives\n"


def test_system_prune(full: Daemon) -> None:
    full.docker("network", "create", "unused")
    anonymous = full.docker("volume", "create").stdout.strip()
    kept = full.docker("volume", "ls", "-q").stdout.split()
    for words in (["--filter", "until=24h"], ["--filter", "label=none"]):
        out = full.docker("system", "prune", "-f", *words).stdout
        assert "Deleted" not in out, words
    done = full.docker("system", "prune", "-f", "--volumes", "--filter", "until=24h", check=False)
    assert 'The "until" filter is not supported with "--volumes"' in done.stderr
    out = full.docker("system", "prune", "-f").stdout
    assert "Deleted Containers:" in out
    assert "Deleted Networks:\nunused" in out
    assert full.docker("volume", "ls", "-q").stdout.split() == kept
    out = full.docker("system", "prune", "-f", "--volumes").stdout
    assert anonymous in out
    assert full.docker("volume", "ls", "-q").stdout.split() == ["sized"]
    assert full.docker("images", "-q", "df").stdout != ""
    full.docker("create", "busybox")
    out = full.docker("image", "prune", "-a", "-f").stdout
    assert "untagged: df:base" in out
    assert "untagged: df:made" in out
