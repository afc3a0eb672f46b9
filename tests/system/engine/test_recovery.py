"""A daemon that is killed, and the next one: containers go on, ends are found out, intents are finished, nothing is left."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from knarr.engine import rows
from knarr.engine.engine import Engine
from knarr.engine.settings import Settings
from knarr.kernel import mounts
from knarr.model.container import RestartPolicy, Status
from knarr.state.database import Database
from tests.support import host
from tests.system.engine.conftest import Host, Lab, until, within

DAEMON = """
import asyncio, json, sys
from knarr.engine.engine import Engine
from knarr.engine.settings import Settings
from knarr.model.container import ContainerSpec, MountSpec, RestartPolicy

async def main():
    given = json.loads(sys.argv[1])
    engine = await Engine.open(Settings(**given), None)
    for name, command, policy, remove in json.loads(sys.argv[2]):
        spec = ContainerSpec(image="busybox", command=tuple(command), restart=RestartPolicy(name=policy),
                             auto_remove=remove, volumes=("/v",) if remove else ())
        await engine.containers.create(spec, name=name)
        await engine.containers.start(name)
    print("ready", flush=True)
    await asyncio.sleep(1000)

asyncio.run(main())
"""


def spawn(home: Host, containers: object) -> "subprocess.Popen[bytes]":
    kept = ("data_root", "exec_root", "bridge", "bip")
    settings = json.dumps({key: value for key, value in asdict(home.settings).items() if key in kept})
    return subprocess.Popen(
        [sys.executable, "-c", DAEMON, settings, json.dumps(containers)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "src")},
    )


async def killed_daemon(
    home: Host, *containers: tuple[str, list[str], str, bool], early: bool = False
) -> None:
    """A daemon of its own process starts the containers and is killed with SIGKILL: at a random moment if `early`."""
    process = spawn(home, containers)
    assert process.stdout is not None
    try:
        if early:
            await asyncio.sleep(0.35 + int.from_bytes(os.urandom(1), "big") / 1000)
        else:
            assert await asyncio.to_thread(process.stdout.readline) == b"ready\n"
    finally:
        process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(process.wait)
        process.stdout.close()


async def test_a_closed_engine_leaves_its_containers_running(home: Host, tar: bytes) -> None:
    lab = await home.open(tar)
    await lab.start("sleep", "1000", name="one")
    pid = (await lab.containers.inspect("one")).state.pid
    await home.close()
    assert os.path.exists(f"/proc/{pid}")
    again = await home.open()
    view = await again.containers.inspect("one")
    assert (view.state.status, view.state.pid) == (Status.RUNNING, pid)


async def test_after_a_kill_everything_works_on_what_ran(home: Host, tar: bytes) -> None:
    await home.open(tar)
    await home.close()
    script = "echo first; while [ ! -e /go ]; do sleep 0.05; done; echo second; exec sleep 1000"
    await killed_daemon(home, ("one", ["sh", "-c", script], "no", False))
    lab = await home.open()
    view = await lab.containers.inspect("one")
    assert view.state.status is Status.RUNNING
    assert view.endpoints[0].ipv4
    from knarr.model.container import ExecSpec

    made = await lab.engine.execs.create("one", ExecSpec(command=("touch", "/go")))
    await lab.engine.execs.start(made, detach=True)

    async def both() -> bool:
        return await lab.log("one") == "first\nsecond\n"

    await until(both, "the log goes on")
    second = await lab.start("sleep", "1000")
    addresses = {(await lab.containers.inspect(name)).endpoints[0].ipv4 for name in ("one", second)}
    assert len(addresses) == 2
    await lab.containers.stop("one", timeout=0)
    await lab.containers.remove("one")
    await lab.containers.remove(second, force=True)
    await asyncio.to_thread(host.settle, home.left)


async def test_an_end_that_nobody_saw_is_found_out(home: Host, tar: bytes) -> None:
    lab = await home.open(tar)
    made = await lab.start("sleep", "1000", name="one")
    await lab.start("sleep", "1000", name="gone", auto_remove=True)
    pids = [(await lab.containers.inspect(name)).state.pid for name in ("one", "gone")]
    await home.close()
    for pid in pids:
        os.kill(pid, signal.SIGTERM if pid != pids[0] else signal.SIGKILL)
    for name in os.listdir(home.base / "exec/containers"):
        path = home.base / "exec/containers" / name / "exit.json"
        if name == made:
            await until(path.exists, "the shim records the exit")
    os.kill(pids[1], signal.SIGKILL)
    await until(lambda: not os.path.exists(f"/proc/{pids[1]}"), "the other one ends")
    again = await home.open()
    view = await again.containers.inspect("one")
    assert (view.state.status, view.state.exit_code) == (Status.EXITED, 137)
    assert [each.name for each in await again.containers.list(all=True)] == ["one"]
    await again.containers.start("one")
    await again.containers.remove("one", force=True)
    await asyncio.to_thread(host.settle, home.left)


async def test_policies_hold_across_daemons(home: Host, tar: bytes) -> None:
    lab = await home.open(tar)
    always = await lab.start("sleep", "1000", restart=RestartPolicy(name="always"))
    stopped = await lab.start("sleep", "1000", restart=RestartPolicy(name="unless-stopped"))
    await lab.containers.stop(stopped, timeout=0)
    first = (await lab.containers.inspect(always)).state.pid
    await home.close()
    os.kill(first, signal.SIGKILL)
    await until(lambda: not os.path.exists(f"/proc/{first}"), "it ends")
    again = await home.open()

    async def second_life() -> bool:
        return (await again.containers.inspect(always)).state.status is Status.RUNNING

    await until(second_life, "a second life")
    assert (await again.containers.inspect(stopped)).state.status is Status.EXITED


@pytest.mark.parametrize("attempt", range(3))
async def test_killed_at_any_moment_the_next_daemon_cleans_up(home: Host, tar: bytes, attempt: int) -> None:
    await home.open(tar)
    await home.close()
    many = [(f"c{number}", ["sleep", "1000"], "no", number % 2 == 0) for number in range(30)]
    await killed_daemon(home, *many, early=True)
    lab = await home.open()
    for view in await lab.containers.list(all=True):
        assert view.state.status in (Status.CREATED, Status.RUNNING)
    await lab.remove_all()
    assert await lab.engine.volumes.list() == []
    await asyncio.to_thread(host.settle, home.left)


async def test_what_no_row_claims_is_swept(home: Host, tar: bytes) -> None:
    lab = await home.open(tar)
    made = await lab.start("sleep", "1000", volumes=("/v",))
    await home.close()
    db = await Database.open(str(home.base / "data/state.db"))
    await db.write(lambda tx: tx.execute("DELETE FROM containers WHERE id = ?", (made,)))
    await db.close()
    again = await home.open()
    assert await again.containers.list(all=True) == []
    await asyncio.to_thread(host.settle, home.left)


async def test_a_volume_that_a_killed_daemon_was_removing_goes(home: Host) -> None:
    """Its row goes first; a volume of that name that was made since stays."""
    lab = await home.open()
    for name in ("gone", "again"):
        path = Path((await lab.engine.volumes.create(name)).mountpoint)
        (path / "file").write_text(name)

    def killed(tx: sqlite3.Connection) -> None:
        rows.delete_volumes(tx, ["gone"])
        rows.mark_leaving(tx, ["gone", "again"])

    await home.close()
    db = await Database.open(str(home.base / "data/state.db"))
    await db.write(killed)
    await db.close()
    again = await home.open()
    assert [volume.name for volume in await again.engine.volumes.list()] == ["again"]
    assert [path.name for path in (home.base / "data/volumes").iterdir()] == ["again"]
    await again.engine.volumes.remove("again")
    await home.close()
    db = await Database.open(str(home.base / "data/state.db"))
    assert await db.read(rows.load_leaving) == []
    await db.close()


async def test_a_dead_zygote_is_no_end(lab: Lab) -> None:
    await lab.start("sleep", "1000", name="one")
    zygote = lab.engine.containers._world.zygote
    os.kill(zygote.pid, signal.SIGKILL)
    _, waited = await lab.run("true")
    assert waited.code == 0
    assert (await lab.containers.inspect("one")).state.status is Status.RUNNING


async def test_a_killed_shim_is_an_end(lab: Lab) -> None:
    await lab.start("sleep", "1000", name="one")
    pid = (await lab.containers.inspect("one")).state.pid
    status = Path(f"/proc/{pid}/status").read_text()
    parent = int(next(line for line in status.splitlines() if line.startswith("PPid:")).split()[1])
    waiting = await lab.containers.begin_wait("one")
    os.kill(parent, signal.SIGKILL)
    assert (await within(waiting)).code == 137
    await lab.containers.remove("one", force=True)
    await asyncio.to_thread(host.settle, lab.home.left)


async def test_an_engine_that_cannot_open_closes_what_it_opened(tmp_path: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(Exception, match="invalid bridge name"):
        await Engine.open(
            Settings(
                data_root=str(tmp_path / "d"),
                exec_root=str(tmp_path / "e"),
                bridge="much-too-long-a-name",
                bip="10.1.1.1/24",
            ),
        )
    assert len(os.listdir("/proc/self/fd")) <= len(before) + 1


async def test_names_of_an_earlier_version_are_taken_away(home: Host) -> None:
    names = [home.base / "exec" / kind / "0123456789ab" for kind in ("netns", "userns")]
    for name, namespace in zip(names, ("net", "user"), strict=True):
        name.parent.mkdir(parents=True)
        name.touch()
        mounts.mount(f"/proc/self/ns/{namespace}", str(name), None, mounts.MS_BIND)
    await home.open()
    assert host.mounts([str(home.base)]) == set()
    assert not any(name.parent.exists() for name in names)
