"""A process of the engine on its way into a container: who may look into it, and what it brings along."""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from knarr.engine import zygote as engine_zygote
from knarr.engine.shims import Shim
from knarr.engine.zygote import Zygote
from knarr.engine.zygote_jobs import RootView
from knarr.kernel import mounts
from knarr.model.errors import KnarrError
from tests.security.conftest import STUB, Cell, Weak
from tests.security.inside import parsed, python
from tests.system.runtime.conftest import PATIENCE

SPY = """
until [ -e /tmp/ready ]; do :; done
pid=$(cat /tmp/ready)
echo exe=$(readlink /proc/$pid/exe); readlink /proc/$pid/fd/1; grep -c . /proc/$pid/environ
(exec 3<>/proc/$pid/mem) && echo memory
(exec 4</proc/$pid/exe && chmod 777 /proc/self/fd/4)
echo go >/tmp/go
echo done
"""


BANG = """#!/proc/self/exe -IS
import os
try:
    os.chmod("/proc/self/exe", 0o777)
    print("written")
except OSError as error:
    print(error.strerror)
"""


async def joined(cell: Cell, spy: str, *weak: Sequence[Any]) -> str:
    """What the container's own process finds out about an exec that waits right before its execve."""
    order = cell.order("sh", "-c", spy, **cell.weakened(None, {}))
    os.mkdir(cell.upper / "tmp", 0o1777)
    os.chmod(cell.upper / "tmp", 0o1777)
    os.mkfifo(cell.upper / "tmp/go")
    shim = await cell.launch(order)
    process = {**order["bundle"]["process"], "args": ["true"]}
    process["env"] = cell.weakened([["pause"], *weak], {})["process"]["env"]
    await shim.start()
    handle = await shim.exec("joining", process)
    await asyncio.wait_for(asyncio.shield(handle.exited), PATIENCE)
    await asyncio.wait_for(asyncio.shield(shim.exited), PATIENCE)
    return (cell.last / "log.json").read_text()


async def test_cve_2016_9962_a_joining_exec_cannot_be_looked_into(cell: Cell) -> None:
    seen = await joined(cell, SPY, ["dumpable"])
    for found in ('"exe=/', '"memory'):
        assert found in seen, "a dumpable process gives itself away"
    seen = await joined(cell, SPY)
    assert "done" in seen
    assert '"exe=/' not in seen
    assert '"memory' not in seen
    assert seen.count("ermission denied") >= 3


