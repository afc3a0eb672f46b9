"""Programs run to their end: codes, signals, streams, who they are and what they see."""

import os
from pathlib import Path
from typing import Any

import pytest

from knarr.model.errors import CannotExecute, Invalid, NoSuchCommand
from knarr.runtime import defaults
from tests.system.runtime.conftest import Runtime


async def test_true(runtime: Runtime) -> None:
    ended, out, err = await runtime.run("true")
    assert (ended.code, ended.oom, out, err) == (0, False, b"", b"")


@pytest.mark.parametrize(
    ("script", "code"), [("exit 3", 3), ("kill -9 $$", 137), ("kill -15 $$", 0), ("exit 255", 255)]
)
async def test_exit_codes(runtime: Runtime, script: str, code: int) -> None:
    """An init ignores what it has no handler for (pid_namespaces(7)), SIGKILL from inside included."""
    ended, _, _ = await runtime.run("sh", "-c", f"sh -c '{script}'; exit $?" if "-9" in script else script)
    assert ended.code == code


async def test_streams_are_apart(runtime: Runtime) -> None:
    _, out, err = await runtime.run("sh", "-c", "echo out; echo err >&2")
    assert (out, err) == (b"out\n", b"err\n")


async def test_a_missing_command_is_told_in_docker_words(runtime: Runtime) -> None:
    with pytest.raises(NoSuchCommand, match=r'exec: "nosuch": executable file not found in \$PATH: unknown'):
        await runtime.launch(runtime.order("nosuch"))
    with pytest.raises(NoSuchCommand, match='exec: "/no/such": stat /no/such: no such file or directory'):
        await runtime.launch(runtime.order("/no/such"))


@pytest.mark.parametrize(
    ("command", "words"),
    [("/bin/noexec", "permission denied"), ("/etc", "is a directory"), ("/etc/passwd", "permission denied")],
)
async def test_what_cannot_be_executed(runtime: Runtime, command: str, words: str) -> None:
    with pytest.raises(CannotExecute, match=f'exec: "{command}": {words}'):
        await runtime.launch(runtime.order(command))


async def test_a_bad_format_is_said_on_standard_error(runtime: Runtime) -> None:
    ended, _, err = await runtime.run("/bin/badformat")
    assert (ended.code, err) == (255, b"exec /bin/badformat: exec format error\n")


