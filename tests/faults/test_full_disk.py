"""The disk is full during a pull, an import and a run: a clear error, nothing left, and all is well when there is room again."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import host, images
from tests.support.daemons import Knarrd
from tests.support.registries import FaultyRegistry
from tests.support.remains import remains

SMALL, LARGE = "size=40m", "size=400m"
FULL = "no space left on device"


@pytest.fixture
def cramped(busybox: Path, tmp_path: Path) -> Iterator[Knarrd]:
    """A knarrd whose data root is a file system of its own, with room for little."""
    knarrd = Knarrd("ktfault3", "10.233.68.0/24", root=tmp_path / "root")
    knarrd.data_root.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", SMALL, "tmpfs", str(knarrd.data_root)], check=True)
    try:
        knarrd.start()
        knarrd.give_busybox(busybox)
        yield knarrd
    finally:
        knarrd.close()


@pytest.fixture
def large() -> images.Image:
    """More than there is room for, by its files."""
    return images.image([images.layer(images.noise(1, 4, 1000)), images.layer(images.noise(2, 90, 600_000))])


def make_room(knarrd: Knarrd) -> None:
    """Lets the file system grow."""
    argv = ["mount", "-o", f"remount,{LARGE}", str(knarrd.data_root)]
    subprocess.run(argv, check=True)


def stored(knarrd: Knarrd) -> set[str]:
    """All files of images, and nothing of the database."""
    places = [knarrd.data_root / name for name in ("content", "leases", "snapshots")]
    return {f"{place.name}/{path}" for place in places for path in host.files(place)}


def test_a_pull_that_fills_the_disk(cramped: Knarrd, large: images.Image) -> None:
    before = stored(cramped)
    with FaultyRegistry() as registry:
        registry.add("large", large)
        name = f"127.0.0.1:{registry.port}/large"
        done = cramped.docker("pull", name, check=False)
        assert done.returncode == 1
        assert FULL in done.stderr.lower()
        host.settle(lambda: stored(cramped) - before)
        assert cramped.docker("images", "-q").stdout.count("\n") == 1
        assert cramped.docker("run", "--rm", "busybox", "echo", "works").stdout == "works\n"
        make_room(cramped)
        cramped.docker("pull", name)
        assert cramped.inspect(name)["Id"] == large.id


def test_an_import_that_fills_the_disk(cramped: Knarrd, tmp_path: Path) -> None:
    before = stored(cramped)
    tar = tmp_path / "large.tar"
    tar.write_bytes(images.layer(images.noise(3, 100, 600_000)))
    done = cramped.docker("import", str(tar), "large:latest", check=False)
    assert done.returncode == 1
    assert FULL in done.stderr.lower()
    host.settle(lambda: stored(cramped) - before)
    make_room(cramped)
    cramped.docker("import", str(tar), "large:latest")


def test_a_run_on_a_full_disk(cramped: Knarrd) -> None:
    fill(cramped)
    done = cramped.docker("run", "--name", "tight", "busybox", "echo", "never", check=False)
    assert done.returncode == 125
    assert FULL in done.stderr.lower() or "disk is full" in done.stderr.lower()
    assert done.stdout == ""
    unfill(cramped)
    cramped.docker("rm", "-f", "tight", check=False)
    host.settle(lambda: remains(cramped))
    assert cramped.docker("run", "--rm", "busybox", "echo", "works").stdout == "works\n"


def test_a_container_that_fills_the_disk_can_be_removed(cramped: Knarrd) -> None:
    script = "cat /dev/zero > /fill; sync; echo full; exec sleep 100000"
    cramped.docker("run", "-d", "--name", "filler", "busybox", "sh", "-c", script)
    host.wait_for(lambda: free(cramped) == 0, "the disk is full")
    host.wait_for(lambda: "cat /dev/zero" not in host.processes().values(), "the writer gave up")
    cramped.docker("rm", "-f", "filler")
    host.settle(lambda: remains(cramped))
    assert cramped.docker("run", "--rm", "busybox", "echo", "works").stdout == "works\n"


def fill(knarrd: Knarrd) -> None:
    """Takes every byte."""
    with (knarrd.data_root / "filler").open("wb", buffering=0) as file:
        size = 1 << 20
        while size:
            try:
                file.write(b"x" * size)
            except OSError:
                size //= 2


def unfill(knarrd: Knarrd) -> None:
    """Gives them back."""
    (knarrd.data_root / "filler").unlink()


def free(knarrd: Knarrd) -> int:
    """Free blocks."""
    return os.statvfs(knarrd.data_root).f_bfree
