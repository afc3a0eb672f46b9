"""`docker run` and its flags, by the unmodified docker CLI."""

import json
import re
from pathlib import Path

import pytest

from tests.support import host
from tests.support.daemons import Daemon
from tests.support.terminal import Terminal


def run(daemon: Daemon, *arguments: str) -> str:
    """The output of a container that is removed afterwards."""
    return daemon.docker("run", "--rm", *arguments).stdout


def test_output_and_success(daemon: Daemon) -> None:
    done = daemon.docker("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("true",), 0),
        (("false",), 1),
        (("sh", "-c", "exit 42"), 42),
        (("sh", "-c", "kill -TERM $$; sleep 10"), 143),
        (("sh", "-c", "kill -9 $$"), 137),
        (("/no/such/command",), 127),
        (("/etc/passwd",), 126),
    ],
)
def test_exit_codes(daemon: Daemon, command: tuple[str, ...], code: int) -> None:
    if command[0] == "sh" and code > 128:
        # The kernel keeps deadly signals from a pid 1 without handlers: the shell runs one below itself.
        command = ("sh", "-c", f"sh -c '{command[2]}'; exit $?")
    assert daemon.docker("run", "--rm", "busybox", *command, check=False).returncode == code


def test_a_missing_command_is_said_in_dockers_words(daemon: Daemon) -> None:
    done = daemon.docker("run", "--rm", "busybox", "nothing-like-that", check=False)
    assert done.returncode == 127
    assert 'exec: "nothing-like-that": executable file not found in $PATH' in done.stderr


def test_what_is_not_executable_is_said_in_dockers_words(daemon: Daemon) -> None:
    done = daemon.docker("run", "--rm", "busybox", "/etc/passwd", check=False)
    assert done.returncode == 126
    assert 'exec: "/etc/passwd": permission denied' in done.stderr


def test_an_unknown_image_is_125(daemon: Daemon) -> None:
    done = daemon.docker("run", "--rm", "--pull", "never", "nothing:here", check=False)
    assert done.returncode == 125
    assert "No such image: nothing:here" in done.stderr


def test_detached_prints_the_id_and_goes_on(daemon: Daemon) -> None:
    cid = daemon.docker("run", "-d", "busybox", "sleep", "1000").stdout.strip()
    assert re.fullmatch(r"[0-9a-f]{64}", cid)
    assert (
        daemon.docker("inspect", "-f", "{{.State.Running}} {{.State.Status}}", cid).stdout == "true running\n"
    )


def test_a_name_can_be_taken_only_once(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "one", "busybox", "sleep", "1000")
    done = daemon.docker("run", "--name", "one", "busybox", "true", check=False)
    assert done.returncode == 125
    assert 'Conflict. The container name "/one" is already in use by container' in done.stderr


def test_a_bad_name_is_refused(daemon: Daemon) -> None:
    done = daemon.docker("create", "--name", "!", "busybox", check=False)
    assert done.returncode == 1
    assert "Invalid container name (!), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed" in done.stderr


def test_rm_removes_container_and_anonymous_volume(daemon: Daemon) -> None:
    before = daemon.docker("volume", "ls", "-q").stdout
    run(daemon, "-v", "/data", "busybox", "true")
    assert daemon.docker("ps", "-aq").stdout == ""
    assert daemon.docker("volume", "ls", "-q").stdout == before