async def test_who_it_is(runtime: Runtime) -> None:
    _, out, _ = await runtime.run("id", process={"user": {"name": "web", "groups": ["log", "1234"]}})
    assert out == b"uid=33(web) gid=34(web) groups=4(log),29(audio),34(web),1234\n"
    _, out, _ = await runtime.run("sh", "-c", "echo $HOME; id -u", process={"user": {"name": "web:log"}})
    assert out == b"/srv/web\n33\n"
    _, out, _ = await runtime.run("id", process={"user": {"uid": 5, "gid": 6, "additionalGids": [7]}})
    assert out == b"uid=5 gid=6 groups=7\n"


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ({"name": "nobody"}, "unable to find user nobody: no matching entries in passwd file"),
        ({"name": "web:none"}, "unable to find group none: no matching entries in group file"),
        ({"name": "", "groups": ["none"]}, "unable to find group none: no matching entries in group file"),
    ],
)
async def test_unknown_users(runtime: Runtime, user: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        await runtime.launch(runtime.order("true", process={"user": user}))


async def test_a_user_may_open_its_streams_again(runtime: Runtime) -> None:
    """As nginx's image does: its logs are links to /dev/stdout."""
    process = {"user": {"name": "web"}}
    ended, out, err = await runtime.run(
        "sh", "-c", "echo a > /dev/stdout; echo b > /dev/stderr", process=process
    )
    assert (ended.code, out, err) == (0, b"a\n", b"b\n")


async def test_the_working_directory_is_made(runtime: Runtime) -> None:
    process = {"cwd": "/srv/app", "user": {"name": "web"}}
    _, out, _ = await runtime.run("sh", "-c", "pwd; stat -c %u:%a .", process=process)
    assert out == b"/srv/app\n0:755\n"
    with pytest.raises(Invalid, match="Cannot mkdir: /etc/passwd is not a directory"):
        await runtime.launch(runtime.order("true", process={"cwd": "/etc/passwd"}))


async def test_a_working_directory_closed_to_the_user(runtime: Runtime) -> None:
    process = {"cwd": "/closed", "user": {"name": "web"}}
    ended, out, _ = await runtime.run("pwd", process=process)
    assert ended.code in (0, 1)
    assert out in (b"/closed\n", b"")


async def test_environment_and_hostname(runtime: Runtime) -> None:
    process = {"env": ["PATH=/bin", "A=1=2", "EMPTY="]}
    _, out, _ = await runtime.run("sh", "-c", "env | sort; hostname", process=process)
    assert out == b"A=1=2\nEMPTY=\nHOME=/root\nPATH=/bin\nPWD=/\nSHLVL=1\nbox\n"


async def test_signals_are_at_their_defaults(runtime: Runtime) -> None:
    """Python ignores SIGPIPE, the zygote SIGCHLD; nothing of it is inherited."""
    _, out, _ = await runtime.run("grep", "-E", "Sig(Blk|Ign|Cgt)|NoNewPrivs|Seccomp:", "/proc/self/status")
    assert dict(line.split(b":\t") for line in out.splitlines()) == {
        b"SigBlk": b"0000000000000000",
        b"SigIgn": b"0000000000000000",
        b"SigCgt": b"0000000000000000",
        b"NoNewPrivs": b"0",
        b"Seccomp": b"2",
    }


async def test_no_descriptor_leaks(runtime: Runtime) -> None:
    _, out, _ = await runtime.run("ls", "/proc/self/fd")
    assert out.split() == [b"0", b"1", b"2", b"3"]


async def test_it_is_alone(runtime: Runtime) -> None:
    _, out, _ = await runtime.run("sh", "-c", "echo $$; ls /proc | grep -c '^[0-9]'; ls /sys/class/net")
    lines = out.split()
    assert lines[0] == b"1"
    assert int(lines[1]) < 5
    assert lines[2:] == [b"lo"]


async def test_devices_and_links(runtime: Runtime) -> None:
    script = "echo x > /dev/null && head -c 4 /dev/zero | wc -c; test -c /dev/full -a -c /dev/tty && readlink /dev/ptmx && readlink /dev/fd"
    ended, out, err = await runtime.run("sh", "-c", script)
    assert (ended.code, out, err) == (0, b"4\npts/ptmx\n/proc/self/fd\n", b"")
    _, out, _ = await runtime.run(
        "sh",
        "-c",
        "df -m /dev/shm | tail -1; stat -c %a /dev/shm /dev/mqueue; mknod /tmp/sda b 8 0 && cat /tmp/sda 2>&1",
    )
    assert b" 64 " in out
    assert b"Operation not permitted" in out


async def test_masked_and_read_only_paths(runtime: Runtime) -> None:
    script = "cat /proc/interrupts | wc -c; ls /sys/firmware | wc -l; echo 1 > /proc/sys/kernel/panic; mkdir /sys/x /proc/irq/x"
    _, out, err = await runtime.run("sh", "-c", script)
    assert out == b"0\n0\n"
    assert err.count(b"Read-only file system") >= 2, err


async def test_default_capabilities(runtime: Runtime) -> None:
    _, out, _ = await runtime.run("grep", "Cap", "/proc/self/status")
    held = dict(line.split(b":\t") for line in out.splitlines())
    assert held[b"CapEff"] == held[b"CapPrm"] == held[b"CapBnd"] == b"00000000a80425fb"
    _, out, _ = await runtime.run("grep", "CapEff", "/proc/self/status", process={"user": {"name": "web"}})
    assert out.split()[1] == b"0" * 16


async def test_no_new_privileges(runtime: Runtime) -> None:
    _, out, _ = await runtime.run(
        "grep", "-E", "NoNewPrivs|Seccomp:", "/proc/self/status", process={"noNewPrivileges": True}
    )
    assert out == b"NoNewPrivs:\t1\nSeccomp:\t2\n"


async def test_seccomp_blocks(runtime: Runtime) -> None:
    ended, _, err = await runtime.run("unshare", "-m", "true")
    assert ended.code != 0
    assert b"Operation not permitted" in err


async def test_privileged(runtime: Runtime) -> None:
    from knarr.runtime.caps import ALL

    sets = ("bounding", "effective", "permitted", "inheritable")
    order = runtime.order(
        "x",
        seccomp=None,
        process={
            "args": ["sh", "-c", "mount -t tmpfs none /tmp && echo 0 > /proc/sys/kernel/panic && echo done"],
            "capabilities": {name: list(ALL) for name in sets},
        },
        linux={
            "resources": {"devices": defaults.PRIVILEGED_DEVICE_RULES},
            "maskedPaths": [],
            "readonlyPaths": [],
        },
    )
    order["bundle"]["mounts"] = defaults.mounts(privileged=True)
    order["log"]["path"] = str(runtime.last / "log.json")
    shim = await runtime.launch(order)
    await shim.start()
    assert (await shim.exited).code == 0
    assert '"log":"done\\n"' in (runtime.last / "log.json").read_text()


async def test_read_only_root_with_tmpfs_and_binds(runtime: Runtime, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "file").write_text("from the host\n")
    mounts = [
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "size=1m"]},
        {
            "destination": "/made/deep",
            "type": "bind",
            "source": str(tmp_path / "shared"),
            "options": ["rbind", "rprivate"],
        },
        {
            "destination": "/etc/hosts",
            "type": "bind",
            "source": str(tmp_path / "file"),
            "options": ["rbind", "ro"],
        },
    ]
    script = "echo x > /made/deep/y; echo t > /tmp/t; cat /etc/hosts; echo z > /root/z; echo z > /etc/hosts; stat -c %a /tmp"
    _, out, err = await runtime.run("sh", "-c", script, mounts=mounts, bundle={"root": {"readonly": True}})
    assert out == b"from the host\n1777\n"
    assert err.count(b"Read-only file system") == 2
    assert (tmp_path / "shared/y").read_text() == "x\n"


