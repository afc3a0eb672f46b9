"""What is done to a running container: execs, pauses, limits, numbers."""

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

from tests.support import host
from tests.support.terminal import Terminal
from tests.system.oci.conftest import Oci


def test_execs(oci: Oci) -> None:
    name = oci.running()
    done = oci("exec", name, "sh", "-c", "cat; echo err >&2; exit 42", check=False, stdin="in")
    assert (done.returncode, done.stdout, done.stderr) == (42, "in", "err\n")
    words = ("--env", "A=b", "--cwd", "/tmp", "-u", "33:34", "-g", "5", name, "sh", "-c")
    told = oci("exec", *words, "echo $A $PWD $HOME $(id -u) $(id -G)").stdout
    assert told == "b /tmp /srv 33 34 5\n"
    said = oci.fails("exec", name, "nosuch", code=255).replace('\\"', '"')
    assert 'exec failed: unable to start container process: exec: "nosuch": executable file not found' in said
    assert "exec args cannot be empty" in oci.fails("exec", name, code=255)
    assert "container does not exist" in oci.fails("exec", "nosuch", "true", code=255)
    oci("kill", name, "KILL")
    host.wait_for(lambda: oci.status(name) == "stopped", "its end")
    assert "cannot exec in a stopped container" in oci.fails("exec", name, "true", code=255)
    oci("delete", name)


def test_an_exec_of_a_file_in_the_background(oci: Oci) -> None:
    name = oci.running()
    process = {"args": ["sleep", "1000"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 33, "gid": 33}}
    (oci.base / "process.json").write_text(json.dumps(process))
    oci("exec", "-d", "--pid-file", str(oci.base / "pid"), "-p", str(oci.base / "process.json"), name)
    pid = int((oci.base / "pid").read_text())
    assert Path(f"/proc/{pid}/comm").read_text() == "sleep\n"
    assert os.stat(f"/proc/{pid}").st_uid == 33
    assert sorted(json.loads(oci("ps", "--format", "json", name).stdout)) == sorted(
        [pid, oci.state(name)["pid"]]
    )
    assert [line.split()[1] for line in oci("ps", name).stdout.splitlines()[1:]] == [
        str(each) for each in sorted([pid, oci.state(name)["pid"]])
    ]
    oci.stop(name)


def test_an_exec_before_the_start(oci: Oci) -> None:
    name, bundle = oci.bundle("true")
    oci("create", "-b", bundle, name)
    assert oci("exec", name, "echo", "early").stdout == "early\n"
    assert oci.status(name) == "created"
    oci("delete", name)


def test_preserved_descriptors(oci: Oci) -> None:
    name = oci.running()
    read, write = os.pipe()
    os.write(write, b"kept")
    os.close(write)
    with open(oci.base / "a", "w+") as file:
        numbers = {3: file.fileno(), 4: read}

        def arrange() -> None:
            for number, fd in {number: os.dup(fd) for number, fd in numbers.items()}.items():
                os.dup2(fd, number)

        words = ("exec", "--preserve-fds", "2", name, "sh", "-c", "cat <&4; ls /proc/self/fd | wc -l")
        done = subprocess.run(
            oci.argv(*words), preexec_fn=arrange, close_fds=False, capture_output=True, text=True, check=True
        )
    os.close(read)
    assert done.stdout == "kept6\n"
    said = oci.fails("exec", "--preserve-fds", "90", name, "true", code=255)
    assert "unable to stat preserved-fd" in said
    oci.stop(name)


def test_paused(oci: Oci) -> None:
    name = oci.running()
    assert "container not paused" in oci.fails("resume", name)
    oci("pause", name)
    assert oci.status(name) == "paused"
    assert "cannot exec in a paused container" in oci.fails("exec", name, "true", code=255)
    oci("resume", name)
    assert oci.status(name) == "running"
    oci("pause", name)
    oci("kill", name, "KILL")
    host.wait_for(lambda: oci.status(name) == "stopped", "its end")
    oci("delete", name)
    name = oci.running()
    oci("pause", name)
    oci("delete", "--force", name)


