"""Where mounts land and what is written through /proc, while the image, a volume or a racing container means harm."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from knarr.model.errors import KnarrError
from tests.security.conftest import Cell, Weak
from tests.support.daemons import Knarrd


def bound(source: Path, destination: str) -> dict[str, Any]:
    """A bind mount."""
    return {
        "destination": destination,
        "type": "bind",
        "source": str(source),
        "options": ["rbind", "rprivate"],
    }


def weakened(weak: Weak | None) -> dict[str, Any]:
    """A process with these weaknesses, and without the host's Python."""
    return {"env": ["PATH=/bin", *([f"WEAK={json.dumps(weak)}"] if weak else [])]}


async def outcome(cell: Cell, order: dict[str, Any]) -> str:
    """What the container says, or why it did not start."""
    try:
        return await cell.output(order)
    except (KnarrError, OSError) as error:
        return f"refused: {error}"


@pytest.mark.parametrize("kind", ["directory", "file"])
async def test_cve_2021_30465_a_destination_becomes_a_link(cell: Cell, tmp_path: Path, kind: str) -> None:
    """And 2024-45310 (what is made for a mount is made on the host), 2017-1002101, 2019-18837, 2015-3629."""
    source = tmp_path / "source"
    source.mkdir() if kind == "directory" else source.write_text("x")
    found = []
    weaknesses: list[Weak] = [[["naive-bind"]], []]
    for weak in weaknesses:
        victim, volume = tmp_path / f"victim{len(weak)}", tmp_path / f"volume{len(weak)}"
        victim.mkdir()
        (volume / "x").mkdir(parents=True)
        swapped: Weak = [["swap", "bind", 1, "/vol/x", str(victim)], *weak]
        mounts = [bound(volume, "/vol"), bound(source, "/vol/x/made")]
        order = cell.order("true", mounts=mounts, process=weakened(swapped))
        await outcome(cell, order)
        found.append(os.listdir(victim))
    assert found == [["made"], []]


async def test_no_link_of_a_naive_bind_leads_to_the_host(cell: Cell, tmp_path: Path) -> None:
    """The mount namespace that a root is put into has nothing of the host: where it has, the attack works."""
    (tmp_path / "source").mkdir()
    found = []
    weaknesses: list[Weak] = [[["naive-bind"]], [["naive-bind"], ["vacant"]]]
    for weak in weaknesses:
        victim, volume = tmp_path / f"victim{len(weak)}", tmp_path / f"volume{len(weak)}"
        victim.mkdir()
        volume.mkdir()
        (volume / "x").symlink_to(victim)
        mounts = [bound(volume, "/vol"), bound(tmp_path / "source", "/vol/x/made")]
        await outcome(cell, cell.order("true", mounts=mounts, process=weakened(weak)))
        found.append(os.listdir(victim))
    assert found == [["made"], []]


async def test_cve_2015_3629_a_link_of_the_image(cell: Cell, tmp_path: Path) -> None:
    """Nobody races: the image has the link from the beginning."""
    (tmp_path / "source").mkdir()
    found = []
    for weak in ([["naive-bind"]], []):
        victim = tmp_path / f"victim{len(weak)}"
        victim.mkdir()
        mounts = [bound(tmp_path / "source", "/escape/made")]
        order = cell.order("true", mounts=mounts, process=weakened(weak))
        (cell.upper / "escape").symlink_to(victim)
        await outcome(cell, order)
        found.append(os.listdir(victim))
    assert found == [["made"], []]


