"""Hooks and the seccomp agent: who runs when, where, knowing what, and what happens when one fails."""

import array
import json
import os
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from fcntl import ioctl
from pathlib import Path
from typing import Any

import pytest

from knarr.runtime.seccomp.compiler import compile_profile
from tests.system.runtime.conftest import Runtime

NOTIF_RECV, NOTIF_SEND = 0xC0502100, 0xC0182101
"""linux/seccomp.h: SECCOMP_IOCTL_NOTIF_RECV and _SEND, of 80 and 24 bytes."""


def hook(script: str, **fields: Any) -> dict[str, Any]:
    return {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"], **fields}


def written(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


async def test_who_runs_when_and_where(runtime: Runtime, tmp_path: Path) -> None:
    """In order, with the state on standard input; createContainer before the pivot, in the namespaces and root-to-be."""
    log = tmp_path / "log"
    outside = ("prestart", "createRuntime", "poststart", "poststop")
    hooks = {
        name: [hook(f"cat > {tmp_path}/{name}; echo {name} $(readlink /proc/self/ns/mnt) >> {log}")]
        for name in outside
    }
    hooks["prestart"].append(hook(f"echo second $HELLO >> {log}", env=["HELLO=1", "PATH=/bin"]))
    inside = f"cat > {tmp_path}/createContainer; echo createContainer $(readlink /proc/self/ns/mnt) >> {log}"
    hooks["createContainer"] = [
        hook(f"{inside}; pwd >> {log}; test -c dev/null && mount -t tmpfs made srv; umask >> {log}")
    ]
    hooks["startContainer"] = [hook("cat > /srv/state; id -u > /srv/uid; env > /srv/env", env=[])]
    order = runtime.order(
        "sh", "-c", "readlink /proc/self/ns/mnt; cat /srv/state /srv/uid; grep -c made /proc/mounts"
    )
    (runtime.last / "upper/srv").mkdir()
    order["bundle"] |= {"hooks": hooks, "annotations": {"org.example": "yes"}}
    _, out, err = await runtime.live(order)
    assert err == b""
    own, rest = out.decode().split("\n", 1)
    state, end = json.JSONDecoder().raw_decode(rest)
    assert rest[end:].split() == ["0", "1"]
    ours = os.readlink("/proc/self/ns/mnt")
    lines = log.read_text().splitlines()
    assert lines[:4] == [f"prestart {ours}", "second 1", f"createRuntime {ours}", f"createContainer {own}"]
    assert lines[4:] == [f"{order['run_dir']}", "0022", f"poststart {ours}", f"poststop {ours}"]
    pid = written(tmp_path / "prestart")["pid"]
    common = {"id": order["id"], "bundle": order["run_dir"], "annotations": {"org.example": "yes"}}
    for name, status in (
        ("prestart", "creating"),
        ("createRuntime", "creating"),
        ("createContainer", "creating"),
        ("poststart", "running"),
    ):
        told = written(tmp_path / name)
        assert {**told, "ociVersion": ""} == {**common, "ociVersion": "", "pid": pid, "status": status}
    assert state["status"] == "created"
    assert state["pid"] == pid
    stopped = written(tmp_path / "poststop")
    assert stopped["status"] == "stopped"
    assert "pid" not in stopped


@pytest.mark.parametrize("name", ["prestart", "createRuntime", "createContainer"])
async def test_a_hook_that_fails_ends_the_creation(runtime: Runtime, tmp_path: Path, name: str) -> None:
    hooks = {
        name: [hook("true"), hook("echo told; echo why >&2; exit 3")],
        "poststop": [hook(f"touch {tmp_path}/stopped")],
    }
    words = f"error running {name} hook #1: exit status 3, stdout: told\n, stderr: why\n"
    with pytest.raises(Exception, match=words):
        await runtime.launch(runtime.order("true", bundle={"hooks": hooks}))
    assert (tmp_path / "stopped").exists()


async def test_a_hook_that_fails_at_the_start(runtime: Runtime, tmp_path: Path) -> None:
    for name in ("startContainer", "poststart"):
        order = runtime.order("sh", "-c", "sleep 1000", bundle={"hooks": {name: [hook("exit 1")]}})
        shim = await runtime.launch(order)
        with pytest.raises(Exception, match=f"error running {name} hook #0: exit status 1"):
            await shim.start()
        await shim.exited


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (
            {"path": "/no/such/hook"},
            "error running prestart hook #0: fork/exec /no/such/hook: no such file or directory",
        ),
        (hook("sleep 1000", timeout=1), "hook ran past specified timeout of 1.0s"),
        (hook("kill -KILL $$"), "signal: killed"),
        ({"path": "relative"}, "path must be absolute: 'relative'"),
        (hook("true", timeout=0), "timeout must be greater than zero: 0"),
    ],
)
async def test_hooks_that_do_not_work(runtime: Runtime, wish: dict[str, Any], words: str) -> None:
    with pytest.raises(Exception, match=words):
        await runtime.launch(runtime.order("true", bundle={"hooks": {"prestart": [wish]}}))


