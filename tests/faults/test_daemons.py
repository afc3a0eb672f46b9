"""More than one knarrd on a host, two on one data root, and one without root."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import knarrd_on
from tests.support import host
from tests.support.daemons import BIN, Knarrd
from tests.support.remains import remains

AS_NOBODY = """
import os, shutil, sys  # argparse loads shutil late, when the interpreter may be out of reach
from knarr.daemon import main
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
sys.argv[0] = "knarrd"
main()
"""


@pytest.fixture
def neighbour(busybox: Path) -> Iterator[Knarrd]:
    """A second knarrd."""
    with knarrd_on("ktfault1", "10.233.65.0/24", busybox) as knarrd:
        yield knarrd


def test_two_daemons_do_not_see_each_other(daemon: Knarrd, neighbour: Knarrd) -> None:
    for each in (daemon, neighbour):
        each.docker("run", "-d", "--name", "same", "-p", "127.0.0.1::80", "busybox", "sleep", "100000")
        assert each.docker("ps", "-q").stdout.count("\n") == 1
    first, second = (each.docker("port", "same", "80").stdout for each in (daemon, neighbour))
    assert first != second

    neighbour.docker("rm", "-f", "same")
    host.settle(lambda: remains(neighbour))
    assert daemon.docker("exec", "same", "echo", "here").stdout == "here\n"
    neighbour.kill()
    neighbour.start()
    assert daemon.docker("exec", "same", "echo", "here").stdout == "here\n"
    assert daemon.docker("port", "same", "80").stdout == first
    daemon.docker("rm", "-f", "same")
    host.settle(lambda: remains(daemon))


def test_a_port_of_a_neighbour_is_taken(daemon: Knarrd, neighbour: Knarrd) -> None:
    daemon.docker("run", "-d", "--name", "first", "-p", "127.0.0.1::80", "busybox", "sleep", "100000")
    taken = daemon.docker("port", "first", "80").stdout.strip()
    refused = neighbour.docker("run", "--name", "second", "-p", f"{taken}:80", "busybox", "true", check=False)
    assert refused.returncode == 125
    assert f"Bind for {taken} failed: port is already allocated" in refused.stderr or (
        "address already in use" in refused.stderr
    )
    neighbour.docker("rm", "second")
    host.settle(lambda: remains(neighbour))
    daemon.docker("rm", "-f", "first")


def test_a_second_daemon_on_the_same_data_root_refuses(daemon: Knarrd, tmp_path: Path) -> None:
    daemon.docker("run", "-d", "--name", "here", "busybox", "sleep", "100000")
    argv = [str(BIN / "knarrd"), "-H", f"unix://{tmp_path}/other.sock", "--data-root", str(daemon.data_root)]
    argv += ["--exec-root", str(tmp_path / "exec"), "--bridge", "ktfault1", "--bip", "10.233.65.1/24"]
    second = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 1
    assert f"another daemon is running on the data root {daemon.data_root}" in second.stderr
    assert "Traceback" not in second.stderr
    assert "ktfault1" not in host.links()
    assert daemon.docker("exec", "here", "echo", "here").stdout == "here\n"


def test_without_root_it_says_so(tmp_path: Path) -> None:
    argv = [
        sys.executable,
        "-c",
        AS_NOBODY,
        "-H",
        f"unix://{tmp_path}/s",
        "--data-root",
        str(tmp_path / "data"),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "knarrd: the daemon needs to be started as root\n"
    assert os.listdir(tmp_path) == []


def test_without_libnftables_it_names_the_package(tmp_path: Path) -> None:
    listed = subprocess.run(
        [shutil.which("ldconfig") or "/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True
    ).stdout
    (library, *_) = re.findall(r"libnftables\.so\.1 .*=> (\S+)", listed)
    argv = [str(BIN / "knarrd"), "-H", f"unix://{tmp_path}/s", "--data-root", str(tmp_path / "data")]
    argv += ["--exec-root", str(tmp_path / "exec"), "--bridge", "ktfault1", "--bip", "10.233.65.1/24"]
    hide = 'mount --bind /dev/null "$1" && shift && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", hide, "sh", library, *argv],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "libnftables1" in done.stderr
    assert "Traceback" not in done.stderr
    assert "ktfault1" not in host.links()