def test_environment(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("# a comment\nFROM_FILE=1\n")
    out = run(
        daemon, "-e", "A=b c", "--env-file", str(tmp_path / "env"), "--hostname", "box", "busybox", "env"
    )
    lines = set(out.splitlines())
    assert {"A=b c", "FROM_FILE=1", "HOSTNAME=box", "HOME=/root", "PATH=/bin:/usr/bin"} <= lines


def test_a_terminal_gets_term(daemon: Daemon) -> None:
    assert "TERM=xterm\r\n" in run(daemon, "-t", "busybox", "env")


def test_working_directory_is_made(daemon: Daemon) -> None:
    assert run(daemon, "-w", "/new/dir", "busybox", "pwd") == "/new/dir\n"


def test_a_relative_working_directory_is_refused(daemon: Daemon) -> None:
    done = daemon.docker("run", "--rm", "-w", "relative", "busybox", "pwd", check=False)
    assert done.returncode == 125
    assert "the working directory 'relative' is invalid, it needs to be an absolute path" in done.stderr


@pytest.mark.parametrize(
    ("user", "wanted"),
    [
        ("daemon", "uid=1(daemon) gid=1(daemon) groups=1(daemon),29(audio)"),
        ("1000", "uid=1000 gid=0(root) groups=0(root)"),
        ("1000:1001", "uid=1000 gid=1001 groups=1001"),
        ("nobody:audio", "uid=65534(nobody) gid=29(audio) groups=29(audio)"),
    ],
)
def test_user(daemon: Daemon, user: str, wanted: str) -> None:
    assert run(daemon, "-u", user, "busybox", "id").strip() == wanted


def test_groups_are_added(daemon: Daemon) -> None:
    out = run(daemon, "-u", "1000:1000", "--group-add", "audio", "--group-add", "777", "busybox", "id", "-G")
    assert set(out.split()) == {"1000", "29", "777"}


def test_an_unknown_user_is_refused(daemon: Daemon) -> None:
    done = daemon.docker("run", "--rm", "-u", "nosuchuser", "busybox", "true", check=False)
    assert done.returncode == 125
    assert "unable to find user nosuchuser: no matching entries in passwd file" in done.stderr


def test_labels(daemon: Daemon) -> None:
    cid = daemon.docker("create", "-l", "a=1", "--label", "b", "busybox").stdout.strip()
    assert json.loads(daemon.docker("inspect", "-f", "{{json .Config.Labels}}", cid).stdout) == {
        "a": "1",
        "b": "",
    }
    assert daemon.docker("ps", "-aq", "--no-trunc", "--filter", "label=a=1").stdout.strip() == cid


CGROUP = {
    "memory": ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory.max"),
    "pids": ("/sys/fs/cgroup/pids/pids.max", "/sys/fs/cgroup/pids.max"),
    "quota": ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu.max"),
    "shares": ("/sys/fs/cgroup/cpu/cpu.shares", "/sys/fs/cgroup/cpu.weight"),
    "cpuset": ("/sys/fs/cgroup/cpuset/cpuset.cpus", "/sys/fs/cgroup/cpuset.cpus"),
}


@pytest.mark.parametrize(
    ("flags", "kind", "v1", "v2"),
    [
        (("-m", "64m"), "memory", "67108864", "67108864"),
        (("--pids-limit", "77"), "pids", "77", "77"),
        (("--cpus", "0.5"), "quota", "50000", "50000 100000"),
        (("--cpu-shares", "512"), "shares", "512", "20"),
        (("--cpuset-cpus", "0"), "cpuset", "0", "0"),
    ],
)
def test_limits(daemon: Daemon, flags: tuple[str, ...], kind: str, v1: str, v2: str) -> None:
    old, new = CGROUP[kind]
    out = run(daemon, *flags, "busybox", "sh", "-c", f"cat {old} 2>/dev/null || cat {new}")
    assert out.strip() in (v1, v2)


def test_out_of_memory_is_told_apart(daemon: Daemon) -> None:
    eat = "x=a; while true; do x=$x$x; done"
    daemon.docker(
        "run", "--name", "eater", "-m", "32m", "--memory-swap", "32m", "busybox", "sh", "-c", eat, check=False
    )
    assert (
        daemon.docker("inspect", "-f", "{{.State.OOMKilled}} {{.State.ExitCode}}", "eater").stdout
        == "true 137\n"
    )


def test_too_little_memory_is_refused(daemon: Daemon) -> None:
    done = daemon.docker("run", "--rm", "-m", "1m", "busybox", "true", check=False)
    assert done.returncode == 125
    assert "Minimum memory limit allowed is 6MB" in done.stderr


def test_a_read_only_root(daemon: Daemon) -> None:
    done = daemon.docker("run", "--rm", "--read-only", "busybox", "touch", "/x", check=False)
    assert done.returncode == 1
    assert "Read-only file system" in done.stderr


def test_tmpfs(daemon: Daemon) -> None:
    out = run(
        daemon,
        "--read-only",
        "--tmpfs",
        "/run:size=1m,mode=700",
        "busybox",
        "sh",
        "-c",
        "touch /run/x; grep ' /run ' /proc/mounts; stat -c %a /run",
    )
    assert "tmpfs /run tmpfs rw,nosuid,nodev,noexec" in out
    assert "size=1024k" in out
    assert out.endswith("700\n")


def test_entrypoint(daemon: Daemon) -> None:
    assert run(daemon, "--entrypoint", "echo", "busybox", "a", "b") == "a b\n"


def test_hostname_and_hosts(daemon: Daemon) -> None:
    out = run(
        daemon,
        "--hostname",
        "box.example.org",
        "--add-host",
        "peer:10.1.2.3",
        "busybox",
        "sh",
        "-c",
        "hostname; cat /etc/hostname /etc/hosts",
    )
    lines = out.splitlines()
    assert lines[:2] == ["box.example.org", "box.example.org"]
    assert "127.0.0.1\tlocalhost" in lines
    assert "10.1.2.3\tpeer" in lines
    assert any(line.endswith("\tbox.example.org box") for line in lines)


def test_the_default_hostname_is_the_short_id(daemon: Daemon) -> None:
    cid = daemon.docker("run", "-d", "busybox", "sleep", "100").stdout.strip()
    assert daemon.docker("exec", cid, "hostname").stdout.strip() == cid[:12]


def test_dns(daemon: Daemon) -> None:
    out = run(
        daemon,
        "--dns",
        "10.9.8.7",
        "--dns-search",
        "example.org",
        "--dns-option",
        "ndots:2",
        "busybox",
        "cat",
        "/etc/resolv.conf",
    )
    lines = [line for line in out.splitlines() if line and not line.startswith("#")]
    assert lines == ["nameserver 10.9.8.7", "search example.org", "options ndots:2"]


def test_shm_size(daemon: Daemon) -> None:
    assert "65536" in run(daemon, "busybox", "df", "-k", "/dev/shm")
    assert "1024" in run(daemon, "--shm-size", "1m", "busybox", "df", "-k", "/dev/shm")


def test_ulimits(daemon: Daemon) -> None:
    assert (
        run(daemon, "--ulimit", "nofile=123:456", "busybox", "sh", "-c", "ulimit -Sn; ulimit -Hn")
        == "123\n456\n"
    )


def _effective(daemon: Daemon, *flags: str) -> int:
    return int(run(daemon, *flags, "busybox", "grep", "CapEff", "/proc/self/status").split()[1], 16)


def test_capabilities(daemon: Daemon) -> None:
    assert _effective(daemon) == 0x00000000A80425FB
    assert _effective(daemon, "--cap-drop", "ALL") == 0
    assert _effective(daemon, "--cap-drop", "ALL", "--cap-add", "NET_ADMIN") == 1 << 12
    assert _effective(daemon, "--cap-add", "SYS_PTRACE") == 0x00000000A80425FB | 1 << 19
    assert _effective(daemon, "--cap-drop", "CHOWN") == 0x00000000A80425FB & ~1
    assert _effective(daemon, "-u", "1000") == 0


def test_an_unknown_capability_is_refused(daemon: Daemon) -> None:
    done = daemon.docker("run", "--rm", "--cap-add", "NOTHING", "busybox", "true", check=False)
    assert done.returncode == 125
    assert 'invalid CapAdd: unknown capability: "CAP_NOTHING"' in done.stderr


def test_privileged(daemon: Daemon) -> None:
    out = run(
        daemon,
        "--privileged",
        "busybox",
        "sh",
        "-c",
        "grep Seccomp: /proc/self/status; test -e /dev/kmsg && echo devices; mount -t tmpfs x /mnt 2>/dev/null || mkdir /mnt && mount -t tmpfs x /mnt && echo mounted",
    )
    assert re.search(r"Seccomp:\s+0", out)
    assert "devices" in out
    assert "mounted" in out


def test_seccomp_and_no_new_privileges(daemon: Daemon) -> None:
    status = run(daemon, "--security-opt", "no-new-privileges", "busybox", "cat", "/proc/self/status")
    assert re.search(r"Seccomp:\s+2", status)
    assert re.search(r"NoNewPrivs:\s+1", status)
    status = run(daemon, "--security-opt", "seccomp=unconfined", "busybox", "cat", "/proc/self/status")
    assert re.search(r"Seccomp:\s+0", status)
    assert re.search(r"NoNewPrivs:\s+0", status)


def test_a_seccomp_profile_of_ones_own(daemon: Daemon, tmp_path: Path) -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
    }
    (tmp_path / "profile.json").write_text(json.dumps(profile))
    done = daemon.docker(
        "run",
        "--rm",
        "--security-opt",
        f"seccomp={tmp_path / 'profile.json'}",
        "busybox",
        "mkdir",
        "/x",
        check=False,
    )
    assert done.returncode == 1
    assert "Operation not permitted" in done.stderr


