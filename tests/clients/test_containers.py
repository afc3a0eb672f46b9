"""The life of a container after `run`: list, stop, kill, restart, rename, remove, wait, top, copy, events."""

import io
import json
import select
import signal
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.support import host
from tests.support.daemons import Daemon


@pytest.fixture
def sleeper(daemon: Daemon) -> str:
    """A running container, called "sleeper", that ends at once on SIGTERM."""
    return daemon.docker(
        "run", "-d", "--name", "sleeper", "busybox", "sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait"
    ).stdout.strip()


def state(daemon: Daemon, name: str) -> str:
    """The word in State.Status."""
    return daemon.docker("inspect", "-f", "{{.State.Status}}", name).stdout.strip()


def test_create_then_start(daemon: Daemon) -> None:
    cid = daemon.docker("create", "--name", "made", "busybox", "echo", "hi").stdout.strip()
    assert state(daemon, "made") == "created"
    assert daemon.docker("start", "-a", "made").stdout == "hi\n"
    assert state(daemon, cid) == "exited"
    assert daemon.docker("start", "made").stdout == "made\n"


def test_start_with_stdin(daemon: Daemon) -> None:
    daemon.docker("create", "-i", "--name", "cat", "busybox", "cat")
    assert daemon.docker("start", "-a", "-i", "cat", data=b"typed").stdout == "typed"


def test_ps(daemon: Daemon, sleeper: str) -> None:
    daemon.docker("create", "--name", "idle", "busybox")
    rows = daemon.docker(
        "ps", "-a", "--no-trunc", "--format", "{{.ID}}|{{.Names}}|{{.Image}}|{{.State}}|{{.Command}}"
    ).stdout.splitlines()
    assert rows[0].split("|")[1:] == ["idle", "busybox", "created", '"sh"']
    assert rows[1].split("|")[:4] == [sleeper, "sleeper", "busybox", "running"]
    assert daemon.docker("ps", "-q", "--no-trunc").stdout.split() == [sleeper]
    assert daemon.docker("ps", "-l", "--format", "{{.Names}}").stdout == "idle\n"
    assert daemon.docker("ps", "-aqf", "name=sleep").stdout.strip() == sleeper[:12]
    assert (
        daemon.docker("ps", "-a", "--filter", "status=created", "--format", "{{.Names}}").stdout == "idle\n"
    )
    assert daemon.docker("ps", "--format", "{{.Status}}").stdout.startswith("Up ")


def test_a_limit_of_none(daemon: Daemon, sleeper: str) -> None:
    daemon.docker("create", "--name", "idle", "busybox")
    for query, wanted in (("all=1&limit=-1", 2), ("all=1&limit=0", 2), ("limit=1", 1), ("limit=-1", 1)):
        _, found = daemon.api("GET", f"/v1.51/containers/json?{query}")
        assert len(found) == wanted, query


def test_a_wait_ends_with_the_first_life(daemon: Daemon) -> None:
    daemon.docker(
        "run", "-d", "--name", "again", "--restart", "always", "busybox", "sh", "-c", "sleep 1; exit 3"
    )
    assert daemon.docker("wait", "again").stdout == "3\n"


def test_ids_may_be_cut_short(daemon: Daemon, sleeper: str) -> None:
    assert daemon.docker("inspect", "-f", "{{.Name}}", sleeper[:10]).stdout == "/sleeper\n"


def test_stop(daemon: Daemon, sleeper: str) -> None:
    assert daemon.docker("stop", "sleeper").stdout == "sleeper\n"
    assert (
        daemon.docker("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", sleeper).stdout
        == "exited 0\n"
    )
    assert daemon.docker("stop", "sleeper").returncode == 0


def test_stop_kills_after_the_timeout(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "deaf", "busybox", "sleep", "1000")
    daemon.docker("stop", "-t", "1", "deaf")
    assert daemon.docker("inspect", "-f", "{{.State.ExitCode}}", "deaf").stdout == "137\n"


def test_stop_signal(daemon: Daemon) -> None:
    daemon.docker(
        "run",
        "-d",
        "--name",
        "usr1",
        "--stop-signal",
        "SIGUSR1",
        "busybox",
        "sh",
        "-c",
        "trap 'exit 8' USR1; sleep 1000 & wait",
    )
    daemon.docker("stop", "usr1")
    assert daemon.docker("inspect", "-f", "{{.State.ExitCode}}", "usr1").stdout == "8\n"


def test_kill(daemon: Daemon, sleeper: str) -> None:
    daemon.docker("kill", "sleeper")
    assert daemon.docker("wait", "sleeper").stdout == "137\n"
    done = daemon.docker("kill", "sleeper", check=False)
    assert done.returncode == 1
    assert f"cannot kill container: sleeper: container {sleeper} is not running" in done.stderr


def test_kill_with_a_signal(daemon: Daemon, sleeper: str) -> None:
    daemon.docker("kill", "-s", "TERM", sleeper)
    assert daemon.docker("wait", sleeper).stdout == "0\n"
    done = daemon.docker("kill", "-s", "NOSIGNAL", sleeper, check=False)
    assert "invalid signal: NOSIGNAL" in done.stderr