@pytest.mark.parametrize("moment", ["before", "after the look"])
async def test_cve_2019_19921_a_volume_is_not_put_over_proc(cell: Cell, tmp_path: Path, moment: str) -> None:
    """And 2025-52881: a link into /proc, there from the start or put there while the walk looks."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source/osrelease").write_text("the attacker's")
    before = ["swap", "bind", 1, "/vol/x", "../proc/sys/kernel"]
    late = ["swap-after-look", "/vol/x", "../proc/sys/kernel"]
    weaknesses: list[Weak] = [[before, ["naive-bind"]], [before if moment == "before" else late]]
    found = []
    for weak in weaknesses:
        volume = tmp_path / f"volume{len(weak)}"
        volume.mkdir()
        mounts = [bound(volume, "/vol"), bound(tmp_path / "source", "/vol/x")]
        order = cell.order("cat", "/proc/sys/kernel/osrelease", mounts=mounts, process=weakened(weak))
        found.append(await outcome(cell, order))
    assert found[0] == "the attacker's"
    assert "cannot be mounted because it is inside /proc" in found[1]


SHOW = "head -c 1 /tmp/evil/interrupts; (: >>/tmp/evil/sys/kernel/domainname) && echo open; true"


async def test_cve_2023_27561_a_proc_that_is_a_link(cell: Cell) -> None:
    """And 2023-28642, 2019-19921: procfs lands elsewhere, then the link leads masks and read-only paths to a decoy."""
    found = []
    weak: Weak = [["naive-mount"], ["swap", "readonly", 0, "/proc", "/decoy"]]
    for wish in (weak, None):
        order = cell.order("sh", "-c", SHOW, process=weakened(wish))
        (cell.upper / "proc").symlink_to("/tmp/evil")
        for name in ("tmp", "tmp/evil", "decoy"):
            (cell.upper / name).mkdir()
        found.append(await outcome(cell, order))
    assert found[0].endswith("open\n")
    assert len(found[0]) > len("open\n")
    assert 'filesystem "proc" must be mounted on ordinary directory' in found[1]


async def test_cve_2019_16884_nothing_stands_in_for_proc(cell: Cell, tmp_path: Path) -> None:
    """And 2015-3631: a volume over /proc would take what the engine writes there, such as a security label."""
    fake = tmp_path / "fake"
    (fake / "self").mkdir(parents=True)
    score = {"oomScoreAdj": 321}
    late = ["naive-proc", "oom-score", "/proc/self/oom_score_adj", "321"]
    elsewhere: Weak = [["naive-bind", {"/vol": "/proc"}]]
    order = cell.order(
        "cat", "/proc/self/oom_score_adj", mounts=[bound(fake, "/vol")],
        process={**score, **weakened([*elsewhere, late])}, stdin=True,
    )  # fmt: skip
    assert await outcome(cell, order) == "321"
    assert (fake / "self/oom_score_adj").read_text() == "321", "the attacker has the word, the kernel has not"
    order = cell.order("true", mounts=[bound(fake, "/proc")], process=score)
    assert "cannot be mounted because it is not of type proc" in await outcome(cell, order)
    (fake / "self/oom_score_adj").unlink()
    order = cell.order(
        "sleep", "1000", mounts=[bound(fake, "/vol")], process={**score, **weakened(elsewhere)}
    )
    shim = await cell.launch(order)
    assert Path(f"/proc/{shim.pid}/oom_score_adj").read_text() == "321\n", "written to the host's own procfs"
    assert os.listdir(fake / "self") == []


async def test_cve_2025_52881_a_setting_is_not_redirected(cell: Cell, tmp_path: Path) -> None:
    """A directory of /proc/sys is covered with a link to a file that the attacker wants written."""
    fake = tmp_path / "fake"
    fake.mkdir()
    (fake / "ip_unprivileged_port_start").symlink_to("/tmp/victim")
    setting = {"sysctl": {"net.ipv4.ip_unprivileged_port_start": "77"}}
    elsewhere = ["naive-bind", {"/vol": "/proc/sys/net/ipv4"}]
    late = ["naive-proc", "sysctl", "/proc/sys/net/ipv4/ip_unprivileged_port_start", "77"]
    found = []
    weaknesses: list[Weak] = [[elsewhere, late], [elsewhere]]
    for weak in weaknesses:
        kinds = [{"type": kind} for kind in ("mount", "pid", "network", "ipc", "uts", "cgroup")]
        order = cell.order(
            "cat", "/tmp/victim", mounts=[bound(fake, "/vol")], process=weakened(weak),
            linux={"namespaces": kinds, **setting},
        )  # fmt: skip
        (cell.upper / "tmp").mkdir()
        (cell.upper / "tmp/victim").write_text("untouched")
        found.append(await outcome(cell, order))
    assert found == ["77", "untouched"]


@pytest.mark.parametrize(
    "name", ["kernel.core_pattern", "kernel/core_pattern", "kernel.modprobe", "vm.overcommit_memory"]
)
async def test_settings_of_the_host_are_refused(cell: Cell, name: str) -> None:
    weak = [["naive-proc", "nothing", "/tmp/taken", "its value"]]
    order = cell.order("cat", "/tmp/taken", process=weakened(weak))
    (cell.upper / "tmp").mkdir()
    assert await outcome(cell, order) == "its value", "a walk writes what it is told"
    order = cell.order("true", linux={"sysctl": {name: "1"}})
    assert "is not in a separate kernel namespace" in await outcome(cell, order)


@pytest.mark.parametrize("null", ["link", "file", "device"])
async def test_cve_2025_31133_a_false_null(cell: Cell, tmp_path: Path, null: str) -> None:
    """Masked files are covered by the container's /dev/null: it must be one."""
    dev = tmp_path / "dev"
    dev.mkdir()
    if null == "link":
        (dev / "null").symlink_to("/proc/interrupts")
    elif null == "file":
        (dev / "null").write_text("the attacker's")
    else:
        os.mknod(dev / "null", 0o20666, os.makedev(1, 5))
    found = []
    for weak in ([["naive-mask"]], None):
        order = cell.order(
            "head",
            "-c",
            "5",
            "/proc/interrupts",
            mounts=[bound(dev, "/dev")],
            process=weakened(weak),
            stdin=True,
        )
        found.append(await outcome(cell, order))
    assert len(found[0]) == 5
    assert "container's /dev/null is invalid" in found[1]


