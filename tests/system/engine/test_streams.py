"""Attach, exec, logs, top, resize: clients' sockets are the shim's own."""

import asyncio
import socket

import pytest

from knarr.engine.errors import IsPaused, NoSuchExec, NotRunning
from knarr.engine.values import AttachOptions, LogOptions
from knarr.model.container import ExecSpec, LogConfig
from knarr.model.errors import Conflict, Invalid, NoSuchCommand, Unsupported
from knarr.wire.mux import STDERR, STDOUT, Decoder
from tests.system.engine.conftest import Lab, collect, until, within

Pair = tuple[socket.socket, socket.socket]
BOTH = AttachOptions(stdout=True, stderr=True)


def everything(sock: socket.socket) -> bytes:
    """To the end."""
    data = b""
    while chunk := sock.recv(65536):
        data += chunk
    return data


def frames(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for frame in Decoder().feed(data):
        found[frame.stream] = found.get(frame.stream, b"") + frame.data
    return found


async def test_attached_before_the_start_nothing_is_missed(lab: Lab, pair: Pair) -> None:
    mine, theirs = pair
    made = await lab.create("sh", "-c", "echo out; echo err >&2")
    await lab.containers.attach(made, theirs, BOTH)
    theirs.close()
    await lab.containers.start(made)
    assert frames(await asyncio.to_thread(everything, mine)) == {STDOUT: b"out\n", STDERR: b"err\n"}


async def test_input_before_the_start_arrives(lab: Lab, pair: Pair) -> None:
    mine, theirs = pair
    made = await lab.create("cat", open_stdin=True, stdin_once=True)
    options = AttachOptions(stdin=True, stdout=True, stderr=True)
    mine.sendall(b"two\n")
    mine.shutdown(socket.SHUT_WR)
    await lab.containers.attach(made, theirs, options, b"one\n")
    theirs.close()
    await lab.containers.start(made)
    assert frames(await asyncio.to_thread(everything, mine)) == {STDOUT: b"one\ntwo\n"}


async def test_waiting_clients_see_the_end_when_the_start_fails(lab: Lab, pair: Pair) -> None:
    mine, theirs = pair
    made = await lab.create("nonsuch")
    await lab.containers.attach(made, theirs, BOTH)
    theirs.close()
    with pytest.raises(NoSuchCommand):
        await lab.containers.start(made)
    assert await asyncio.to_thread(everything, mine) == b""


async def test_attach_to_a_running_terminal(lab: Lab, pair: Pair) -> None:
    mine, theirs = pair
    made = await lab.start("sh", tty=True, open_stdin=True)
    await lab.containers.attach(made, theirs, AttachOptions(stdin=True, stdout=True, stderr=True))
    theirs.close()
    await lab.containers.resize(made, 77, 33)
    mine.sendall(b"stty size; exit 9\n")
    assert b"33 77" in await asyncio.to_thread(everything, mine)
    assert (await within(lab.containers.wait(made))).code == 9


async def test_detach_keys_leave_it_running(lab: Lab, pair: Pair) -> None:
    mine, theirs = pair
    seen = await lab.events()
    made = await lab.start("cat", tty=True, open_stdin=True)
    await lab.containers.attach(made, theirs, AttachOptions(stdin=True, stdout=True, detach_keys="ctrl-x"))
    theirs.close()
    mine.sendall(b"\x18")
    await asyncio.to_thread(everything, mine)
    await seen.until("container detach")
    assert (await lab.containers.inspect(made)).state.pid


async def test_attach_with_logs_begins_at_the_beginning(lab: Lab, pair: Pair) -> None:
    mine, theirs = pair
    made, _ = await lab.run("echo", "before")
    await lab.containers.attach(made, theirs, AttachOptions(stdout=True, logs=True, stream=False))
    theirs.close()
    assert frames(await asyncio.to_thread(everything, mine)) == {STDOUT: b"before\n"}


async def exec_output(lab: Lab, container: str, *command: str, **fields: object) -> tuple[str, int | None]:
    mine, theirs = socket.socketpair()
    with mine, theirs:
        mine.settimeout(60)
        spec = ExecSpec(command=command, attach_stdout=True, attach_stderr=True, **fields)  # type: ignore[arg-type]
        made = await lab.engine.execs.create(container, spec)
        await lab.engine.execs.start(made, sock=theirs)
        theirs.close()
        data = await asyncio.to_thread(everything, mine)

    async def ended() -> bool:
        return not (await lab.engine.execs.inspect(made)).running

    await until(ended, "the exec's end")
    text = b"".join(frames(data).values()) if not fields.get("tty") else data
    return text.decode(), (await lab.engine.execs.inspect(made)).exit_code


async def test_exec(lab: Lab) -> None:
    made = await lab.start("sleep", "1000", environment=("A=1",))
    seen = await lab.events()
    text, code = await exec_output(
        lab, made, "sh", "-c", "echo $A $B; pwd; id -u; exit 5", environment=("B=2",), working_dir="/data",
        user="web",
    )  # fmt: skip
    assert (text, code) == ("1 2\n/data\n33\n", 5)
    events = await seen.until("container exec_die")
    assert [event.action.partition(":")[0] for event in events] == ["exec_create", "exec_start", "exec_die"]
    assert events[-1].attributes["exitCode"] == "5"


async def test_exec_on_a_terminal(lab: Lab) -> None:
    made = await lab.start("sleep", "1000")
    text, code = await exec_output(lab, made, "tty", tty=True)
    assert text.startswith("/dev/pts/")
    assert code == 0


async def test_an_exec_that_ended_with_its_containers_life_is_remembered(lab: Lab) -> None:
    made = await lab.start("sleep", "1000", name="again")
    which = await lab.engine.execs.create(made, ExecSpec(command=("sleep", "1000")))
    await lab.engine.execs.start(which, detach=True)
    await lab.containers.restart(made, timeout=0)
    assert (await lab.engine.execs.inspect(which)).exit_code == 137
    await lab.containers.remove(made, force=True)
    assert (await lab.engine.execs.inspect(which)).exit_code == 137


async def test_a_detached_exec_and_its_end(lab: Lab) -> None:
    made = await lab.start("sleep", "1000")
    seen = await lab.events()
    which = await lab.engine.execs.create(made, ExecSpec(command=("sh", "-c", "exit 3")))
    await lab.engine.execs.start(which, detach=True)
    await seen.until("container exec_die")
    assert (await lab.engine.execs.inspect(which)).exit_code == 3
    with pytest.raises(Conflict):
        await lab.engine.execs.start(which, detach=True)


async def test_what_exec_refuses(lab: Lab) -> None:
    made = await lab.start("sleep", "1000")
    which = await lab.engine.execs.create(made, ExecSpec(command=("nonsuch",)))
    with pytest.raises(NoSuchCommand, match="nonsuch"):
        await lab.engine.execs.start(which, detach=True)
    assert (await lab.engine.execs.inspect(which)).exit_code == 127
    with pytest.raises(Invalid, match="No exec command specified"):
        await lab.engine.execs.create(made, ExecSpec(command=()))
    with pytest.raises(NoSuchExec):
        await lab.engine.execs.inspect("nothing")
    await lab.containers.pause(made)
    with pytest.raises(IsPaused):
        await lab.engine.execs.create(made, ExecSpec(command=("true",)))
    ended, _ = await lab.run("true")
    with pytest.raises(NotRunning, match=f"container {ended} is not running"):
        await lab.engine.execs.create(ended, ExecSpec(command=("true",)))


async def test_logs_of_a_container_that_ended(lab: Lab) -> None:
    """Two streams have no order between them, and lines that came together have one time."""
    made, _ = await lab.run("sh", "-c", "for i in 1 2 3 4 5; do echo $i; done; echo e >&2")
    lines = await lab.lines(made)
    assert [line.data for line in lines if line.stream == "stdout"] == [b"%d\n" % n for n in range(1, 6)]
    assert await lab.lines(made, tail=2) == lines[-2:]
    assert await lab.lines(made, tail=100) == lines
    assert await lab.log(made, tail=0) == ""
    assert await lab.log(made, stdout=False) == "e\n"
    third = lines[2].at
    assert await lab.lines(made, since=third) == [line for line in lines if line.at >= third]
    assert await lab.lines(made, until=third) == [line for line in lines if line.at <= third]
    with pytest.raises(Invalid):
        await lab.containers.logs(made, LogOptions(stdout=False, stderr=False))


async def test_following_ends_with_the_container(lab: Lab) -> None:
    made = await lab.create("sh", "-c", "read x; echo got $x", open_stdin=True, stdin_once=True)
    mine, theirs = socket.socketpair()
    with mine, theirs:
        await lab.containers.attach(made, theirs, AttachOptions(stdin=True))
        theirs.close()
        await lab.containers.start(made)
        following = asyncio.create_task(collect(await lab.containers.logs(made, LogOptions(follow=True))))
        mine.sendall(b"it\n")
        assert [line.data for line in await within(following)] == [b"got it\n"]


async def test_following_across_rotations_misses_nothing(lab: Lab) -> None:
    log = LogConfig(options={"max-size": "20k", "max-file": "4"})
    made = await lab.create(
        "sh", "-c", "read x; i=0; while [ $i -lt 600 ]; do echo line $i; i=$((i+1)); done",
        open_stdin=True, stdin_once=True, log=log,
    )  # fmt: skip
    mine, theirs = socket.socketpair()
    with mine, theirs:
        await lab.containers.attach(made, theirs, AttachOptions(stdin=True))
        theirs.close()
        await lab.containers.start(made)
        following = asyncio.create_task(collect(await lab.containers.logs(made, LogOptions(follow=True))))
        mine.sendall(b"go\n")
        lines = [line.data.decode().strip() for line in await within(following)]
    assert lines == [f"line {number}" for number in range(600)]
    assert await lab.log(made, tail=3) == "line 597\nline 598\nline 599\n"


async def test_a_container_without_a_log(lab: Lab) -> None:
    made, _ = await lab.run("echo", "x", log=LogConfig(driver="none"))
    with pytest.raises(Unsupported, match="configured logging driver does not support reading"):
        await lab.containers.logs(made, LogOptions())


async def test_top(lab: Lab) -> None:
    made = await lab.start("sleep", "1234")
    table = await lab.containers.top(made)
    assert table.titles == ("UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD")
    assert [row[-1] for row in table.rows] == ["sleep 1234"]
    assert [row[0] for row in table.rows] == ["root"]
    table = await lab.containers.top(made, "-o pid,args")
    assert table.titles == ("PID", "COMMAND")
    assert [row[1] for row in table.rows] == ["sleep 1234"]
    ended, _ = await lab.run("true")
    with pytest.raises(NotRunning):
        await lab.containers.top(ended)