def test_other_limits(oci: Oci) -> None:
    name = oci.running(linux={"resources": {"pids": {"limit": 50}}})
    oci("update", "--memory", "64M", "--pids-limit", "20", name)
    held = json.loads((oci.root / name / "state.json").read_text())["config"]["linux"]["resources"]
    assert held["pids"]["limit"] == 20
    stats = json.loads(oci("events", "--stats", name).stdout)
    assert (stats["type"], stats["id"]) == ("stats", name)
    assert stats["data"]["memory"]["usage"]["limit"] == 64 << 20
    assert stats["data"]["pids"] == {"current": 1, "limit": 20}
    oci("update", "-r", "-", name, stdin='{"pids": {"limit": 30}}')
    assert json.loads(oci("events", "--stats", name).stdout)["data"]["pids"]["limit"] == 30
    assert "invalid value for memory" in oci.fails("update", "--memory", "much", name)
    assert "schema is not enabled" in oci.fails("update", "--l3-cache-schema", "x", name)
    oci.stop(name)


def test_events_tell_numbers_and_kills_for_memory(oci: Oci) -> None:
    name = oci.running(linux={"resources": {"memory": {"limit": 24 << 20}}})
    with subprocess.Popen(
        oci.argv("events", "--interval", "50ms", name), stdout=subprocess.PIPE, text=True
    ) as events:
        assert events.stdout is not None
        assert json.loads(events.stdout.readline())["type"] == "stats"
        assert oci("exec", name, "tail", "/dev/zero", check=False).returncode == 137
        kinds = []
        for line in events.stdout:
            kinds.append(json.loads(line)["type"])
            if kinds[-1] == "oom":
                break
        oci.stop(name)
        events.stdout.read()
        assert events.wait() == 0
    assert kinds[-1] == "oom"


def test_a_terminal_in_the_foreground(oci: Oci) -> None:
    name, bundle = oci.bundle("sh", process={"terminal": True, "env": ["PATH=/bin", "PS1=go: "]})
    terminal = Terminal(oci.argv("run", "-b", bundle, name), size=(31, 77))
    terminal.expect("go: ")
    terminal.type("stty size\n")
    terminal.expect("31 77")
    terminal.resize(40, 90)
    terminal.type("while [ \"$(stty size)\" != '40 90' ]; do sleep 0.05; done; echo resized\n")
    terminal.expect("\nresized")
    terminal.type("exit 9\n")
    assert terminal.wait() == 9


def test_an_exec_with_a_terminal_whose_input_is_none(oci: Oci) -> None:
    name = oci.running()
    assert oci("exec", "-t", name, "tty").stdout == "/dev/pts/0\n"
    oci.stop(name)


def test_a_console_socket_gets_the_terminal(oci: Oci) -> None:
    place = oci.base / ("deep" * 20)
    place.mkdir()
    listener = socket.socket(socket.AF_UNIX)
    fd = os.open(place, os.O_PATH)
    listener.bind(f"/proc/self/fd/{fd}/console.sock")
    os.close(fd)
    listener.listen(1)
    name, bundle = oci.bundle("tty", process={"terminal": True})
    oci("create", "-b", bundle, "--console-socket", str(place / "console.sock"), name)
    line, _ = listener.accept()
    data, (master,), _, _ = socket.recv_fds(line, 100, 1)
    assert data
    oci("start", name)
    assert os.read(master, 100) == b"/dev/pts/0\r\n"
    os.close(master)
    line.close()
    listener.close()
    host.wait_for(lambda: oci.status(name) == "stopped", "its end")
    oci("delete", name)
    name, bundle = oci.bundle("true")
    assert "cannot use console socket" in oci.fails("create", "-b", bundle, "--console-socket", "x", name)


def test_a_pidfd_socket_gets_the_process(oci: Oci) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(oci.base / "pidfd.sock"))
    listener.listen(1)
    name, bundle = oci.bundle("sleep", "1000")
    oci("create", "-b", bundle, "--pidfd-socket", str(oci.base / "pidfd.sock"), name)
    line, _ = listener.accept()
    _, (pidfd,), _, _ = socket.recv_fds(line, 100, 1)
    signal.pidfd_send_signal(pidfd, signal.SIGTERM)
    os.close(pidfd)
    line.close()
    listener.close()
    host.wait_for(lambda: oci.status(name) == "stopped", "its end")
    oci("delete", name)


def test_sub_cgroups(oci: Oci) -> None:
    name = oci.running()
    assert "bad sub cgroup path: .." in oci.fails("exec", "--cgroup", "..", name, "true", code=255)
    said = oci.fails("exec", "--cgroup", "nosuch", name, "true", code=255)
    assert " adding pid " in said
    assert "no such file or directory" in said
    assert "unknown controller nosuch" in oci.fails("exec", "--cgroup", "nosuch:/", name, "true", code=255)
    assert name in oci("exec", "--cgroup", "/", name, "cat", "/proc/self/cgroup").stdout
    oci.stop(name)
