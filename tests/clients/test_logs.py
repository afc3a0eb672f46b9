"""`docker logs` and its flags."""

import re

import pytest

from tests.support import host
from tests.support.daemons import Daemon


@pytest.fixture
def talker(daemon: Daemon) -> str:
    """An ended container that wrote ten lines to stdout and one to stderr."""
    daemon.docker(
        "run",
        "--name",
        "talker",
        "busybox",
        "sh",
        "-c",
        "for i in 0 1 2 3 4 5 6 7 8 9; do echo line $i; done; echo bad >&2",
    )
    return "talker"


def test_all(daemon: Daemon, talker: str) -> None:
    done = daemon.docker("logs", talker)
    assert done.stdout == "".join(f"line {n}\n" for n in range(10))
    assert done.stderr == "bad\n"


def test_tail(daemon: Daemon, talker: str) -> None:
    done = daemon.docker("logs", "--tail", "3", talker)
    assert len((done.stdout + done.stderr).splitlines()) == 3
    assert daemon.docker("logs", "--tail", "0", talker).stdout == ""
    assert daemon.docker("logs", "-n", "all", talker).stdout.count("\n") == 10


def test_timestamps(daemon: Daemon, talker: str) -> None:
    lines = daemon.docker("logs", "-t", talker).stdout.splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z line \d$", line) for line in lines)


def test_since_and_until(daemon: Daemon, talker: str) -> None:
    stamps = [line.split()[0] for line in daemon.docker("logs", "-t", talker).stdout.splitlines()]
    assert daemon.docker("logs", "--since", stamps[0], talker).stdout.count("\n") == 10
    assert daemon.docker("logs", "--until", stamps[-1], talker).stdout.count("\n") == 10
    assert daemon.docker("logs", "--since", "1h", talker).stdout.count("\n") == 10
    assert daemon.docker("logs", "--until", "1h", talker).stdout == ""
    assert daemon.docker("logs", "--since", "2199-01-01T00:00:00Z", talker).stdout == ""


def test_follow_to_the_end(daemon: Daemon) -> None:
    daemon.docker(
        "run",
        "-d",
        "--name",
        "slow",
        "busybox",
        "sh",
        "-c",
        "echo one; read x < /tmp/none 2>/dev/null; sleep 1; echo two; sleep 1; echo three",
    )
    assert daemon.docker("logs", "-f", "slow").stdout == "one\ntwo\nthree\n"


def test_follow_begins_with_the_tail(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "slow", "busybox", "sh", "-c", "echo a; echo b; echo c; sleep 1000")
    host.wait_for(lambda: daemon.docker("logs", "slow").stdout == "a\nb\nc\n", "three lines")
    process = daemon.open("logs", "-f", "--tail", "1", "slow")
    assert process.stdout is not None
    assert process.stdout.readline() == b"c\n"
    daemon.docker("kill", "slow")
    assert process.communicate(timeout=60)[0] == b""


def test_a_terminals_log_is_raw(daemon: Daemon) -> None:
    daemon.docker("run", "-t", "--name", "tty", "busybox", "echo", "hi")
    assert daemon.docker("logs", "tty").stdout == "hi\r\n"


def test_rotation(daemon: Daemon) -> None:
    daemon.docker(
        "run",
        "--name",
        "much",
        "--log-opt",
        "max-size=10k",
        "--log-opt",
        "max-file=2",
        "busybox",
        "sh",
        "-c",
        "for i in $(seq 1000); do echo this is line $i; done",
    )
    lines = daemon.docker("logs", "much").stdout.splitlines()
    assert lines[-1] == "this is line 1000"
    assert 20 <= len(lines) < 1000
    first = int(lines[0].split()[-1])
    assert lines == [f"this is line {n}" for n in range(first, 1001)]


def test_no_log(daemon: Daemon) -> None:
    daemon.docker("run", "--name", "silent", "--log-driver", "none", "busybox", "echo", "hi")
    done = daemon.docker("logs", "silent", check=False)
    assert done.returncode == 1
    assert "configured logging driver does not support reading" in done.stderr


def test_a_line_without_an_end(daemon: Daemon) -> None:
    daemon.docker("run", "--name", "part", "busybox", "printf", "no newline")
    assert daemon.docker("logs", "part").stdout == "no newline"


def test_a_long_line_stays_one(daemon: Daemon) -> None:
    daemon.docker(
        "run", "--name", "long", "busybox", "sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x; echo"
    )
    assert daemon.docker("logs", "long").stdout == "x" * 100_000 + "\n"
