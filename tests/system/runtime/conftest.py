"""A zygote and containers of Debian's static busybox, with nothing of the engine above them."""

import asyncio
import os
import shutil
import socket
import subprocess
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from knarr.engine.shims import Exit, Shim
from knarr.engine.zygote import Zygote
from knarr.runtime import caps, defaults
from knarr.runtime.seccomp.compiler import compile_default
from tests.support import host

PARENT = f"knarr-test-runtime-{os.getpid()}"
PATIENCE = 60


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root file system; nobody writes to it."""
    root = tmp_path_factory.mktemp("image")
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp", "root", "data", "closed"):
        (root / name).mkdir()
    (root / "tmp").chmod(0o1777)
    (root / "closed").chmod(0o700)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    subprocess.run(["chroot", str(root), "/bin/busybox", "--install", "-s", "/bin"], check=True)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/srv/web:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nweb:x:34:\naudio:x:29:web\nlog:x:4:\n")
    (root / "etc/shadowed").symlink_to("/proc/self/fd/3")
    (root / "bin/noexec").write_text("not a program")
    (root / "bin/badformat").write_bytes(b"\x00\x01garbage")
    (root / "bin/badformat").chmod(0o755)
    return root


@pytest.fixture(scope="session")
def seccomp_filter(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Docker's default profile, compiled."""
    path = tmp_path_factory.mktemp("seccomp") / "default.bpf"
    path.write_bytes(compile_default(caps.DEFAULT, os.uname().machine, (6, 1)))
    return str(path)


class Runtime:
    """Makes orders and keeps what it launched, so that nothing is left after a test."""

    def __init__(self, zygote: Zygote, image: Path, base: Path, seccomp: str):
        self.zygote, self.image, self.base, self.seccomp = zygote, image, base, seccomp
        self.shims: list[Shim] = []
        self.last = Path()

    def order(self, *command: str, tty: bool = False, stdin: bool = False, **changes: Any) -> dict[str, Any]:
        """An order as the engine would send it. `changes`: process, linux, mounts (added), bundle, or the order's keys."""
        name = uuid.uuid4().hex
        where = self.base / name[:12]
        for part in ("run", "upper", "work"):
            (where / part).mkdir(parents=True)
        self.last = where
        layers = [f"lowerdir={self.image}", f"upperdir={where}/upper", f"workdir={where}/work"]
        kinds = ("mount", "pid", "network", "ipc", "uts", "cgroup")
        allowed = {kind: list(caps.DEFAULT) for kind in ("bounding", "effective", "permitted", "inheritable")}
        process: dict[str, Any] = {
            "args": list(command),
            "env": ["PATH=/bin", "TERM=xterm"],
            "cwd": "/",
            "user": {"name": ""},
            "terminal": tty,
            "capabilities": allowed,
            **changes.pop("process", {}),
        }
        linux: dict[str, Any] = {
            "namespaces": [{"type": kind} for kind in kinds],
            "maskedPaths": list(defaults.MASKED_PATHS),
            "readonlyPaths": list(defaults.READONLY_PATHS),
            **changes.pop("linux", {}),
        }
        bundle = {
            "process": process,
            "hostname": "box",
            "mounts": defaults.mounts() + changes.pop("mounts", []),
            "linux": linux,
            **changes.pop("bundle", {}),
        }
        return {
            "id": name,
            "bundle": bundle,
            "rootfs": {"mounts": [["overlay", "overlay", layers]]},
            "run_dir": str(where / "run"),
            "log": {"driver": "json-file", "path": str(where / "log.json"), "max_size": -1, "max_file": 1},
            "stdin": stdin,
            "stdin_once": stdin,
            "cgroup": f"{PARENT}/{name}",
            "seccomp": self.seccomp,
            **changes,
        }

    async def launch(self, order: Mapping[str, Any]) -> Shim:
        """Up to the gate."""
        shim = await self.zygote.launch(order)
        self.shims.append(shim)
        return shim

    async def run(self, *command: str, **changes: Any) -> tuple[Exit, bytes, bytes]:
        """A whole life: (exit, standard output, standard error)."""
        return await self.live(self.order(*command, **changes))

    async def live(self, order: Mapping[str, Any]) -> tuple[Exit, bytes, bytes]:
        """The same by an order."""
        shim = await self.launch(order)
        out, theirs = socket.socketpair()
        err, theirs_too = socket.socketpair()
        with out, err:
            await shim.attach(theirs.fileno(), stdin=False, stdout=True, stderr=False, framed=False)
            await shim.attach(theirs_too.fileno(), stdin=False, stdout=False, stderr=True, framed=False)
            theirs.close()
            theirs_too.close()
            await shim.start()
            streams = await asyncio.gather(read_all(out), read_all(err))
            ended = await asyncio.wait_for(asyncio.shield(shim.exited), PATIENCE)
        await shim.release()
        return ended, *streams

    async def close(self) -> None:
        """Ends everything."""
        for shim in self.shims:
            if not shim.exited.done():
                try:
                    await shim.signal(9)
                    await asyncio.wait_for(asyncio.shield(shim.exited), PATIENCE)
                except Exception:
                    pass
            await shim.release()


async def read_all(sock: socket.socket) -> bytes:
    """Until the other end closes."""
    sock.setblocking(False)
    loop, data = asyncio.get_running_loop(), b""
    while chunk := await asyncio.wait_for(loop.sock_recv(sock, 1 << 16), PATIENCE):
        data += chunk
    return data


async def read_until(sock: socket.socket, wanted: bytes) -> bytes:
    """Until `wanted` was seen."""
    sock.setblocking(False)
    loop, data = asyncio.get_running_loop(), b""
    while wanted not in data:
        chunk = await asyncio.wait_for(loop.sock_recv(sock, 1 << 16), PATIENCE)
        assert chunk, f"the end came before {wanted!r}: {data!r}"
        data += chunk
    return data


@pytest.fixture
async def zygote(tmp_path: Path) -> AsyncIterator[Zygote]:
    """A zygote of its own."""
    started = await Zygote.start(str(tmp_path / "exec"))
    yield started
    await started.close()


@pytest.fixture
async def runtime(zygote: Zygote, image: Path, tmp_path: Path, seccomp_filter: str) -> AsyncIterator[Runtime]:
    """Afterwards nothing is left: no cgroup, no mount, no process."""
    made = Runtime(zygote, image, tmp_path / "containers", seccomp_filter)
    yield made
    await made.close()
    host.settle(lambda: host.cgroups(PARENT))
    assert host.mounts([str(tmp_path)]) == set()


@pytest.fixture(scope="session", autouse=True)
def no_parent_left() -> Iterator[None]:
    """Takes the tests' parent cgroup away."""
    yield
    for parent in [host.CGROUP / PARENT, *host.CGROUP.glob(f"*/{PARENT}")]:
        if parent.exists():
            parent.rmdir()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """These tests need root."""
    if os.geteuid() != 0:
        for item in items:
            if "tests/system/runtime" in str(item.path):
                item.add_marker(pytest.mark.skip(reason="needs root"))


Launch = Callable[..., Any]
