"""An exec honours what OCI says of processes; and containers that share the runtime's mounts, or join others'."""

import asyncio
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from knarr.engine.shims import Shim
from knarr.kernel import mounts as kernel
from knarr.model.errors import Invalid
from knarr.runtime import caps
from tests.system.runtime.conftest import Runtime, read_all

CAPABILITIES = {kind: list(caps.DEFAULT) for kind in ("bounding", "effective", "permitted")}


async def sleeping(runtime: Runtime) -> Shim:
    shim = await runtime.launch(runtime.order("sleep", "1000"))
    await shim.start()
    return shim


async def said(shim: Shim, script: str, **fields: Any) -> str:
    """What a shell beside the init prints."""
    ours, theirs = socket.socketpair()
    process = {
        "args": ["sh", "-c", script],
        "cwd": "/",
        "env": ["PATH=/bin"],
        "user": {"uid": 0, "gid": 0},
        "capabilities": CAPABILITIES,
        **fields,
    }
    with ours, theirs:
        handle = await shim.exec(
            "one", process, sock_fd=theirs.fileno(), stdout=True, stderr=True, framed=False
        )
        theirs.close()
        text = (await read_all(ours)).decode()
        await asyncio.wait_for(asyncio.shield(handle.exited), 60)
    return text


async def test_scheduling_and_limits(runtime: Runtime) -> None:
    shim = await sleeping(runtime)
    text = await said(
        shim,
        "cut -d' ' -f19,41 /proc/$$/stat; ionice -p $$; ulimit -n; umask; cat /proc/$$/oom_score_adj; id -G; echo $HOME",
        scheduler={"policy": "SCHED_BATCH", "nice": 5},
        ioPriority={"class": "IOPRIO_CLASS_BE", "priority": 2},
        rlimits=[{"type": "RLIMIT_NOFILE", "soft": 40, "hard": 41}],
        oomScoreAdj=200,
        user={"uid": 33, "gid": 34, "umask": 0o77, "additionalGids": [4, 5]},
    )
    assert text == "5 3\nbest-effort: prio 2\n40\n0077\n200\n34 4 5\n/srv/web\n"


async def test_affinity(runtime: Runtime) -> None:
    shim = await sleeping(runtime)
    last = max(os.sched_getaffinity(0))
    grep = "grep Cpus_allowed_list /proc/self/status | cut -f2"
    assert await said(shim, grep, execCPUAffinity={"initial": "0", "final": str(last)}) == f"{last}\n"
    assert await said(shim, grep, execCPUAffinity={"final": "0"}) == "0\n"
    with pytest.raises(Invalid, match=r'bad CPUAffinity\.Final: invalid list "x"'):
        await said(shim, grep, execCPUAffinity={"final": "x"})
    with pytest.raises(Exception, match="setting CPU affinity"):
        await said(shim, grep, execCPUAffinity={"final": "60000"})


async def test_it_is_as_private_as_its_container(runtime: Runtime) -> None:
    """Its score was written through the host's procfs, and nothing of that is left."""
    shim = await sleeping(runtime)
    text = await said(shim, "ls /proc/self/fd; for n in /proc/self/ns/*; do readlink $n; done", oomScoreAdj=1)
    fds, spaces = text.split()[:4], text.split()[4:]
    assert fds == ["0", "1", "2", "3"]
    names = sorted(os.listdir(f"/proc/{shim.pid}/ns"))
    ours = {name: os.readlink(f"/proc/{shim.pid}/ns/{name}") for name in names if "children" not in name}
    assert set(ours.values()) <= set(spaces)


@pytest.fixture
def root(image: Path, tmp_path: Path) -> Iterator[Path]:
    """A root that may be mounted on."""
    path = tmp_path / "root"
    path.mkdir()
    kernel.mount(str(image), str(path), None, kernel.MS_BIND)
    kernel.mount(None, str(path), None, kernel.MS_PRIVATE)
    yield path
    for _ in range(2):
        try:
            kernel.umount2(str(path), kernel.MNT_DETACH)
        except OSError:
            return


def in_root(runtime: Runtime, root: Path, namespaces: list[dict[str, str]], *command: str) -> dict[str, Any]:
    order = runtime.order(*command)
    order["rootfs"]["mounts"] = [["bind", str(root), ["rbind"]]]
    order["bundle"]["linux"] |= {"namespaces": namespaces, "maskedPaths": [], "readonlyPaths": []}
    order["bundle"]["hostname"] = ""
    return order


async def test_a_container_in_the_hosts_mount_namespace(runtime: Runtime, root: Path) -> None:
    """Its mounts are the host's, at its root; all of them can be taken off at once."""
    spaces = [{"type": "pid"}, {"type": "network"}]
    order = in_root(
        runtime, root, spaces, "sh", "-c", "readlink /proc/self/ns/mnt; ls -d /bin/busybox; ls /root/..; pwd"
    )
    _, out, _ = await runtime.live(order)
    lines = out.decode().split()
    assert lines[:2] == [os.readlink("/proc/self/ns/mnt"), "/bin/busybox"]
    assert "data" in lines
    places = [line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    assert f"{root}/proc" in places
    kernel.umount2(str(root), kernel.MNT_DETACH)
    left = [line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    assert not [place for place in left if place.startswith(f"{root}/")]


@pytest.fixture
def holder() -> Iterator[int]:
    """A process with a mount namespace of its own."""
    words = ["unshare", "--mount", "sh", "-c", "echo; exec sleep 1000"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


async def test_a_mount_namespace_that_is_joined(runtime: Runtime, root: Path, holder: int) -> None:
    theirs = f"/proc/{holder}/ns/mnt"
    spaces = [{"type": "mount", "path": theirs}, {"type": "pid"}]
    inode = os.readlink(theirs)
    script = "readlink /proc/self/ns/mnt; ls -d /data"
    _, out, _ = await runtime.live(in_root(runtime, root, spaces, "sh", "-c", script))
    assert out.decode() == f"{inode}\n/data\n"
    assert f"{root}/proc" not in Path("/proc/self/mountinfo").read_text()