def test_masked_and_read_only_paths(daemon: Daemon) -> None:
    out = run(
        daemon,
        "busybox",
        "sh",
        "-c",
        "cat /proc/kcore | wc -c; ls /sys/firmware | wc -l; echo 1 > /proc/sys/kernel/panic; true",
    )
    assert out.split() == ["0", "0"]


def test_its_own_processes_only(daemon: Daemon) -> None:
    assert run(daemon, "busybox", "sh", "-c", "echo $$; ls -d /proc/[0-9]* | wc -l").split()[0] == "1"


def test_cidfile(daemon: Daemon, tmp_path: Path) -> None:
    path = tmp_path / "cid"
    cid = daemon.docker("run", "-d", "--cidfile", str(path), "busybox", "sleep", "100").stdout.strip()
    assert path.read_text() == cid


def test_stdin_reaches_the_container(daemon: Daemon) -> None:
    data = b"".join(b"line %d\n" % n for n in range(50_000))
    done = daemon.docker("run", "--rm", "-i", "busybox", "cat", data=data)
    assert done.stdout.encode() == data


def test_much_output_arrives_whole(daemon: Daemon) -> None:
    done = daemon.docker("run", "--rm", "busybox", "sh", "-c", "yes 0123456789 | head -n 300000")
    assert done.stdout == "0123456789\n" * 300_000