def test_restart(daemon: Daemon, sleeper: str) -> None:
    before = daemon.docker("inspect", "-f", "{{.State.Pid}}", "sleeper").stdout
    daemon.docker("restart", "sleeper")
    after = daemon.docker("inspect", "-f", "{{.State.Pid}} {{.State.Status}}", "sleeper").stdout
    assert after.split()[1] == "running"
    assert after.split()[0] != before.strip()


def test_pause(daemon: Daemon, sleeper: str) -> None:
    daemon.docker("pause", sleeper)
    assert state(daemon, sleeper) == "paused"
    done = daemon.docker("exec", sleeper, "true", check=False)
    assert f"container {sleeper} is paused, unpause the container before exec" in done.stderr.lower()
    daemon.docker("unpause", sleeper)
    assert state(daemon, sleeper) == "running"


def test_rename(daemon: Daemon, sleeper: str) -> None:
    daemon.docker("rename", "sleeper", "other")
    assert daemon.docker("inspect", "-f", "{{.Name}}", sleeper).stdout == "/other\n"
    done = daemon.docker("rename", "other", "other", check=False)
    assert done.returncode == 1


def test_remove(daemon: Daemon, sleeper: str) -> None:
    done = daemon.docker("rm", "sleeper", check=False)
    assert done.returncode == 1
    assert "stop the container before removing or force remove" in done.stderr
    assert daemon.docker("rm", "-f", "sleeper").stdout == "sleeper\n"
    done = daemon.docker("inspect", "sleeper", check=False)
    assert done.returncode == 1
    assert "No such object: sleeper" in done.stderr or "no such object: sleeper" in done.stderr.lower()


def test_an_unknown_container(daemon: Daemon) -> None:
    for words in (
        ["start", "ghost"],
        ["stop", "ghost"],
        ["rm", "ghost"],
        ["logs", "ghost"],
        ["exec", "ghost", "true"],
    ):
        done = daemon.docker(*words, check=False)
        assert done.returncode == 1
        assert "No such container: ghost" in done.stderr


def test_wait(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "ended", "busybox", "sh", "-c", "exit 9")
    assert daemon.docker("wait", "ended").stdout == "9\n"


def test_top(daemon: Daemon, sleeper: str) -> None:
    lines = daemon.docker("top", sleeper).stdout.splitlines()
    assert lines[0].split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert any(line.endswith("sleep 1000") for line in lines[1:])
    assert daemon.docker("top", sleeper, "-o", "pid,comm").stdout.splitlines()[0].split() == [
        "PID",
        "COMMAND",
    ]


def test_top_of_a_stopped_container(daemon: Daemon) -> None:
    cid = daemon.docker("create", "--name", "idle", "busybox").stdout.strip()
    done = daemon.docker("top", "idle", check=False)
    assert f"container {cid} is not running" in done.stderr.lower()