async def test_a_false_null_is_not_opened_as_standard_input(cell: Cell, tmp_path: Path) -> None:
    """Opened for reading and writing with the host's privileges, it could be any file of /proc."""
    dev = tmp_path / "dev"
    dev.mkdir()
    (dev / "null").symlink_to("/proc/interrupts")
    order = cell.order("true", mounts=[bound(dev, "/dev")], linux={"maskedPaths": []})
    assert "container's /dev/null is invalid" in await outcome(cell, order)


CONSOLE = 'test -t 0 && test -c /dev/console && echo terminal; head -c 3 /dev/console </dev/null | tr -d " \\n"; true'


async def test_cve_2025_52565_the_console_is_the_terminal(cell: Cell) -> None:
    """/dev/pts/0 is no more what it was: by path, an unmasked file of /proc becomes /dev/console."""
    cover = ["cover", "console", 0, "/dev/pts", {"0": "/proc/interrupts"}]
    weak = await cell.output(
        cell.order("head", "-c", "4", "/dev/console", tty=True, process=weakened([cover, ["naive-console"]]))
    )
    assert len(weak) == 4
    said = await cell.output(
        cell.order("sh", "-c", "test -c /dev/console && echo terminal", tty=True, process=weakened([cover]))
    )
    assert said == "terminal\r\n"


async def test_cve_2025_52565_the_console_lands_nowhere_else(cell: Cell, tmp_path: Path) -> None:
    """A link in a volume leads it over a file of /proc."""
    found: list[str] = []
    for weak in ([["naive-console"]], None):
        dev = tmp_path / f"dev{len(found)}"
        (dev / "pts").mkdir(parents=True)
        os.mknod(dev / "null", 0o20666, os.makedev(1, 3))
        (dev / "console").symlink_to("/proc/version")
        pts = {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["newinstance", "ptmxmode=0666"],
        }
        order = cell.order(
            "sh",
            "-c",
            "test -c /proc/version && echo covered",
            tty=True,
            mounts=[bound(dev, "/dev"), pts],
            process=weakened(weak),
        )
        found.append(await outcome(cell, order))
    assert found[0] == "covered\r\n"
    assert "is a symbolic link" in found[1]


async def test_a_terminal_comes_from_a_real_devpts(cell: Cell, tmp_path: Path) -> None:
    dev = tmp_path / "dev"
    (dev / "pts").mkdir(parents=True)
    os.mknod(dev / "null", 0o20666, os.makedev(1, 3))
    os.mkfifo(dev / "pts/ptmx")
    order = cell.order("true", tty=True, mounts=[bound(dev, "/dev")])
    assert "ptmx handle is not on a real devpts mount" in await outcome(cell, order)


async def test_a_device_that_is_there_is_that_device(cell: Cell, tmp_path: Path) -> None:
    """A volume has another node, or a link, where a device was asked for."""
    os.mknod(tmp_path / "node", 0o20666, os.makedev(1, 5))
    (tmp_path / "link").symlink_to("/proc/kcore")
    for name in ("node", "link"):
        device = {"path": f"/vol/{name}", "type": "c", "major": 1, "minor": 7}
        changes: dict[str, Any] = {"mounts": [bound(tmp_path, "/vol")], "linux": {"devices": [device]}}
        weak = cell.order(
            "true", process=weakened([["without", f"device /vol/{name}"]]), **{**changes, "stdin": True}
        )
        assert not (await outcome(cell, weak)).startswith("refused"), "a walk that does not look does not see"
        assert "is not the device c 1:7" in await outcome(cell, cell.order("true", **changes))


def test_cve_2019_16884_an_image_with_a_volume_over_proc(knarrd: Knarrd) -> None:
    """-v, and VOLUME in the image's configuration: both are refused, with runc's words."""
    for place in ("/proc", "/proc/self/attr"):
        done = knarrd.docker("run", "--rm", "-v", f"stand-in:{place}", "busybox", "true", check=False)
        assert f'"{place}" cannot be mounted because it is' in done.stderr
    made = knarrd.docker("create", "busybox").stdout.strip()
    knarrd.docker("commit", "--change", "VOLUME /proc", made, "false-proc:1")
    done = knarrd.docker("run", "--rm", "false-proc:1", "true", check=False)
    assert '"/proc" cannot be mounted because it is' in done.stderr
    knarrd.docker("rmi", "-f", "false-proc:1")
    knarrd.docker("volume", "rm", "stand-in")