def test_restart_on_failure(daemon: Daemon) -> None:
    cid = daemon.docker("run", "-d", "--restart", "on-failure:2", "busybox", "false").stdout.strip()
    assert daemon.docker("wait", cid).stdout.strip() == "1"
    host.wait_for(
        lambda: (
            daemon.docker("inspect", "-f", "{{.RestartCount}} {{.State.Status}}", cid).stdout == "2 exited\n"
        ),
        "two restarts",
    )


def test_a_bind_mount(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("hello")
    out = run(daemon, "-v", f"{tmp_path}:/data", "busybox", "sh", "-c", "cat /data/in; echo back > /data/out")
    assert out == "hello"
    assert (tmp_path / "out").read_text() == "back\n"
    done = daemon.docker(
        "run", "--rm", "-v", f"{tmp_path}:/data:ro", "busybox", "touch", "/data/x", check=False
    )
    assert "Read-only file system" in done.stderr


def test_a_missing_bind_source(daemon: Daemon, tmp_path: Path) -> None:
    run(daemon, "-v", f"{tmp_path}/made:/data", "busybox", "true")
    assert (tmp_path / "made").is_dir()
    done = daemon.docker(
        "run",
        "--rm",
        "--mount",
        f"type=bind,source={tmp_path}/missing,target=/data",
        "busybox",
        "true",
        check=False,
    )
    assert done.returncode == 125
    assert 'invalid mount config for type "bind": bind source path does not exist' in done.stderr


def test_a_named_volume_keeps_data_and_copies_the_image(daemon: Daemon) -> None:
    try:
        run(daemon, "-v", "kept:/etc", "busybox", "sh", "-c", "echo mine > /etc/mine")
        assert run(daemon, "-v", "kept:/data", "busybox", "cat", "/data/mine", "/data/passwd").startswith(
            "mine\nroot:x:0:0"
        )
    finally:
        daemon.docker("volume", "rm", "kept")


def test_volumes_from(daemon: Daemon) -> None:
    daemon.docker("run", "--name", "holder", "-v", "/data", "busybox", "sh", "-c", "echo x > /data/x")
    assert run(daemon, "--volumes-from", "holder", "busybox", "cat", "/data/x") == "x\n"


def test_a_device(daemon: Daemon) -> None:
    out = run(
        daemon,
        "--device",
        "/dev/zero:/dev/mine:r",
        "busybox",
        "sh",
        "-c",
        "head -c 3 /dev/mine | wc -c; ls -l /dev/mine | cut -c1",
    )
    assert out.split() == ["3", "c"]


def test_unknown_flag(daemon: Daemon) -> None:
    assert daemon.docker("run", "--no-such-flag", "busybox", check=False).returncode == 125


def test_run_it_on_a_terminal(daemon: Daemon) -> None:
    with Terminal(
        ["docker", "run", "-it", "--rm", "busybox", "sh"], daemon.environment(), size=(33, 99)
    ) as terminal:
        terminal.expect("/ # ")
        terminal.type("stty size\n")
        terminal.expect("33 99\r\n")
        terminal.expect("# ")
        terminal.type("tty; exit 7\n")
        terminal.expect("/dev/pts/0|/dev/console")
        assert terminal.wait() == 7


def test_detach_and_attach_again(daemon: Daemon) -> None:
    with Terminal(
        ["docker", "run", "-it", "--name", "term", "busybox", "sh"], daemon.environment()
    ) as terminal:
        terminal.expect("/ # ")
        terminal.type("x=kept\n")
        terminal.expect("/ # ")
        terminal.type("\x10\x11")
        assert terminal.wait() == 0
    with Terminal(["docker", "attach", "term"], daemon.environment()) as terminal:
        terminal.type("echo is-$x\n")
        terminal.expect("is-kept")
        terminal.type("exit 3\n")
        assert terminal.wait() == 3


def test_interrupting_the_client_stops_the_container(daemon: Daemon) -> None:
    process = daemon.open(
        "run",
        "--rm",
        "--name",
        "trapper",
        "busybox",
        "sh",
        "-c",
        "trap 'echo got; exit 5' INT; echo ready; while true; do sleep 0.1; done",
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(2)
    out, _ = process.communicate(timeout=60)
    assert out == b"got\n"
    assert process.returncode == 5


def test_a_tiny_init_reaps_and_passes_signals_on(daemon: Daemon) -> None:
    script = "trap 'echo got; exit 5' TERM; sh -c 'sleep 0.01 & exec true'; echo ready; while true; do sleep 0.1; done"
    box = daemon.docker("run", "-d", "--init", "busybox", "sh", "-c", script).stdout.strip()
    assert daemon.docker("exec", box, "cat", "/proc/1/comm").stdout == "docker-init\n"
    host.wait_for(lambda: "ready" in daemon.docker("logs", box).stdout, "the script")
    stats = ("sh", "-c", "cat /proc/[0-9]*/stat 2>/dev/null")
    host.wait_for(
        lambda: ") Z " not in daemon.docker("exec", box, *stats, check=False).stdout, "the orphan's reaping"
    )
    daemon.docker("stop", box)
    assert daemon.docker("wait", box).stdout == "5\n"
    assert "got" in daemon.docker("logs", box).stdout
