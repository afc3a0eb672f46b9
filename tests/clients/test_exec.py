"""`docker exec` and its flags."""

import socket
import subprocess
from pathlib import Path

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
        terminal.type("until [ \"$(stty size)\" = '41 121' ]; do :; done; echo seen-it | tr - _\n")
        terminal.expect("seen_it\r\n")
        terminal.type("exit 6\n")
        assert terminal.wait() == 6


def test_a_terminal_of_its_own_behind_frames(daemon: Daemon, box: str) -> None:
    asked = {"Cmd": ["echo", "hello"], "AttachStdout": True, "Tty": True}
    _, made = daemon.api("POST", f"/v1.51/containers/{box}/exec", asked)
    argv = ["curl", "--silent", "--unix-socket", str(daemon.socket), "-H", "Content-Type: application/json"]
    argv += ["-d", '{"Tty": false}', f"http://localhost/v1.51/exec/{made['Id']}/start"]
    done = subprocess.run(argv, capture_output=True, timeout=60, check=True)
    assert done.stdout == b"\x01\0\0\0\0\0\0\x07hello\r\n"


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


def test_into_a_paused_container(daemon: Daemon, box: str) -> None:
    daemon.docker("pause", box)
    done = daemon.docker("exec", box, "true", check=False)
    assert done.returncode == 1
    assert "is paused, unpause the container before exec" in done.stderr
    daemon.docker("unpause", box)
    assert daemon.docker("exec", box, "echo", "again").stdout == "again\n"


def test_paused_while_it_runs(daemon: Daemon, box: str) -> None:
    process = daemon.open("exec", "-i", box, "cat")
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"one\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"one\n"
    daemon.docker("pause", box)
    process.stdin.write(b"two\n")
    process.stdin.flush()
    daemon.docker("unpause", box)
    assert process.communicate(timeout=60)[0] == b"two\n"
    assert process.returncode == 0


def test_a_paused_container_is_killed_with_its_execs(daemon: Daemon, box: str) -> None:
    process = daemon.open("exec", box, "sh", "-c", "echo on; sleep 1000")
    assert process.stdout is not None
    assert process.stdout.readline() == b"on\n"
    daemon.docker("pause", box)
    daemon.docker("rm", "-f", box)
    process.communicate(timeout=60)
    assert process.returncode == 137


def test_out_of_memory_ends_the_exec_alone(daemon: Daemon) -> None:
    limits = ("-m", "32m", "--memory-swap", "32m")
    box = daemon.docker("run", "-d", "--name", "small", *limits, "busybox", "sleep", "1000").stdout.strip()
    eat = "x=a; while true; do x=$x$x; done"
    assert daemon.docker("exec", box, "sh", "-c", eat, check=False).returncode == 137
    assert daemon.docker("exec", box, "echo", "alive").stdout == "alive\n"
    assert daemon.docker("inspect", "-f", "{{.State.Running}}", box).stdout == "true\n"


def test_detached_by_its_keys(daemon: Daemon, box: str) -> None:
    argv = ["docker", "exec", "-it", "--detach-keys", "ctrl-x,d", box, "sh"]
    with Terminal(argv, daemon.environment()) as terminal:
        terminal.expect("/ # ")
        terminal.type("echo $$ > /shell; echo kept-it | tr - _\n")
        terminal.expect("kept_it")
        terminal.type("\x18d")
        terminal.wait()
    assert daemon.docker("exec", box, "sh", "-c", "cat /proc/$(cat /shell)/comm").stdout == "sh\n"


def test_groups_of_its_user(daemon: Daemon) -> None:
    box = daemon.docker(
        "run", "-d", "--group-add", "77", "-u", "5:6", "busybox", "sleep", "1000"
    ).stdout.strip()
    groups = ("grep", "Groups", "/proc/self/status")
    assert daemon.docker("exec", box, *groups).stdout.split()[1:] == ["6", "77"]
    assert daemon.docker("exec", "-u", "0", box, "id", "-u").stdout == "0\n"


def test_an_unknown_user(daemon: Daemon, box: str) -> None:
    done = daemon.docker("exec", "-u", "nobody-like-that", box, "true", check=False)
    assert done.returncode == 1
    assert "unable to find user nobody-like-that: no matching entries in passwd file" in done.stderr