async def test_a_magic_link_is_no_program_whatever_the_filter(runtime: Runtime) -> None:
    """CVE-2019-5736, also where openat2(2) is forbidden before the program is looked for."""
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": rules("openat2", action="SCMP_ACT_ERRNO", errnoRet=38),
    }
    for program in ("/proc/self/exe", "/proc/1/exe"):
        with pytest.raises(Exception, match="exec: "):
            await runtime.launch(filtered(runtime, profile, program))


async def test_a_prestart_hook_mounts_into_the_container(runtime: Runtime) -> None:
    """As those that bring drivers in: by the pid, at the root's place of before the pivot."""
    script = "pid=$(sed 's/.*\"pid\": \\([0-9]*\\).*/\\1/'); nsenter -m -t $pid mount -t tmpfs driver {}/opt"
    order = runtime.order("grep", "driver /opt tmpfs", "/proc/mounts")
    (runtime.last / "upper/opt").mkdir()
    order["bundle"]["hooks"] = {"prestart": [hook(script.format(order["run_dir"]))]}
    ended, _, _ = await runtime.live(order)
    assert ended.code == 0


class Agent:
    """Takes one listener, and answers every call that it is asked about with an errno."""

    def __init__(self, path: Path, errno: int):
        self.told: list[dict[str, Any]] = []
        self.calls: list[int] = []
        self._errno = errno
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(str(path))
        self._door.listen(4)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._door.accept()
            except OSError:
                return
            with line:
                text, ancillary, _, _ = line.recvmsg(1 << 16, socket.CMSG_SPACE(64))
                while chunk := line.recv(1 << 16):
                    text += chunk
            fds = array.array("i")
            fds.frombytes(ancillary[0][2])
            self.told.append(json.loads(text))
            threading.Thread(target=self._answer, args=(fds[0],), daemon=True).start()

    def _answer(self, listener: int) -> None:
        while True:
            request = bytearray(80)
            try:
                ioctl(listener, NOTIF_RECV, request)
                number, _, _, call = struct.unpack_from("=QIIi", request)
                self.calls.append(call)
                ioctl(listener, NOTIF_SEND, bytearray(struct.pack("=QqiI", number, 0, -self._errno, 0)))
            except OSError:
                os.close(listener)
                return

    def close(self) -> None:
        self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    made = Agent(tmp_path / "agent.sock", 100)
    yield made
    made.close()


def filtered(runtime: Runtime, profile: dict[str, Any], *command: str, **changes: Any) -> dict[str, Any]:
    order = runtime.order(*command, **changes)
    program = runtime.last / "filter"
    program.write_bytes(compile_profile(profile, (), os.uname().machine, (6, 1)))
    order["seccomp"] = str(program)
    order["bundle"]["linux"]["seccomp"] = profile
    return order


def rules(*names: str, action: str, **fields: Any) -> list[dict[str, Any]]:
    return [{"names": list(names), "action": action, **fields}]