async def test_cve_2019_5736_the_interpreter_cannot_be_written(
    cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by an exec's /proc/PID/exe, nor by an image's program whose interpreter is /proc/self/exe.

    Its bytes are busy as long as the shim runs; that its mode can be changed shows a way to write.
    """
    own = tmp_path / "bin" / "python3"
    own.parent.mkdir()
    shutil.copy(os.path.realpath(sys.executable), own)
    (own.parent / "pyvenv.cfg").write_text(f"home = {os.path.dirname(os.path.realpath(sys.executable))}\n")
    monkeypatch.setattr(sys, "executable", str(own))
    before = own.stat().st_mode
    for writable in (True, False):
        with monkeypatch.context() as patch:
            patch.setattr(engine_zygote, "STUB", STUB)
            if writable:
                patch.setattr(mounts, "mount_setattr", lambda *arguments, **named: None)
            cell.zygote = await Zygote.start(str(tmp_path / f"exec{writable}"))
        try:
            seen = await joined(cell, SPY, ["dumpable"])
            assert (own.stat().st_mode != before) == writable
            assert ("Read-only file system" in seen) != writable
            own.chmod(before & 0o7777)
            order = cell.order("/bang", **cell.weakened(None, {}))
            (cell.upper / "bang").write_text(BANG)
            (cell.upper / "bang").chmod(0o755)
            assert await cell.output(order) == ("written\n" if writable else "Read-only file system\n")
            assert (own.stat().st_mode != before) == writable
        finally:
            await cell.zygote.close()
            own.chmod(before & 0o7777)


async def test_cve_2019_5736_the_interpreter_is_not_a_command(cell: Cell) -> None:
    said = await cell.say("/proc/self/exe", "-c", "print(1)", weak=[["naive-command"]])
    assert said == "1\n", "the host's own interpreter runs inside"
    with pytest.raises(KnarrError, match="ymbolic links"):
        await cell.say("/proc/self/exe", "-c", "print(1)")


async def test_cve_2024_21626_no_directory_of_the_host_is_a_way_out(cell: Cell, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("the host's")
    (tmp_path / "inner").mkdir()
    there = {"cwd": "/proc/self/fd/200"}
    weak: Weak = [["leak", 200, str(tmp_path / "inner")], ["naive-cwd"], ["without", "directory"]]
    assert await cell.say("cat", "../secret", process=there, weak=weak) == "the host's"
    leak: Weak = [["leak", 200, str(tmp_path / "inner")]]
    some: list[Weak | None] = [leak, [*leak, ["without", "directory"]], [["naive-cwd"]], None]
    for less in some:
        with pytest.raises(KnarrError, match=r"ymbolic links|no such file"):
            await cell.say("cat", "../secret", process=there, weak=less)


async def test_cve_2024_21626_nothing_of_the_host_is_open(cell: Cell, tmp_path: Path) -> None:
    script = "for fd in /proc/self/fd/*; do readlink $fd; done; cat /proc/self/fd/200/secret"
    (tmp_path / "secret").write_text("the host's")
    said = await cell.say("sh", "-c", script, weak=[["leak", 200, str(tmp_path)], ["leak-through"]])
    assert "the host's" in said
    said = await cell.say("sh", "-c", script, weak=[["leak", 200, str(tmp_path)]])
    assert "the host's" not in said
    assert str(tmp_path) not in said
    assert {line.partition(":")[0] for line in said.splitlines() if line.startswith(("/dev", "pipe"))} == {
        "/dev/null", "pipe"
    }  # fmt: skip


@pytest.mark.parametrize("late", [False, True])
async def test_cve_2024_21626_the_walk_has_closed_what_it_does_not_need(cell: Cell, late: bool) -> None:
    """Before the command is looked for: a line to the shim, streams, and files on the container's own mounts."""
    found = []
    weaknesses: list[Weak] = [[["leak", 200, "/"], ["descriptors"]], [["descriptors"]]]
    for weak in weaknesses:
        order = cell.order("sleep", "1000", **cell.weakened(None if late else weak, {}))
        shim = await cell.launch(order)
        await shim.start()
        if late:
            process = {**order["bundle"]["process"], "args": ["true"]}
            process["env"] = cell.weakened(weak, {})["process"]["env"]
            await shim.exec("late", process)
        opened = parsed((cell.upper / "descriptors").read_text())
        kinds = [target.partition(":")[0] for target, _ in opened.values()]
        assert max(kinds.count(kind) for kind in ("socket", "anon_inode")) <= 1, opened
        found.append([target for target, own in opened.values() if target.startswith("/") and not own])
    assert [set(each) for each in found] == [{"/"}, set()]


KEYRING = "print(json.dumps([call(250, 0, -3, 0), call(250, 0, -4, 0)]))"


async def test_the_hosts_keys_are_not_inherited(cell: Cell) -> None:
    """keyctl(2) is refused by the filter; without it, and without the step, a container holds the host's session."""
    mine = parsed(await cell.say(*python(KEYRING), weak=[["without", "keyring"]], seccomp=None))[0]
    again = parsed(await cell.say(*python(KEYRING), weak=[["without", "keyring"]], seccomp=None))[0]
    assert mine == again > 0
    own = [parsed(await cell.say(*python(KEYRING), seccomp=None))[0] for _ in range(2)]
    assert len({mine, *own}) == 3
    assert parsed(await cell.say(*python(KEYRING))) == [-1, -1]


async def test_cve_2019_14271_no_module_is_loaded_from_the_container(cell: Cell, zygote: Zygote) -> None:
    order = cell.order("sleep", "1000")
    plant(cell.upper)
    shim = await cell.launch(order)
    await shim.start()
    assert await lazily(zygote, shim, unsealed=True) == "the container's code"
    assert (await lazily(zygote, shim, unsealed=False)).startswith("refused")


async def test_cve_2019_14271_nor_by_the_walk(cell: Cell) -> None:
    said = []
    for weak in ([["unsealed"], ["late-import", "wave"]], [["late-import", "wave"]]):
        order = cell.order("cat", "/said", process={"env": [f"WEAK={json.dumps(weak)}", "PATH=/bin"]})
        plant(cell.upper)
        shim = await cell.launch(order)
        await shim.start()
        await asyncio.wait_for(asyncio.shield(shim.exited), PATIENCE)
        said.append((cell.upper / "said").read_text())
    assert said[0] == "the container's code"
    assert said[1].startswith("refused")


def plant(root: Path) -> None:
    """Where the host's interpreter looks for its library, the container has a module of its own."""
    library = root / os.path.dirname(os.__file__).lstrip("/")
    library.mkdir(parents=True)
    (library / "wave.py").write_text('SAID = "the container\'s code"\n')


async def lazily(zygote: Zygote, shim: Shim, *, unsealed: bool) -> str:
    view = zygote._view(RootView(pid=shim.pid))
    facts, _ = await zygote._call(
        {"job": "lazy-import", "view": view, "module": "wave", "unsealed": unsealed}
    )
    said: str = facts["said"]
    return said
