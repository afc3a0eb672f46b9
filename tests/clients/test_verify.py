"""The same bytes again: on another data root, and by `knarr build --verify`, which names what is not."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemons import BIN, REPOSITORY, Daemon, Knarrd
from tests.support.pythons import python_tar

MYAPP = REPOSITORY / "examples" / "myapp"


@pytest.fixture(scope="module", autouse=True)
def only_knarr(peer: bool) -> None:
    if peer:
        pytest.skip("dockerd's builds differ by their times")


@pytest.fixture(scope="module")
def base(running_daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of the image `python`, which the daemon has."""
    directory = tmp_path_factory.mktemp("python")
    words = ("--change", "ENV PATH=/usr/bin:/bin", "--change", 'CMD ["python"]')
    running_daemon.docker("import", *words, str(python_tar(directory)), "python:latest")
    path = directory / "image.tar"
    running_daemon.docker("save", "-o", str(path), "python:latest")
    return path


@pytest.fixture
def other(base: Path) -> Iterator[Daemon]:
    """A daemon with a data root of its own."""
    daemon = Knarrd("ktverify0", "10.231.1.0/24")
    try:
        daemon.start()
        daemon.docker("load", "-i", str(base))
        yield daemon
    finally:
        daemon.close()


def knarr(daemon: Daemon, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(BIN / "knarr"), "build", *words],
        env=daemon.environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done


def test_two_data_roots_give_one_digest(daemon: Daemon, other: Daemon, tmp_path: Path) -> None:
    told = []
    for number, each in enumerate((daemon, other)):
        path = tmp_path / str(number)
        knarr(each, "-q", "-t", "myapp", "--metadata-file", str(path), str(MYAPP))
        told.append(_digest(path))
    assert told[0] == told[1]
    program = (
        "import sys; sys.path.insert(0, '/srv/myapp.pyz'); import myapp.server; print(myapp.server.main)"
    )
    assert "<function main" in other.docker("run", "--rm", "myapp", "python", "-c", program).stdout


def test_what_is_reproducible_is_proven(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox\nCOPY file /\nRUN --mount=type=cache,target=/c echo x >> /c/n; wc -l < /c/n > /count\n"
    )
    images, told = _images(daemon), tmp_path / "told"
    done = knarr(daemon, "--verify", "-t", "verified", "--metadata-file", str(told), str(tmp_path))
    assert f"Verified: both builds gave {_digest(told)}\n" in done.stderr
    assert len(_images(daemon) - images) == 1
    # What a cache mount held comes from elsewhere: the second build does not see it.
    done = knarr(daemon, "--verify", "-t", "verified", str(tmp_path), code=1)
    assert "/count: other contents from byte 0 on: '2\\n', and then '1\\n'" in done.stderr
    assert "--verify builds twice" in knarr(daemon, "--verify", "-", code=1).stderr


def test_what_is_not_reproducible_is_named(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox\nRUN echo same > /same\n"
        "RUN cat /proc/sys/kernel/random/uuid > /when; mkdir /d; mktemp -p /d; dd if=/dev/urandom of=/bin/x bs=64 count=1\n"
    )
    images, told = _images(daemon), tmp_path / "told"
    words = ("--verify", "-q", "-t", "differs", "--metadata-file", str(told), str(tmp_path))
    done = knarr(daemon, *words, code=1)
    assert done.stdout.strip() == daemon.inspect("differs")["Id"]
    title, *lines = [line for line in done.stderr.splitlines() if line]
    assert title.startswith(f"NOT reproducible: {_digest(told)}, and then sha256:")
    names = {line.partition("): ")[2].split(":")[0].split(".")[0] for line in lines}
    assert names == {"/when", "/d/tmp", "/bin/x"}
    assert all(line.startswith(" - layer 3 (RUN /bin/sh -c cat /proc/sys/kernel/ran…): ") for line in lines)
    assert len(_images(daemon) - images) == 1


def _images(daemon: Daemon) -> set[str]:
    return set(daemon.docker("images", "-aq", "--no-trunc").stdout.split())


def _digest(path: Path) -> str:
    return str(json.loads(path.read_text())["containerimage.digest"])
