"""A whole engine on the real kernel: zygote, bridge, state, and one image imported from a tar of static busybox."""

import asyncio
import io
import os
import secrets
import socket
import subprocess
import tarfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from knarr.engine.engine import Engine
from knarr.engine.namespaces import SPARES
from knarr.engine.settings import Settings
from knarr.engine.values import EventOptions, LogOptions, Waited
from knarr.kernel.mounts import MNT_DETACH, umount2
from knarr.model.container import ContainerSpec
from knarr.model.reference import Reference
from knarr.model.system import Event
from knarr.network.bridge import Bridge
from knarr.network.config import NetworkConfig
from tests.support import host

PATIENCE = 60
T = TypeVar("T")


def busybox_tar() -> bytes:
    """A root file system with every applet."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in ("bin", "etc", "tmp", "root", "data", "proc", "sys", "dev"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(entry)
        tar.add("/bin/busybox", "bin/busybox")
        for applet in subprocess.run(
            ["/bin/busybox", "--list"], check=True, capture_output=True, text=True
        ).stdout.split():
            if applet != "busybox":
                entry = tarfile.TarInfo(f"bin/{applet}")
                entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(entry)
        files = {
            "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/data:/bin/sh\n",
            "etc/group": b"root:x:0:\nweb:x:34:\n",
            "data/inside": b"from the image\n",
            "bin/noexec": b"text",
        }
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            if name.startswith("data/"):
                entry.uid, entry.gid = 33, 34
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


@pytest.fixture(scope="session")
def tar() -> bytes:
    return busybox_tar()


class NoRegistry:
    """These tests pull nothing."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the registry was asked: {name}")


class Host:
    """One daemon's place on this host; engines are opened on it one after the other."""

    def __init__(self, base: Path) -> None:
        self.base = base
        number = secrets.randbelow(4096)
        self.settings = Settings(
            data_root=str(base / "data"),
            exec_root=str(base / "exec"),
            bridge=f"ktE{number:03x}",
            bip=f"10.{224 + number // 256}.{number % 256}.1/24",
        )
        self.engines: list[Engine] = []

    async def open(self, tar: bytes | None = None) -> "Lab":
        engine = await Engine.open(self.settings, NoRegistry())
        self.engines.append(engine)
        lab = Lab(engine, self)
        if tar is not None:
            await lab.load(tar)
        return lab

    async def close(self) -> None:
        for engine in self.engines:
            await engine.close()
        self.engines.clear()

    def left(self) -> dict[str, object]:
        """What containers could have left on the host: nothing, once they are gone."""
        data, run = self.base / "data", self.base / "exec"
        prefix = os.path.realpath(self.base)
        remains = {
            "mounts": host.mounts([str(self.base)]),
            "cgroups": host.cgroups(f"knarr/{self._cgroup()}"),
            "runs": set(os.listdir(run / "containers")),
            "netns": len(host.network_namespaces(os.getpid())) > SPARES * len(self.engines),
            "containers": set(os.listdir(data / "containers")),
            "snapshots": set(os.listdir(data / "snapshots/overlay2/snapshots")),
            "veths": {
                name for name in host.links() if os.path.exists(f"/sys/class/net/{self.settings.bridge}/brif/{name}")
            },
            "elements": [
                line for line in host.nft("list", "table", "ip", f"knarr-{self.settings.bridge}").splitlines()
                if "comment" in line and "elements" in line
            ],
            "processes": [
                pid for pid, line in host.processes().items() if prefix in line
            ],
        }  # fmt: skip
        return {name: found for name, found in remains.items() if found}

    def _cgroup(self) -> str:
        from knarr.engine.paths import Paths

        return Paths.of(self.settings.data_root, self.settings.exec_root).cgroup.rpartition("/")[2]


class Lab:
    """An engine with shorthands."""

    def __init__(self, engine: Engine, home: Host) -> None:
        self.engine = engine
        self.home = home
        self.containers = engine.containers

    async def load(self, tar: bytes) -> None:
        async def stream() -> AsyncIterator[bytes]:
            yield tar

        ref = Reference.parse("busybox:latest")
        async for _ in self.engine.images.import_(stream(), ref, changes=("ENV PATH=/bin", 'CMD ["sh"]')):
            pass

    def spec(self, *command: str, **fields: Any) -> ContainerSpec:
        return ContainerSpec(image="busybox", command=command, **fields)

    async def create(self, *command: str, name: str | None = None, **fields: Any) -> str:
        return (await self.containers.create(self.spec(*command, **fields), name=name)).id

    async def start(self, *command: str, name: str | None = None, **fields: Any) -> str:
        made = await self.create(*command, name=name, **fields)
        await self.containers.start(made)
        return made

    async def run(self, *command: str, name: str | None = None, **fields: Any) -> tuple[str, Waited]:
        made = await self.create(*command, name=name, **fields)
        condition = "removed" if fields.get("auto_remove") else "next-exit"
        waiting = await self.containers.begin_wait(made, condition)
        await self.containers.start(made)
        return made, await within(waiting)

    async def output(self, *command: str, **fields: Any) -> str:
        """What a container says, both streams, after it ended; it is removed."""
        made, _ = await self.run(*command, **fields)
        text = await self.log(made)
        await self.containers.remove(made, volumes=True)
        return text

    async def log(self, name: str, **options: Any) -> str:
        return b"".join(line.data for line in await self.lines(name, **options)).decode()

    async def lines(self, name: str, **options: Any) -> list[Any]:
        return await collect(await self.containers.logs(name, LogOptions(**options)))

    async def remove_all(self) -> None:
        for view in await self.containers.list(all=True):
            await self.containers.remove(view.id, force=True, volumes=True)

    async def events(self) -> "Seen":
        return Seen(await self.engine.events.subscribe(EventOptions()))


class Seen:
    """Events as they come."""

    def __init__(self, stream: AsyncIterator[Event]) -> None:
        self._stream = stream

    async def until(self, *actions: str) -> list[Event]:
        """Everything up to, and with, the last of `actions`, whatever their order."""
        missing, found = list(actions), []
        while missing:
            event = await within(anext(self._stream))
            found.append(event)
            if f"{event.type} {event.action}" in missing:
                missing.remove(f"{event.type} {event.action}")
        return found


async def collect(stream: AsyncIterator[T]) -> list[T]:
    return [item async for item in stream]


async def within(work: Any) -> Any:
    return await asyncio.wait_for(work, PATIENCE)


async def until(condition: Callable[[], Any], what: str) -> Any:
    """Waits for a condition of the outside world."""
    for _ in range(PATIENCE * 50):
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(f"not within {PATIENCE} s: {what}")


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Host]:
    """A place for engines; what they left is removed afterwards."""
    place = Host(tmp_path)
    try:
        yield place
    finally:
        if not place.engines:
            await place.open()
        lab = Lab(place.engines[-1], place)
        await lab.remove_all()
        await place.close()
        bridge = Bridge()
        await bridge.teardown(NetworkConfig.from_bip("bridge", place.settings.bridge, place.settings.bip))
        bridge.close()
        for point in host.mounts([str(tmp_path)]):
            umount2(point, MNT_DETACH)


@pytest.fixture
async def lab(home: Host, tar: bytes) -> Lab:
    """An open engine with the image."""
    return await home.open(tar)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """(a client's end, the daemon's end)"""
    mine, theirs = socket.socketpair()
    with mine, theirs:
        mine.settimeout(PATIENCE)
        yield mine, theirs
