"""The zygote's other jobs: network namespaces, archives in and out of containers, small files."""

import asyncio
import io
import os
import socket
import stat
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from knarr.engine.zygote import Zygote
from knarr.engine.zygote_jobs import RootView
from knarr.kernel import mounts
from knarr.model.errors import Unavailable
from knarr.model.mount import Mount
from knarr.runtime import netns
from knarr.snapshots.errors import BadArchive, NoSuchPath
from knarr.snapshots.maketar import TarOptions
from knarr.snapshots.untar import UntarOptions
from tests.support import host
from tests.system.runtime.conftest import PATIENCE, Runtime


def tar_of(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def pour(fd: int, data: bytes) -> None:
    with open(os.dup(fd), "wb") as pipe:
        pipe.write(data)


def slurp(fd: int) -> bytes:
    with open(os.dup(fd), "rb") as pipe:
        return pipe.read()


def on_a_thread_of_its_own() -> tuple[int, socket.socket]:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(netns.make).result()


def test_a_network_namespace_exists_before_any_process() -> None:
    own = os.stat("/proc/self/ns/net").st_ino
    fd, route = on_a_thread_of_its_own()
    with route:
        assert os.fstat(fd).st_ino != own
        assert route.family == socket.AF_NETLINK
    assert os.stat("/proc/self/ns/net").st_ino == own
    os.close(fd)


def test_a_name_of_an_earlier_version_is_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "one"
    path.touch()
    mounts.mount("/proc/self/ns/net", str(path), None, mounts.MS_BIND)
    netns.unname(str(path))
    assert not path.exists()
    assert host.mounts([str(tmp_path)]) == set()


async def test_a_container_in_a_namespace_without_a_name(runtime: Runtime) -> None:
    fd, route = on_a_thread_of_its_own()
    inode = os.fstat(fd).st_ino
    route.close()
    path = f"/proc/{os.getpid()}/fd/{fd}"
    kinds = ("mount", "pid", "ipc", "uts", "cgroup")
    namespaces = [*({"type": kind} for kind in kinds), {"type": "network", "path": path}]
    script = "readlink /proc/self/ns/net; ip link show lo | grep -c LOWER_UP; ls /sys/class/net"
    _, out, _ = await runtime.run("sh", "-c", script, linux={"namespaces": namespaces})
    os.close(fd)
    assert out.split() == [f"net:[{inode}]".encode(), b"1", b"lo"]


async def test_unpacking_a_stream(zygote: Zygote, tmp_path: Path) -> None:
    unpacking = await zygote.unpack(str(tmp_path), UntarOptions())
    await asyncio.to_thread(pour, unpacking.feed, tar_of(one=b"1", two=b"22"))
    unpacking.close_feed()
    assert await asyncio.wait_for(unpacking.result(), PATIENCE) == (3, 2)
    assert (tmp_path / "two").read_bytes() == b"22"


async def test_a_bad_stream(zygote: Zygote, tmp_path: Path) -> None:
    unpacking = await zygote.unpack(str(tmp_path), UntarOptions())
    await asyncio.to_thread(pour, unpacking.feed, b"no tar at all" * 100)
    unpacking.close_feed()
    with pytest.raises(BadArchive):
        await asyncio.wait_for(unpacking.result(), PATIENCE)


async def archive(zygote: Zygote, view: RootView, path: str, options: TarOptions) -> dict[str, bytes]:
    archiving = await zygote.archive_get(view, path, options)
    data = await asyncio.to_thread(slurp, archiving.drain)
    await asyncio.wait_for(archiving.result(), PATIENCE)
    archiving.close()
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isreg() else None
            found[member.name] = file.read() if file else b""
    return found


async def test_files_of_a_running_container(runtime: Runtime, zygote: Zygote) -> None:
    shim = await runtime.launch(runtime.order("sleep", "1000"))
    await shim.start()
    view = RootView(pid=shim.pid)
    putting = await zygote.archive_put(view, UntarOptions(directory="/tmp"))
    await asyncio.to_thread(pour, putting.feed, tar_of(put=b"here"))
    putting.close_feed()
    await asyncio.wait_for(putting.result(), PATIENCE)
    assert await archive(zygote, view, "/tmp/put", TarOptions(name="put")) == {"put": b"here"}
    found = await zygote.archive_stat(view, "/tmp/put")
    assert (found.name, found.size, stat.S_ISREG(found.mode), found.link_target) == ("put", 4, True, "")
    assert await zygote.read(view, "/etc/group") == (runtime.image / "etc/group").read_bytes()
    link = await zygote.archive_stat(view, "/dev/ptmx")
    assert (stat.S_ISLNK(link.mode), link.link_target) == (True, "/dev/pts/ptmx")


async def test_files_of_a_stopped_container_with_a_volume(
    runtime: Runtime, zygote: Zygote, tmp_path: Path
) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "kept").write_bytes(b"in the volume")
    kind, source, options = runtime.order("true")["rootfs"]["mounts"][0]
    view = RootView(mounts=(Mount(kind, source, tuple(options)),), binds=((str(volume), "/data", ""),))
    assert (await archive(zygote, view, "/data/kept", TarOptions(name="kept"))) == {"kept": b"in the volume"}
    with pytest.raises(NoSuchPath):
        await zygote.archive_stat(view, "/data/missing")
    with pytest.raises(NoSuchPath):
        await zygote.read(view, "/data/missing")
    assert host.mounts([str(tmp_path)]) == set()


async def test_an_empty_volume_takes_what_the_image_has(
    runtime: Runtime, zygote: Zygote, tmp_path: Path
) -> None:
    kind, source, options = runtime.order("true")["rootfs"]["mounts"][0]
    view = RootView(mounts=(Mount(kind, source, tuple(options)),))
    volume = tmp_path / "volume"
    volume.mkdir(mode=0o700)
    await zygote.copy_up(view, "/tmp", str(volume))
    assert stat.S_IMODE(volume.stat().st_mode) == 0o1777
    await zygote.copy_up(view, "/etc", str(volume))
    assert (volume / "passwd").read_bytes() == (runtime.image / "etc/passwd").read_bytes()
    await zygote.copy_up(view, "/no/such", str(volume))


async def test_a_reader_that_goes_away_is_no_trouble(runtime: Runtime, zygote: Zygote) -> None:
    shim = await runtime.launch(runtime.order("true"))
    view = RootView(pid=shim.pid)
    archiving = await zygote.archive_get(view, "/bin", TarOptions(name="bin"))
    archiving.close()
    assert await zygote.read(view, "/etc/group")


async def test_a_closed_zygote_says_so(tmp_path: Path) -> None:
    zygote = await Zygote.start(str(tmp_path))
    await zygote.close()
    with pytest.raises(Unavailable):
        await zygote.unpack(str(tmp_path), UntarOptions())
