"""What a shim does beside running: terminals, attach, exec, logs, limits, its own survival."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import knarr
from knarr.engine.shims import Shim, read_exit
from knarr.engine.zygote import STUB, Zygote
from knarr.kernel.cgroups import hierarchy
from knarr.kernel.cgroups.open import open_cgroup
from knarr.model.errors import Conflict, KnarrError, NoSuchCommand, NotFound, Unavailable
from knarr.wire import mux
from tests.support import host
from tests.system.runtime.conftest import PARENT, PATIENCE, Runtime, read_all, read_until


def pair(size: int = 0) -> tuple[socket.socket, socket.socket]:
    mine, theirs = socket.socketpair()
    if size:
        for sock in (mine, theirs):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
    mine.setblocking(False)
    return mine, theirs


async def attach(
    shim: Shim, *, stdin: bool = False, framed: bool = False, keys: str = "", tail: bytes = b""
) -> socket.socket:
    mine, theirs = pair()
    with theirs:
        await shim.attach(
            theirs.fileno(), stdin=stdin, stdout=True, stderr=True, framed=framed, detach_keys=keys, tail=tail
        )
    return mine


async def ended(shim: Shim) -> int:
    return (await asyncio.wait_for(asyncio.shield(shim.exited), PATIENCE)).code


def log_lines(path: Path) -> list[tuple[str, str]]:
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return [(record["stream"], record["log"]) for record in records]


async def test_a_terminal(runtime: Runtime) -> None:
    size = {"consoleSize": {"width": 91, "height": 33}}
    script = "stty size; tty; test -c /dev/console && echo seen; read x; stty size; exit 7"
    shim = await runtime.launch(runtime.order("sh", "-c", script, tty=True, stdin=True, process=size))
    with await attach(shim, stdin=True) as client:
        await shim.start()
        assert await read_until(client, b"seen\r\n") == b"33 91\r\n/dev/pts/0\r\nseen\r\n"
        await shim.resize(100, 40)
        await asyncio.get_running_loop().sock_sendall(client, b"\n")
        assert await read_all(client) == b"\r\n40 100\r\n"
    assert await ended(shim) == 7


async def test_ctrl_c_reaches_the_foreground(runtime: Runtime) -> None:
    shim = await runtime.launch(
        runtime.order("sh", "-c", "trap 'echo caught; exit 4' INT; echo go; read x", tty=True)
    )
    with await attach(shim, stdin=True) as client:
        await shim.start()
        await read_until(client, b"go")
        await asyncio.get_running_loop().sock_sendall(client, b"\x03")
        await read_until(client, b"caught")
    assert await ended(shim) == 4


async def test_detach_keys_leave_the_program_alone(runtime: Runtime) -> None:
    shim = await runtime.launch(runtime.order("cat", tty=True, stdin=True))
    told: asyncio.Queue[str | None] = asyncio.Queue()
    shim.on_detach = told.put_nowait
    with await attach(shim, stdin=True, keys="ctrl-x,x") as client:
        await shim.start()
        await asyncio.get_running_loop().sock_sendall(client, b"hello")
        await read_until(client, b"hello")
        await asyncio.get_running_loop().sock_sendall(client, b"\x18x")
        await read_all(client)
    assert await asyncio.wait_for(told.get(), PATIENCE) is None
    assert not shim.exited.done()
    await shim.signal(signal.SIGKILL)
    assert await ended(shim) == 137


async def test_input_and_its_end(runtime: Runtime) -> None:
    shim = await runtime.launch(runtime.order("wc", "-c", stdin=True))
    with await attach(shim, stdin=True, tail=b"12345") as client:
        await shim.start()
        data = b"x" * 1_000_000
        sending = asyncio.create_task(asyncio.get_running_loop().sock_sendall(client, data))
        await sending
        client.shutdown(socket.SHUT_WR)
        assert await read_all(client) == b"1000005\n"
    assert await ended(shim) == 0


async def test_frames(runtime: Runtime) -> None:
    shim = await runtime.launch(runtime.order("sh", "-c", "echo out; sleep 0.1; echo err >&2"))
    with await attach(shim, framed=True) as client:
        await shim.start()
        frames = mux.Decoder().feed(await read_all(client))
    assert frames == [mux.Frame(1, b"out\n"), mux.Frame(2, b"err\n")]


async def test_a_slow_client_gets_everything(runtime: Runtime) -> None:
    """8 MB through a client that starts to read late: nothing is lost, nothing is doubled."""
    shim = await runtime.launch(runtime.order("sh", "-c", "seq 1 1200000", log={"driver": "none"}))
    with await attach(shim) as client:
        await shim.start()
        out = await read_all(client)
    assert out == b"".join(b"%d\n" % number for number in range(1, 1_200_001))
    assert await ended(shim) == 0


async def test_a_client_that_never_reads_stops_neither_log_nor_program(runtime: Runtime) -> None:
    order = runtime.order("sh", "-c", "seq 1 600000; echo done")
    shim = await runtime.launch(order)
    with await attach(shim) as client:
        await shim.start()
        assert await ended(shim) == 0
        records = log_lines(Path(order["log"]["path"]))
        assert records[-1] == ("stdout", "done\n")
        assert len(records) == 600_001
        assert (await read_all(client)).endswith(b"\n600000\ndone\n")


async def test_two_clients_see_the_same(runtime: Runtime) -> None:
    shim = await runtime.launch(runtime.order("echo", "both"))
    with await attach(shim) as first, await attach(shim, framed=True) as second:
        await shim.start()
        assert await read_all(first) == b"both\n"
        assert await read_all(second) == mux.encode(1, b"both\n")


async def test_logs_rotate(runtime: Runtime) -> None:
    order = runtime.order("sh", "-c", "seq 1 3000")
    path = Path(order["log"]["path"])
    order["log"].update(max_size=40_000, max_file=3)
    shim = await runtime.launch(order)
    await shim.start()
    await ended(shim)
    files = [path.with_name("log.json.2"), path.with_name("log.json.1"), path]
    assert sorted(path.parent.glob("log.json*")) == sorted(files)
    assert all(file.stat().st_size <= 40_000 for file in files)
    texts = [text for file in files for _, text in log_lines(file)]
    assert texts[-1] == "3000\n"
    assert [int(text) for text in texts] == list(range(int(texts[0]), 3001))


async def test_exec(runtime: Runtime) -> None:
    shim = await runtime.launch(runtime.order("sleep", "1000"))
    await shim.start()
    mine, theirs = pair()
    process = {
        "args": ["sh", "-c", "cat; hostname; echo $$; exit 9"],
        "env": ["PATH=/bin"],
        "cwd": "/tmp",
        "user": {"name": ""},
    }
    with mine:
        with theirs:
            handle = await shim.exec(
                "e1", process, sock_fd=theirs.fileno(), stdin=True, stdout=True, stderr=True, tail=b"in\n"
            )
        mine.shutdown(socket.SHUT_WR)
        frames = mux.Decoder().feed(await read_all(mine))
    text = b"".join(frame.data for frame in frames)
    assert text.startswith(b"in\nbox\n")
    assert int(text.split()[2]) > 1
    assert handle.exited.result().code == 9, "the exit is known before the streams end"
    assert not shim.execs


async def test_exec_failures(runtime: Runtime) -> None:
    shim = await runtime.launch(runtime.order("sleep", "1000"))
    await shim.start()
    process = {"args": ["nosuch"], "env": ["PATH=/bin"], "cwd": "/", "user": {"name": ""}}
    words = r'OCI runtime exec failed: exec failed: unable to start container process: exec: "nosuch": executable file not found in \$PATH: unknown'
    with pytest.raises(NoSuchCommand, match=words):
        await shim.exec("e1", process)
    with pytest.raises(KnarrError, match="unable to find user x: no matching entries in passwd file"):
        await shim.exec("e2", {**process, "user": {"name": "x"}})
    assert not shim.execs
    with pytest.raises(NotFound):
        await shim.ask("exec-signal", exec="e1", signal=9)


async def test_exec_on_a_terminal(runtime: Runtime) -> None:
    shim = await runtime.launch(runtime.order("sleep", "1000"))
    await shim.start()
    mine, theirs = pair()
    process = {
        "args": ["sh", "-c", "read x; stty size; id -u; exit 3"],
        "env": ["PATH=/bin"],
        "cwd": "/",
        "user": {"name": "web"},
        "terminal": True,
    }
    with mine:
        with theirs:
            handle = await shim.exec(
                "t", process, sock_fd=theirs.fileno(), stdin=True, stdout=True, framed=False
            )
        await handle.resize(77, 22)
        await asyncio.get_running_loop().sock_sendall(mine, b"\n")
        assert await read_all(mine) == b"\r\n22 77\r\n33\r\n"
    assert (await asyncio.wait_for(asyncio.shield(handle.exited), PATIENCE)).code == 3


async def test_execs_end_with_the_container(runtime: Runtime) -> None:
    shim = await runtime.launch(runtime.order("sleep", "1000"))
    await shim.start()
    process = {"args": ["sleep", "1000"], "env": ["PATH=/bin"], "cwd": "/", "user": {"name": ""}}
    handle = await shim.exec("e", process)
    assert len(await shim.pids()) == 2
    await shim.signal(signal.SIGKILL)
    assert await ended(shim) == 137
    assert (await asyncio.wait_for(asyncio.shield(handle.exited), PATIENCE)).code == 137


async def test_pause_and_resume(runtime: Runtime) -> None:
    shim = await runtime.launch(runtime.order("sh", "-c", "while :; do echo tick; sleep 0.05; done"))
    with await attach(shim) as client:
        await shim.start()
        await read_until(client, b"tick")
        await shim.pause()
        assert shim.paused
        await shim.resume()
        await read_until(client, b"tick")
    await shim.pause()
    await shim.signal(signal.SIGKILL)
    assert await ended(shim) == 137


async def test_memory_limit_and_oom(runtime: Runtime) -> None:
    linux = {"resources": {"memory": {"limit": 16 << 20}}}
    shim = await runtime.launch(runtime.order("sh", "-c", "x=a; while :; do x=$x$x; done", linux=linux))
    await shim.start()
    finished = await asyncio.wait_for(asyncio.shield(shim.exited), PATIENCE)
    assert (finished.code, finished.oom) == (137, True)


async def test_limits_are_in_force_and_can_be_changed(runtime: Runtime) -> None:
    resources = {"cpu": {"shares": 512, "quota": 50000, "period": 100000}, "pids": {"limit": 20}}
    shim = await runtime.launch(runtime.order("sleep", "1000", linux={"resources": resources}))
    await shim.start()

    def pids_max() -> set[str]:
        name = f"{PARENT}/{shim.container}/pids.max"
        return {
            path.read_text().strip()
            for path in (host.CGROUP / name, *host.CGROUP.glob(f"*/{name}"))
            if path.exists()
        }

    assert pids_max() == {"20"}
    await shim.update({"pids": {"limit": 30}})
    assert pids_max() == {"30"}
    assert (await shim.stats())["pids"] == {"current": 1, "limit": 30}


async def test_the_shim_is_not_in_the_container_cgroup(runtime: Runtime) -> None:
    shim = await runtime.launch(runtime.order("sleep", "1000"))
    await shim.start()
    assert await shim.pids() == [shim.pid]


async def test_a_container_outlives_its_daemon_and_is_taken_up_again(runtime: Runtime) -> None:
    order = runtime.order("sh", "-c", "echo one; read x; echo $x; exit 5", stdin=True)
    shim = await runtime.launch(order)
    await shim.start()
    process = {"args": ["sleep", "1000"], "env": ["PATH=/bin"], "cwd": "/", "user": {"name": ""}}
    await shim.exec("kept", process)
    await shim.close()
    with pytest.raises(Unavailable):
        await shim.signal(0)
    again = await Shim.connect(order["run_dir"])
    runtime.shims.append(again)
    assert (again.container, again.pid, again.started, list(again.execs)) == (
        order["id"],
        shim.pid,
        True,
        ["kept"],
    )
    with await attach(again, stdin=True) as client:
        await asyncio.get_running_loop().sock_sendall(client, b"two\n")
        assert await read_all(client) == b"two\n"
    assert await ended(again) == 5
    assert log_lines(Path(order["log"]["path"])) == [("stdout", "one\n"), ("stdout", "two\n")]


async def test_an_exit_nobody_saw_is_found_again(runtime: Runtime) -> None:
    order = runtime.order("sh", "-c", "exit 6")
    shim = await runtime.launch(order)
    await shim.start()
    await shim.close()
    exit_file = Path(order["run_dir"]) / "exit.json"
    await asyncio.to_thread(host.wait_for, exit_file.exists, "exit.json")
    again = await Shim.connect(order["run_dir"])
    assert await ended(again) == 6
    assert read_exit(order["run_dir"]) == again.exited.result()
    await again.release()
    with pytest.raises(Unavailable):
        await Shim.connect(order["run_dir"])
    assert os.listdir(order["run_dir"]) == ["exit.json"]


async def test_release(runtime: Runtime) -> None:
    shim = await runtime.launch(runtime.order("sleep", "1000"))
    parent = int(Path(f"/proc/{shim.pid}/stat").read_text().rpartition(")")[2].split()[1])
    await shim.start()
    with pytest.raises(Conflict):
        await shim.ask("release")
    await shim.signal(signal.SIGTERM)
    await shim.signal(signal.SIGKILL)
    await ended(shim)
    await shim.release()
    await asyncio.to_thread(host.wait_for, lambda: parent not in host.processes(), "the shim ends")


async def test_a_container_that_is_never_started_is_given_up(runtime: Runtime) -> None:
    shim = await runtime.launch(runtime.order("true"))
    await shim.release()
    await asyncio.to_thread(host.wait_for, lambda: shim.pid not in host.processes(), "the init ends")


async def test_a_failed_launch_leaves_nothing(runtime: Runtime) -> None:
    order = runtime.order("nosuch")
    with pytest.raises(NoSuchCommand):
        await runtime.launch(order)
    await asyncio.to_thread(host.settle, lambda: host.cgroups(PARENT))
    waiting = 2  # the next shim, and its init, which takes the next order
    await asyncio.to_thread(
        host.wait_for,
        lambda: len(host.descendants(runtime.zygote.pid)) == waiting,
        "shim and init end",
    )
    assert os.listdir(order["run_dir"]) == []


async def test_many_at_once(runtime: Runtime) -> None:
    async def one(number: int) -> int:
        return (await runtime.run("sh", "-c", f"exit {number}"))[0].code

    assert await asyncio.gather(*(one(number) for number in range(20))) == list(range(20))


async def test_shared_namespaces(runtime: Runtime) -> None:
    first = await runtime.launch(runtime.order("sleep", "1000"))
    await first.start()
    kinds = ("network", "ipc", "pid")
    names = {"network": "net", "ipc": "ipc", "pid": "pid"}
    namespaces = [
        {"type": "mount"},
        {"type": "uts"},
        *({"type": kind, "path": f"/proc/{first.pid}/ns/{names[kind]}"} for kind in kinds),
    ]
    _, out, _ = await runtime.run(
        "sh",
        "-c",
        "readlink /proc/self/ns/net; ps | grep -c 'sleep 100[0]'",
        linux={"namespaces": namespaces},
    )
    net, count = out.split()
    assert net.decode() == os.readlink(f"/proc/{first.pid}/ns/net")
    assert count == b"1"


async def test_a_killed_shim_takes_its_container_along(runtime: Runtime) -> None:
    shim = await runtime.launch(runtime.order("sleep", "1000", process={"user": {"name": "web"}}))
    await shim.start()
    os.kill(int(Path(f"/proc/{shim.pid}/stat").read_text().rpartition(")")[2].split()[1]), signal.SIGKILL)
    with pytest.raises(Unavailable):
        await ended(shim)
    await asyncio.to_thread(host.wait_for, lambda: shim.pid not in host.processes(), "the init ends")
    hierarchy_paths = open_cgroup(f"{PARENT}/{shim.container}", hierarchy.find())
    await asyncio.to_thread(host.wait_for, lambda: not hierarchy_paths.pids(), "the cgroup empties")
    hierarchy_paths.remove()


async def test_a_shared_dev_shm(runtime: Runtime) -> None:
    first = await runtime.launch(runtime.order("sh", "-c", "echo shared > /dev/shm/x; sleep 1000"))
    await first.start()
    await asyncio.to_thread(host.wait_for, Path(f"/proc/{first.pid}/root/dev/shm/x").exists, "the file")
    order = runtime.order("cat", "/dev/shm/x")
    mounts = [mount for mount in order["bundle"]["mounts"] if mount["destination"] != "/dev/shm"]
    source = f"pid:{first.pid}/dev/shm"
    order["bundle"]["mounts"] = [
        *mounts,
        {"destination": "/dev/shm", "type": "bind", "source": source, "options": ["rbind"]},
    ]
    shim = await runtime.launch(order)
    with await attach(shim) as client:
        await shim.start()
        assert await read_all(client) == b"shared\n"


async def test_a_limit_that_cannot_be_set(runtime: Runtime) -> None:
    linux = {"resources": {"cpu": {"cpus": "4000"}}}
    with pytest.raises(KnarrError, match=r"unable to apply cgroup configuration: .*cpuset\.cpus: "):
        await runtime.launch(runtime.order("true", linux=linux))
    assert host.cgroups(PARENT) == set()


async def test_the_host_pid_namespace_leaves_no_process(runtime: Runtime) -> None:
    namespaces = [{"type": kind} for kind in ("mount", "network", "ipc", "uts")]
    shim = await runtime.launch(
        runtime.order("sh", "-c", "sleep 1234 & sleep 1235 & exit 2", linux={"namespaces": namespaces})
    )
    await shim.start()
    assert await ended(shim) == 2
    assert [line for line in host.processes().values() if line in ("sleep 1234", "sleep 1235")] == []


async def test_the_zygote_is_started_again(runtime: Runtime, zygote: Zygote) -> None:
    shim = await runtime.launch(runtime.order("sleep", "1000"))
    await shim.start()
    os.kill(zygote.pid, signal.SIGKILL)
    assert (await runtime.run("sh", "-c", "exit 8"))[0].code == 8
    assert await shim.pids() == [shim.pid]


def test_a_zygote_without_a_daemon_ends_even_if_its_children_cannot_live() -> None:
    """Else it would fork for ever: who sees the end of the requests is a child."""
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    broken = STUB.replace(
        "from knarr.zygote import main;", "import knarr.zygote as z; z.bear_ahead = None; main = z.main;"
    )
    assert broken != STUB
    source = str(Path(knarr.__file__).parents[1])
    with mine:
        command = [sys.executable, "-I", "-S", "-c", broken, source, str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=subprocess.DEVNULL)
        theirs.close()
        assert mine.recv(100) == b'{"ready":true}'
    assert process.wait(PATIENCE) == 0


async def test_the_interpreter_cannot_be_written(zygote: Zygote) -> None:
    """Its file lies on a read-only mount of its own: who keeps it open until nobody runs it cannot write either."""
    fd = os.open(f"/proc/{zygote.pid}/exe", os.O_RDONLY)
    try:
        assert os.fstatvfs(fd).f_flag & os.ST_RDONLY
    finally:
        os.close(fd)
