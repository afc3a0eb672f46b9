"""`docker exec` and its flags."""

import pytest

from tests.support import host
from tests.support.daemons import Daemon
from tests.support.terminal import Terminal


@pytest.fixture
def box(daemon: Daemon) -> str:
    """A running container."""
    return daemon.docker(
        "run", "-d", "--name", "box", "-e", "OUTER=1", "busybox", "sleep", "1000"
    ).stdout.strip()


def test_output_and_codes(daemon: Daemon, box: str) -> None:
    done = daemon.docker("exec", box, "sh", "-c", "echo out; echo err >&2; exit 3", check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 3)


def test_stdin_to_its_end(daemon: Daemon, box: str) -> None:
    data = b"0123456789abcdef" * 20_000
    assert daemon.docker("exec", "-i", box, "cat", data=data).stdout.encode() == data
    assert daemon.docker("exec", "-i", box, "wc", "-c", data=data).stdout.strip() == str(len(data))


def test_a_signal_is_128_and_its_number(daemon: Daemon, box: str) -> None:
    assert daemon.docker("exec", box, "sh", "-c", "kill -9 $$", check=False).returncode == 137


def test_a_missing_command(daemon: Daemon, box: str) -> None:
    done = daemon.docker("exec", box, "nothing-like-that", check=False)
    assert done.returncode == 127
    assert 'exec: "nothing-like-that": executable file not found in $PATH' in done.stderr + done.stdout


def test_what_cannot_be_executed(daemon: Daemon, box: str) -> None:
    done = daemon.docker("exec", box, "/etc/passwd", check=False)
    assert done.returncode == 126
    assert "permission denied" in done.stderr + done.stdout


def test_environment_user_and_directory(daemon: Daemon, box: str) -> None:
    out = daemon.docker(
        "exec",
        "-e",
        "INNER=2",
        "-u",
        "daemon",
        "-w",
        "/tmp",
        box,
        "sh",
        "-c",
        "echo $OUTER $INNER $(id -u):$(id -g) $(pwd)",
    ).stdout
    assert out == "1 2 1:1 /tmp\n"


def test_detached(daemon: Daemon, box: str) -> None:
    assert daemon.docker("exec", "-d", box, "touch", "/touched").stdout == ""
    host.wait_for(
        lambda: daemon.docker("exec", box, "test", "-e", "/touched", check=False).returncode == 0, "the file"
    )


def test_a_terminal(daemon: Daemon, box: str) -> None:
    with Terminal(["docker", "exec", "-it", box, "sh"], daemon.environment(), size=(40, 120)) as terminal:
        terminal.expect("/ # ")
        terminal.type("stty size; tty\n")
        terminal.expect("40 120\r\n")
        terminal.expect("/dev/pts/")
        terminal.resize(41, 121)
        terminal.type("sleep 0.3; stty size\n")
        terminal.expect("41 121\r\n")
        terminal.type("exit 6\n")
        assert terminal.wait() == 6


def test_privileged(daemon: Daemon, box: str) -> None:
    plain = daemon.docker("exec", box, "grep", "CapEff", "/proc/self/status").stdout.split()[1]
    full = daemon.docker("exec", "--privileged", box, "grep", "CapEff", "/proc/self/status").stdout.split()[1]
    assert int(plain, 16) == 0xA80425FB
    assert int(full, 16) & int(plain, 16) == int(plain, 16)
    assert int(full, 16) & (1 << 21)


def test_it_is_inside(daemon: Daemon, box: str) -> None:
    out = daemon.docker(
        "exec", box, "sh", "-c", "hostname; cat /proc/1/comm; grep Seccomp: /proc/self/status"
    ).stdout.split()
    assert out == [box[:12], "sleep", "Seccomp:", "2"]


def test_into_what_does_not_run(daemon: Daemon) -> None:
    cid = daemon.docker("create", "--name", "idle", "busybox").stdout.strip()
    done = daemon.docker("exec", "idle", "true", check=False)
    assert done.returncode == 1
    assert f"container {cid} is not running" in done.stderr


def test_the_container_ends_meanwhile(daemon: Daemon, box: str) -> None:
    process = daemon.open("exec", box, "sh", "-c", "echo on; sleep 1000")
    assert process.stdout is not None
    assert process.stdout.readline() == b"on\n"
    daemon.docker("kill", box)
    process.communicate(timeout=60)
    assert process.returncode == 137


def test_many_at_once(daemon: Daemon, box: str) -> None:
    processes = [daemon.open("exec", box, "echo", str(n)) for n in range(20)]
    assert [p.communicate(timeout=90)[0] for p in processes] == [b"%d\n" % n for n in range(20)]