@pytest.mark.parametrize("guarded", [False, True])
async def test_an_agent_decides(runtime: Runtime, tmp_path: Path, agent: Agent, guarded: bool) -> None:
    """ENETDOWN for mkdir; the init's listener and that of an exec each come with the state."""
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": str(tmp_path / "agent.sock"),
        "listenerMetadata": "deep water",
        "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", "SECCOMP_FILTER_FLAG_LOG"],
        "syscalls": rules("mkdir", "mkdirat", action="SCMP_ACT_NOTIFY"),
    }
    order = filtered(runtime, profile, "sh", "-c", "mkdir /tmp/x", process={"noNewPrivileges": guarded})
    ended, _, err = await runtime.live(order)
    assert ended.code != 0
    assert b"Network is down" in err
    (told,) = agent.told
    assert told["fds"] == ["seccompFd"]
    assert told["metadata"] == "deep water"
    assert told["pid"] == told["state"]["pid"]
    assert told["state"]["id"] == order["id"]
    assert told["state"]["status"] == "creating"
    assert agent.calls


async def test_an_agent_decides_for_execs(runtime: Runtime, tmp_path: Path, agent: Agent) -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": str(tmp_path / "agent.sock"),
        "syscalls": rules("mkdir", "mkdirat", action="SCMP_ACT_NOTIFY"),
    }
    order = filtered(runtime, profile, "sleep", "1000")
    shim = await runtime.launch(order)
    await shim.start()
    process = {**order["bundle"]["process"], "args": ["sh", "-c", "mkdir /tmp/x && exit 9; exit 7"]}
    handle = await shim.exec("e1", process)
    assert (await handle.exited).code == 7
    assert [told["state"]["status"] for told in agent.told] == ["creating", "running"]
    assert agent.told[1]["pid"] == handle.pid


async def test_an_agent_that_is_not_there(runtime: Runtime, tmp_path: Path) -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": str(tmp_path / "nobody.sock"),
        "syscalls": rules("mkdir", action="SCMP_ACT_NOTIFY"),
    }
    with pytest.raises(Exception, match=r"failed to connect with seccomp agent .*nobody.sock: no such file"):
        await runtime.launch(filtered(runtime, profile, "true"))


@pytest.mark.parametrize(
    ("rule", "code", "words"),
    [
        (rules("mkdir", "mkdirat", action="SCMP_ACT_ERRNO", errnoRet=100), 1, b"Network is down"),
        (rules("mkdir", "mkdirat", action="SCMP_ACT_ERRNO"), 1, b"not permitted"),
        (rules("mkdir", "mkdirat", action="SCMP_ACT_TRAP"), 159, b""),
        (rules("mkdir", "mkdirat", action="SCMP_ACT_KILL_PROCESS"), 159, b""),
        (rules("mkdir", "mkdirat", action="SCMP_ACT_KILL"), 159, b""),
        (rules("mkdir", "mkdirat", action="SCMP_ACT_TRACE"), 1, b"not implemented"),
        (rules("mkdir", "mkdirat", action="SCMP_ACT_LOG"), 0, b""),
    ],
)
async def test_actions(runtime: Runtime, rule: Sequence[dict[str, Any]], code: int, words: bytes) -> None:
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rule}
    ended, _, err = await runtime.live(filtered(runtime, profile, "sh", "-c", "mkdir /tmp/x; exit $?"))
    assert ended.code == code
    assert words in err


async def test_a_filter_that_forbids_what_a_start_needs(runtime: Runtime) -> None:
    """Loaded early, because there is no no_new_privs; what is forbidden then has been done before."""
    names = ("close_range", "fsopen", "openat2", "open_tree", "move_mount", "mount_setattr", "getcwd")
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": rules(*names, action="SCMP_ACT_ERRNO", errnoRet=38),
    }
    ended, out, _ = await runtime.live(filtered(runtime, profile, "ls", "/proc/self/fd"))
    assert (ended.code, out.split()) == (0, [b"0", b"1", b"2", b"3"])