async def test_a_link_of_the_image_does_not_lead_a_mount_outside(runtime: Runtime, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("data\n")
    upper = runtime.order("cat", "/escape/x", f"{tmp_path}/target/x")
    where = runtime.last / "upper"
    os.symlink(f"../../../../../../{tmp_path}/target", where / "escape")
    (tmp_path / "target").mkdir()
    upper["bundle"]["mounts"].append(
        {"destination": "/escape/x", "type": "bind", "source": str(tmp_path / "file"), "options": ["rbind"]}
    )
    _, out, _ = await runtime.live(upper)
    assert out == b"data\ndata\n"
    assert os.listdir(tmp_path / "target") == []


async def test_a_missing_bind_source(runtime: Runtime) -> None:
    mount = {"destination": "/x", "type": "bind", "source": "/no/such/source", "options": ["rbind"]}
    with pytest.raises(NoSuchCommand, match='error mounting "/no/such/source" to rootfs at "/x"'):
        await runtime.launch(runtime.order("true", mounts=[mount]))


async def test_sysctl_and_rlimits(runtime: Runtime) -> None:
    process = {"rlimits": [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]}
    linux = {"sysctl": {"net.ipv4.ip_unprivileged_port_start": "0"}}
    script = "ulimit -Sn; ulimit -Hn; cat /proc/sys/net/ipv4/ip_unprivileged_port_start"
    _, out, _ = await runtime.run("sh", "-c", script, process=process, linux={**linux})
    assert out == b"100\n200\n0\n"


async def test_explained_steps_have_reasons_and_times(runtime: Runtime) -> None:
    shim = await runtime.launch(runtime.order("true", explain=True))
    assert [step.name.split()[0] for step in shim.steps[:3]] == ["cgroup", "protect", "enter-cgroup"]
    assert all(step.reason and step.at and step.room == "runtime" for step in shim.steps)


async def test_an_own_view_of_control_groups(runtime: Runtime) -> None:
    _, out, _ = await runtime.run("cat", "/proc/self/cgroup")
    assert {line.rpartition(b":")[2] for line in out.splitlines()} == {b"/"}