def test_environment_from_a_file(daemon: Daemon, box: str, tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("FROM_FILE=a b\n# a comment\nOUTER=over\n")
    out = daemon.docker("exec", "--env-file", str(file), box, "sh", "-c", 'echo "$FROM_FILE/$OUTER"').stdout
    assert out == "a b/over\n"


def test_a_missing_directory(daemon: Daemon, box: str) -> None:
    done = daemon.docker("exec", "-w", "/no/such/place", box, "true", check=False)
    assert done.returncode in (126, 127)
    assert "no such file or directory" in done.stderr + done.stdout


def test_privileges_follow_the_container(daemon: Daemon) -> None:
    flags = ("--cap-drop", "ALL", "--cap-add", "NET_RAW", "--security-opt", "no-new-privileges")
    box = daemon.docker("run", "-d", *flags, "busybox", "sleep", "1000").stdout.strip()
    status = daemon.docker("exec", box, "cat", "/proc/self/status").stdout
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert int(facts["CapEff"], 16) == 1 << 13
    assert int(facts["CapBnd"], 16) == 1 << 13
    assert facts["NoNewPrivs"] == "1"
    assert facts["Seccomp"] == "2"


def test_a_user_without_root_has_no_capabilities(daemon: Daemon, box: str) -> None:
    status = daemon.docker("exec", "-u", "1000", box, "cat", "/proc/self/status").stdout
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert [int(facts[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == [0, 0, 0, 0]


def test_its_children_stay_when_it_ends(daemon: Daemon, box: str) -> None:
    daemon.docker("exec", "-d", box, "sh", "-c", "sleep 999 & echo $! > /left")
    host.wait_for(
        lambda: daemon.docker("exec", box, "test", "-s", "/left", check=False).returncode == 0, "the child"
    )
    assert daemon.docker("exec", box, "sh", "-c", "cat /proc/$(cat /left)/comm").stdout == "sleep\n"


def test_a_client_that_reads_past_its_buffer_loses_nothing(daemon: Daemon, peer: bool) -> None:
    """docker-py reads the head through a buffer and then the socket itself: no output may come in one piece with the head."""
    box = daemon.docker("run", "-d", "busybox", "sleep", "999").stdout.strip()
    made = daemon.api("POST", f"/containers/{box}/exec", {"AttachStdout": True, "Cmd": ["echo", "out"]})[1][
        "Id"
    ]
    agent = "" if peer else "User-Agent: docker-sdk-python/7\r\n"
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(str(daemon.socket))
        body = b'{"Detach": false}'
        head = f"POST /exec/{made}/start HTTP/1.1\r\nHost: x\r\n{agent}Content-Type: application/json\r\n"
        head += f"Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        assert b"101 UPGRADED" in client.recv(65536, socket.MSG_PEEK)
        if not peer:
            assert daemon.api("GET", f"/exec/{made}/json")[1]["Pid"] == 0
            assert client.recv(65536).endswith(b"\r\n\r\n")
        heard = b""
        while data := client.recv(65536):
            heard += data
        assert heard.endswith(b"\1\0\0\0\0\0\0\4out\n")


def test_a_second_start_is_told_in_the_stream(daemon: Daemon, box: str) -> None:
    """compose attaches to an exec, which starts it, and starts it once more."""
    made = daemon.api("POST", f"/containers/{box}/exec", {"Cmd": ["true"]})[1]["Id"]
    assert daemon.api("POST", f"/exec/{made}/start", {"Detach": True})[0] == 200
    host.wait_for(lambda: not daemon.api("GET", f"/exec/{made}/json")[1]["Running"], "its end")
    assert daemon.api("POST", f"/exec/{made}/start", {"Detach": True})[0] == 409
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(str(daemon.socket))
        head = f"POST /exec/{made}/start HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        client.sendall(head.encode() + b"Content-Length: 2\r\n\r\n{}")
        heard = b""
        while data := client.recv(65536):
            heard += data
    assert heard.startswith(b"HTTP/1.1 200 OK\r\n")
    assert heard.endswith(f"exec command {made} has already run\r\n".encode())