def test_copy_out_and_in(daemon: Daemon, sleeper: str, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_text("content")
    (tmp_path / "there" / "file").chmod(0o640)
    daemon.docker("cp", str(tmp_path / "there"), "sleeper:/root")
    assert (
        daemon.docker(
            "exec", "sleeper", "sh", "-c", "cat /root/there/file; stat -c %a:%u:%g /root/there/file"
        ).stdout
        == "content640:0:0\n"
    )
    daemon.docker("cp", "sleeper:/root/there/file", str(tmp_path / "back"))
    assert (tmp_path / "back").read_text() == "content"
    daemon.docker("cp", "sleeper:/root/there", str(tmp_path / "tree"))
    assert (tmp_path / "tree" / "file").read_text() == "content"


def test_copy_as_a_stream(daemon: Daemon, sleeper: str) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo("streamed")
        member.size = 5
        tar.addfile(member, io.BytesIO(b"hello"))
    daemon.docker("cp", "-", "sleeper:/tmp", data=archive.getvalue())
    assert daemon.docker("exec", "sleeper", "cat", "/tmp/streamed").stdout == "hello"
    out = daemon.docker("cp", "sleeper:/tmp/streamed", "-").stdout.encode()
    with tarfile.open(fileobj=io.BytesIO(out)) as tar:
        assert tar.getnames() == ["streamed"]


def test_copy_from_a_stopped_container(daemon: Daemon, tmp_path: Path) -> None:
    daemon.docker("run", "--name", "ended", "busybox", "sh", "-c", "echo made > /made")
    daemon.docker("cp", "ended:/made", str(tmp_path / "made"))
    assert (tmp_path / "made").read_text() == "made\n"


def test_copy_of_nothing(daemon: Daemon, sleeper: str, tmp_path: Path) -> None:
    done = daemon.docker("cp", "sleeper:/no/such/file", str(tmp_path), check=False)
    assert done.returncode == 1
    assert "Could not find the file /no/such/file in container sleeper" in done.stderr


def test_copy_follows_no_link_out_of_the_container(daemon: Daemon, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the host's")
    daemon.docker("run", "--name", "linker", "busybox", "ln", "-s", str(secret), "/link")
    done = daemon.docker("cp", "-L", "linker:/link", str(tmp_path / "out"), check=False)
    assert done.returncode == 1
    assert not (tmp_path / "out").exists()


def test_events(daemon: Daemon) -> None:
    since = daemon.docker("info", "-f", "{{.SystemTime}}").stdout.strip()
    daemon.docker("run", "--name", "seen", "--label", "k=v", "busybox", "true")
    daemon.docker("rm", "seen")
    until = daemon.docker("info", "-f", "{{.SystemTime}}").stdout.strip()
    lines = daemon.docker(
        "events", "--since", since, "--until", until, "--format", "{{json .}}"
    ).stdout.splitlines()
    events = [json.loads(line) for line in lines]
    actions = [(e["Type"], e["Action"]) for e in events]
    assert actions == [
        ("container", "create"),
        ("container", "attach"),
        ("network", "connect"),
        ("container", "start"),
        ("network", "disconnect"),
        ("container", "die"),
        ("container", "destroy"),
    ]
    attributes = events[0]["Actor"]["Attributes"]
    assert attributes["name"] == "seen"
    assert attributes["image"] == "busybox"
    assert attributes["k"] == "v"
    died = next(e for e in events if e["Action"] == "die")
    assert died["Actor"]["Attributes"]["exitCode"] == "0"
    filtered = daemon.docker(
        "events", "--since", since, "--until", until, "--filter", "event=die", "--format", "{{.Action}}"
    ).stdout
    assert filtered == "die\n"


def test_events_as_they_happen(daemon: Daemon) -> None:
    watcher = daemon.open("events", "--filter", "type=container", "--format", "{{.Action}}")
    try:
        # The watcher subscribed at some moment after its start: make events until it shows one.
        pipe = watcher.stdout
        assert pipe is not None

        def shown() -> bool:
            daemon.docker("run", "--rm", "busybox", "true")
            return bool(select.select([pipe.fileno()], [], [], 0.2)[0])

        host.wait_for(shown, "an event")
        assert pipe.readline().strip()
    finally:
        watcher.send_signal(signal.SIGINT)
        watcher.wait(30)
        for each in (watcher.stdin, watcher.stdout, watcher.stderr):
            if each:
                each.close()


def test_attach_and_its_exit_code(daemon: Daemon) -> None:
    daemon.docker(
        "run",
        "-d",
        "-i",
        "--name",
        "reader",
        "busybox",
        "sh",
        "-c",
        "read line; echo got $line; read line; exit 4",
    )
    process = daemon.open("attach", "reader")
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"text\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"got text\n"
    process.communicate(b"more\n", timeout=60)
    assert process.returncode == 4


def test_attach_to_what_does_not_run(daemon: Daemon) -> None:
    daemon.docker("create", "--name", "idle", "busybox")
    done = daemon.docker("attach", "idle", check=False)
    assert "cannot attach to a stopped container" in done.stderr.lower()


def test_inspect_has_what_tools_read(daemon: Daemon, sleeper: str) -> None:
    value = json.loads(daemon.docker("inspect", "--size", sleeper).stdout)[0]
    assert value["Id"] == sleeper
    assert value["Path"] == "sh"
    assert value["Args"][0] == "-c"
    assert value["State"]["Running"] is True
    assert value["State"]["Pid"] > 0
    assert value["HostConfig"]["RestartPolicy"] == {"Name": "no", "MaximumRetryCount": 0}
    assert value["HostConfig"]["NetworkMode"] in ("bridge", "default")
    assert value["Config"]["Image"] == "busybox"
    assert value["SizeRootFs"] > 500_000
    network = value["NetworkSettings"]["Networks"]["bridge"]
    assert network["IPAddress"].startswith(daemon.gateway.rpartition(".")[0])
    assert network["Gateway"] == daemon.gateway


def test_diff_of_the_root(daemon: Daemon) -> None:
    daemon.docker(
        "run",
        "--name",
        "changed",
        "busybox",
        "sh",
        "-c",
        "echo x > /added; rm /etc/group; echo y >> /etc/passwd",
    )
    lines = set(daemon.docker("diff", "changed").stdout.splitlines())
    assert lines == {"A /added", "C /etc", "D /etc/group", "C /etc/passwd"}


def test_prune(daemon: Daemon) -> None:
    cid = daemon.docker("create", "busybox").stdout.strip()
    assert cid in daemon.docker("container", "prune", "-f").stdout
    assert daemon.docker("ps", "-aq").stdout == ""


def test_export_and_copy_the_root_of_a_running_container(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "box", "-v", "/v", "busybox", "sh", "-c", "echo x > /v/x; sleep 999")
    while daemon.docker("exec", "box", "cat", "/v/x", check=False).returncode:
        pass
    for command, volume in ((("export", "box"), False), (("cp", "box:/", "-"), True)):
        done = subprocess.run(
            ["docker", *command], env=daemon.environment(), capture_output=True, check=True, timeout=100
        )
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            names = {name.removeprefix("./").lstrip("/") for name in archive.getnames()}
        assert {"etc/hostname", "bin/busybox", "v"} <= names
        assert ("v/x" in names) is volume
        assert not [name for name in names if name.startswith(("proc/", "sys/"))]
