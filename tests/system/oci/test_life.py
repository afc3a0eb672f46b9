"""A container's life by knarr-oci's commands: created, started, ended, forgotten; and what goes wrong on the way."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import host
from tests.system.oci.conftest import PARENT, Oci


def test_created_started_killed_deleted(oci: Oci) -> None:
    name, bundle = oci.bundle("sleep", "1000", annotations={"a": "b"})
    oci("create", "-b", bundle, "--pid-file", f"{bundle}/pid", name)
    state = oci.state(name)
    assert state["status"] == "created"
    assert state["pid"] == int(Path(bundle, "pid").read_text())
    assert (state["id"], state["bundle"], state["rootfs"]) == (name, bundle, str(oci.rootfs))
    assert state["annotations"] == {"a": "b"}
    assert Path(f"/proc/{state['pid']}/comm").read_text() == "knarr-oci\n"
    oci("start", name)
    assert oci.status(name) == "running"
    assert Path(f"/proc/{state['pid']}/comm").read_text() == "sleep\n"
    assert "cannot start an already running container" in oci.fails("start", name)
    assert f"cannot delete container {name} that is not stopped: running" in oci.fails("delete", name)
    oci("kill", name, "KILL")
    host.wait_for(lambda: oci.status(name) == "stopped", "its end")
    assert oci.state(name)["pid"] == 0
    assert "container not running" in oci.fails("kill", name)
    oci("kill", "--all", name)
    assert "cannot start a container that has stopped" in oci.fails("start", name)
    oci("delete", name)
    assert "container does not exist" in oci.fails("state", name)
    oci("delete", "--force", name)


def test_a_waiting_init_holds_nothing_of_the_host(oci: Oci) -> None:
    name, bundle = oci.bundle("true")
    oci("create", "-b", bundle, name)
    pid = oci.state(name)["pid"]
    fds = {int(fd): os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    assert {target.partition(":")[0] for fd, target in fds.items() if fd > 2} == {"/", "socket"}
    assert os.statvfs(f"/proc/{pid}/exe").f_flag & os.ST_RDONLY
    oci("delete", name)


def test_a_created_container_may_be_ended_by_a_signal(oci: Oci) -> None:
    name, bundle = oci.bundle("sleep", "1000")
    oci("create", "-b", bundle, name)
    oci("kill", name, "TERM")
    host.wait_for(lambda: oci.status(name) == "stopped", "its end")
    oci("delete", name)


def test_the_init_is_a_child_of_the_callers_reaper(oci: Oci) -> None:
    name, bundle = oci.bundle("sh", "-c", "exit 7")
    script = (
        "import json, os, subprocess, sys; from knarr.kernel.process import set_child_subreaper\n"
        "set_child_subreaper()\n"
        f"subprocess.run({oci.argv('create', '-b', bundle, name)!r}, check=True)\n"
        f"pid = json.load(open('{oci.root}/{name}/state.json'))['init_process_pid']\n"
        f"subprocess.run({oci.argv('start', name)!r}, check=True)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 7
    oci("delete", name)


def test_a_name_is_taken_once(oci: Oci) -> None:
    name = oci.running()
    _, bundle = oci.bundle("true")
    said = oci.fails("create", "-b", bundle, name)
    assert "knarr-oci create failed: container with given ID already exists" in said
    assert oci.status(name) == "running"
    oci.stop(name)


def test_one_of_many_starts_wins(oci: Oci) -> None:
    name, bundle = oci.bundle("sleep", "1000")
    oci("create", "-b", bundle, name)
    starts = [subprocess.Popen(oci.argv("start", name), stderr=subprocess.DEVNULL) for _ in range(6)]
    assert sorted(start.wait() for start in starts) == [0, 1, 1, 1, 1, 1]
    assert oci.status(name) == "running"
    oci.stop(name)


def test_a_pid_that_was_given_to_somebody_else_is_nobody(oci: Oci) -> None:
    name = oci.running()
    path = oci.root / name / "state.json"
    state = json.loads(path.read_text())
    path.write_text(json.dumps({**state, "init_process_start": state["init_process_start"] - 1}))
    assert oci.status(name) == "stopped"
    assert "container not running" in oci.fails("kill", name, "KILL")
    path.write_text(json.dumps(state))
    assert oci.status(name) == "running"
    oci.stop(name)


def test_run_returns_the_programs_exit_code(oci: Oci) -> None:
    name, bundle = oci.bundle("sh", "-c", "echo out; echo err >&2; exit 3")
    done = oci("run", "-b", bundle, name, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")


def test_run_keeps_what_it_shall_keep(oci: Oci) -> None:
    name, bundle = oci.bundle("true")
    oci("run", "--keep", "-b", bundle, name)
    assert oci.status(name) == "stopped"
    oci("delete", name)


def test_run_forwards_signals_and_dies_as_its_program_did(oci: Oci) -> None:
    name, bundle = oci.bundle(
        "sh", "-c", "trap 'echo caught; exit 5' TERM; echo ready; while :; do sleep 0.05; done"
    )
    with subprocess.Popen(oci.argv("run", "-b", bundle, name), stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n"
        run.send_signal(signal.SIGTERM)
        assert run.stdout.read() == "caught\n"
        assert run.wait() == 5
    name, bundle = oci.bundle(
        "sh", "-c", "kill -9 $$", linux={"namespaces": [{"type": "mount"}]}, hostname=""
    )
    assert oci("run", "-b", bundle, name, check=False).returncode == 137


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("nosuch", 'exec: "nosuch": executable file not found in $PATH'),
        ("/nosuch", 'exec: "/nosuch": stat /nosuch: no such file or directory'),
        ("/etc", 'exec: "/etc": is a directory'),
        ("/etc/passwd", 'exec: "/etc/passwd": permission denied'),
    ],
)
def test_what_cannot_be_executed_leaves_nothing(oci: Oci, command: str, complaint: str) -> None:
    name, bundle = oci.bundle(command)
    said = oci.fails("create", "-b", bundle, name)
    begin = "knarr-oci create failed: unable to start container process: error during container init: "
    assert begin in said
    assert complaint in said.replace('\\"', '"')
    assert not oci.left()


def test_what_execve_refuses_is_said_by_the_init(oci: Oci) -> None:
    name, bundle = oci.bundle("/bin/badinterpreter")
    done = oci("run", "-b", bundle, name, check=False)
    assert done.returncode == 255
    assert done.stderr == "exec /bin/badinterpreter: no such file or directory\n"


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"process": {"cwd": "x"}}, "Cwd must be an absolute path"),
        ({"root": {"path": "/nosuch"}}, "invalid rootfs: stat /nosuch: no such file or directory"),
        ({"root": None}, "root must be specified"),
        (
            {"process": {"terminal": True}},
            "cannot allocate tty if knarr-oci will detach without setting console socket",
        ),
        ({"linux": {"resources": {"pids": {"limit": "x"}}}}, "create failed"),
        (
            {"mounts": [{"destination": "/x", "type": "bind", "source": "/nosuch", "options": ["bind"]}]},
            "/nosuch",
        ),
    ],
)
def test_what_is_wrong_with_a_bundle_leaves_nothing(
    oci: Oci, changes: dict[str, object], complaint: str
) -> None:
    name, bundle = oci.bundle("true", **changes)
    assert complaint in oci.fails("create", "-b", bundle, name)
    assert not oci.left()


def test_a_bundle_without_configuration(oci: Oci) -> None:
    assert "JSON specification file config.json not found" in oci.fails("run", "-b", str(oci.base), "x")


def test_a_cgroup_with_processes_is_not_taken(oci: Oci) -> None:
    name = oci.running()
    other, bundle = oci.bundle("true", linux={"cgroupsPath": f"/{PARENT}/{name}"})
    assert "container's cgroup is not empty: 1 process(es) found" in oci.fails("run", "-b", bundle, other)
    assert oci.status(name) == "running"
    oci.stop(name)


def test_processes_that_share_the_hosts_pids_end_too(oci: Oci) -> None:
    kinds = [{"type": kind} for kind in ("mount", "uts", "ipc", "network")]
    name = oci.running("sh", "-c", "sleep 1000 & sleep 1000 & wait", linux={"namespaces": kinds})
    host.wait_for(lambda: len(json.loads(oci("ps", "-f", "json", name).stdout)) == 3, "its children")
    pids = json.loads(oci("ps", "-f", "json", name).stdout)
    os.kill(oci.state(name)["pid"], signal.SIGKILL)
    host.wait_for(lambda: oci.status(name) == "stopped", "the init's end")
    oci("delete", name)
    host.wait_for(lambda: not [pid for pid in pids if host.comm(pid) == "sleep"], "their end")


def test_logs_in_a_file(oci: Oci) -> None:
    log = oci.base / "log"
    done = oci("--log", str(log), "--log-format", "json", "state", "nosuch", check=False)
    assert (done.returncode, done.stderr) == (1, "container does not exist\n")
    entry = json.loads(log.read_text())
    assert (entry["level"], entry["msg"]) == ("error", "container does not exist")
    assert time.strptime(entry["time"][:19], "%Y-%m-%dT%H:%M:%S")


def test_global_options_that_cannot_be_had(oci: Oci) -> None:
    assert "systemd support for managing cgroups is not available" in oci.fails("--systemd-cgroup", "list")
    assert "invalid log-format: xml" in oci.fails("--log-format", "xml", "list")
    assert "Option --root argument should not be set to /" in oci.fails("--root", "/", "list")
    assert "cannot be checkpointed" in oci.fails("checkpoint", "--image-path", "x", "y")
    assert "No help topic for 'dance'" in oci.fails("dance", code=3)


def test_a_list_of_containers(oci: Oci) -> None:
    assert "no such file or directory" in oci.fails("list")
    names = sorted(oci.running() for _ in range(2))
    listed = json.loads(oci("list", "-f", "json").stdout)
    assert [each["id"] for each in listed] == names
    assert {each["status"] for each in listed} == {"running"}
    assert oci("list", "-q").stdout.split() == names
    assert oci("list").stdout.splitlines()[1].split()[:3] == [names[0], str(listed[0]["pid"]), "running"]
    for name in names:
        oci.stop(name)


def test_help_names_the_command(oci: Oci) -> None:
    assert oci("--help").stdout.splitlines()[1] == "   knarr-oci - Open Container Initiative runtime"
    assert oci("exec", "-h").stdout.splitlines()[1].startswith("   knarr-oci exec - ")
    assert oci("--version").stdout.startswith("knarr-oci version ")


def test_failing_poststop_hooks_are_warned_of_and_all_are_run(oci: Oci) -> None:
    hook = {"path": "/bin/false"}
    name, bundle = oci.bundle("true", hooks={"poststop": [hook, {"path": "/bin/true"}, hook]})
    done = oci("run", "-b", bundle, name)
    warnings = [line for line in done.stderr.splitlines() if "level=warning" in line]
    assert ["hook #0" in warnings[0], "hook #2" in warnings[1]] == [True, True]


def test_a_failing_poststart_hook_ends_the_container(oci: Oci) -> None:
    name, bundle = oci.bundle("sleep", "1000", hooks={"poststart": [{"path": "/bin/false"}]})
    oci("create", "-b", bundle, name)
    assert "error running poststart hook #0" in oci.fails("start", name)
    assert "container does not exist" in oci.fails("state", name)


def test_hooks_without_an_environment_have_the_runtimes(oci: Oci) -> None:
    hook = {"path": "/bin/sh", "args": ["sh", "-c", 'test "$KNARR_TEST" = of-the-caller']}
    name, bundle = oci.bundle("true", hooks={"createRuntime": [hook], "poststop": [hook]})
    done = oci("run", "-b", bundle, name, env={**os.environ, "KNARR_TEST": "of-the-caller"})
    assert done.stderr == ""


def test_a_network_of_its_own_has_a_loopback(oci: Oci) -> None:
    name, bundle = oci.bundle("cat", "/sys/class/net/lo/flags")
    flags = int(oci("run", "-b", bundle, name).stdout, 16)
    assert flags & 1
