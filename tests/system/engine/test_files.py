"""What a container finds in its file system, and what goes in and out of it."""

import asyncio
import gzip
import io
import os
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from knarr.engine.errors import BindSourceMissing, NoSuchPathInContainer, NoSuchVolume, VolumeInUse
from knarr.engine.values import Change
from knarr.model.container import MountSpec, Resources, Ulimit
from knarr.model.errors import Invalid, NotFound
from tests.support import host
from tests.system.engine.conftest import Lab, collect


def archive(name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size, entry.uid = len(data), 1234
        tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


async def stream(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 4096):
        yield data[start : start + 4096]


async def members(pieces: AsyncIterator[bytes]) -> dict[str, bytes]:
    data = b"".join(await collect(pieces))
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for entry in tar:
            file = tar.extractfile(entry)
            found[entry.name] = file.read() if file else b""
    return found


async def test_etc_files_and_identity(lab: Lab) -> None:
    text = await lab.output(
        "sh", "-c", "hostname; cat /etc/hostname /etc/hosts /etc/resolv.conf; id -u; pwd; echo $PATH $A",
        hostname="box", extra_hosts=("other:1.2.3.4",), dns=("9.9.9.9",), dns_search=("corp",), user="web",
        working_dir="/data", environment=("A=b",),
    )  # fmt: skip
    for line in ("box", "1.2.3.4\tother", "nameserver 9.9.9.9", "search corp", "33", "/data", "/bin b"):
        assert line in text.splitlines()


async def test_a_bind_and_what_is_missing(lab: Lab, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("host\n")
    mount = MountSpec(type="bind", source=str(source), target="/m")
    assert await lab.output("sh", "-c", "cat /m/file; echo new > /m/new", mounts=(mount,)) == "host\n"
    assert (source / "new").read_text() == "new\n"
    read_only = MountSpec(type="bind", source=str(source), target="/m", read_only=True)
    assert "Read-only" in await lab.output("sh", "-c", "echo x > /m/x", mounts=(read_only,))
    missing = str(tmp_path / "missing")
    with pytest.raises(BindSourceMissing) as caught:
        await lab.create("true", mounts=(MountSpec(type="bind", source=missing, target="/m"),))
    assert str(caught.value) == (
        f'invalid mount config for type "bind": bind source path does not exist: {missing}'
    )
    made = MountSpec(type="bind", source=missing, target="/m", create_source=True, asked_by="binds")
    await lab.output("true", mounts=(made,))
    assert os.path.isdir(missing)


async def test_a_named_volume_is_filled_once_with_its_owners(lab: Lab) -> None:
    mount = MountSpec(type="volume", source="vol", target="/data", asked_by="binds")
    text = await lab.output(
        "sh",
        "-c",
        "cat /data/inside; stat -c %u:%g /data/inside; rm /data/inside; echo 1 > /data/new",
        mounts=(mount,),
    )
    assert text == "from the image\n33:34\n"
    assert await lab.output("ls", "/data", mounts=(mount,)) == "new\n"
    view = await lab.engine.volumes.inspect("vol")
    assert not view.anonymous
    assert os.listdir(view.mountpoint) == ["new"]
    holder = await lab.create("true", mounts=(mount,))
    with pytest.raises(VolumeInUse, match=f"remove vol: volume is in use - \\[{holder}\\]"):
        await lab.engine.volumes.remove("vol")
    await lab.containers.remove(holder, volumes=True)
    await lab.engine.volumes.remove("vol")
    with pytest.raises(NoSuchVolume, match="get vol: no such volume"):
        await lab.engine.volumes.inspect("vol")


async def test_anonymous_volumes_go_with_rm(lab: Lab) -> None:
    await lab.run("true", volumes=("/v",), auto_remove=True)

    async def left() -> int:
        return len(await lab.engine.volumes.list())

    from tests.system.engine.conftest import until

    async def none() -> bool:
        return await left() == 0

    await until(none, "the anonymous volume is removed")
    made, _ = await lab.run("true", volumes=("/v",))
    await lab.containers.remove(made)
    assert await left() == 1
    pruned = await lab.engine.volumes.prune()
    assert len(pruned.ids) == 1


async def test_volumes_from(lab: Lab) -> None:
    mount = MountSpec(type="volume", source="shared", target="/shared")
    first = await lab.create("true", mounts=(mount,))
    await lab.output("sh", "-c", "echo x > /shared/f", volumes_from=(first,))
    text = await lab.output(
        "sh", "-c", "exec 2>&1; cat /shared/f; echo y > /shared/f", volumes_from=(f"{first}:ro",)
    )
    assert text.startswith("x\n")
    assert "Read-only" in text
    await lab.containers.remove(first)
    await lab.engine.volumes.remove("shared")


async def test_tmpfs_shm_read_only_and_limits(lab: Lab) -> None:
    tmpfs = MountSpec(type="tmpfs", target="/run", options=("size=1m",), asked_by="tmpfs")
    text = await lab.output(
        "sh", "-c", "exec 2>&1; df -k /run | tail -1; df -k /dev/shm | tail -1; echo x > /file; ulimit -n; echo ok > /run/x",
        mounts=(tmpfs,), shm_size=8 << 20, read_only=True,
        resources=Resources(ulimits=(Ulimit(name="nofile", soft=100, hard=100),)),
    )  # fmt: skip
    run, shm, refused, limit = text.splitlines()
    assert run.split()[1] == "1024"
    assert shm.split()[1] == "8192"
    assert "Read-only" in refused
    assert limit == "100"


async def test_a_failed_create_leaves_nothing(lab: Lab, tmp_path: Path) -> None:
    mounts = (
        MountSpec(type="volume", target="/a"),
        MountSpec(type="volume", source="named", target="/b"),
        MountSpec(type="bind", source=str(tmp_path / "missing"), target="/c"),
    )
    with pytest.raises(BindSourceMissing):
        await lab.create("true", name="one", mounts=mounts)
    assert await lab.engine.volumes.list() == []
    with pytest.raises(NotFound):
        await lab.create("true", name="one", mounts=(MountSpec(type="volume", target="/a", driver="nfs"),))
    assert await lab.engine.volumes.list() == []
    await lab.create("true", name="one")
    await lab.containers.remove("one")
    await asyncio.to_thread(host.settle, lab.home.left)
    assert os.listdir(tmp_path / "data/volumes") == []


@pytest.mark.parametrize("running", [True, False])
async def test_copies_in_and_out(lab: Lab, running: bool) -> None:
    volume = MountSpec(type="volume", target="/vol")
    made = await lab.create("sleep", "1000", mounts=(volume,))
    if running:
        await lab.containers.start(made)
    stat = await lab.containers.archive_stat(made, "/data/inside")
    assert (stat.name, stat.size) == ("inside", len("from the image\n"))
    _, pieces = await lab.containers.archive_get(made, "/data")
    assert (await members(pieces))["data/inside"] == b"from the image\n"
    for data in (archive("new", b"1"), gzip.compress(archive("packed", b"2"))):
        await lab.containers.archive_put(made, "/vol", stream(data))
    _, pieces = await lab.containers.archive_get(made, "/vol")
    found = await members(pieces)
    assert (found["vol/new"], found["vol/packed"]) == (b"1", b"2")
    with pytest.raises(NoSuchPathInContainer, match=f"Could not find the file /nowhere in container {made}"):
        await lab.containers.archive_stat(made, "/nowhere")
    with pytest.raises(NoSuchPathInContainer):
        await lab.containers.archive_put(made, "/nowhere", stream(archive("x", b"")))
    with pytest.raises(Invalid):
        await lab.containers.archive_put(made, "/data/inside", stream(archive("x", b"")))


async def test_changes_and_export(lab: Lab) -> None:
    made, _ = await lab.run("sh", "-c", "echo x > /added; rm /data/inside")
    found = list(await lab.containers.changes(made))
    assert Change(1, "/added") in found
    assert Change(2, "/data/inside") in found
    tree = await members(await lab.containers.export(made))
    assert tree["added"] == b"x\n"
    assert "data/inside" not in tree
    sized = await lab.containers.inspect(made, size=True)
    assert sized.size_rw is not None
    assert sized.size_root_fs is not None
    assert sized.size_root_fs > sized.size_rw > 0


async def test_update_limits(lab: Lab) -> None:
    made = await lab.start("sleep", "1000", resources=Resources(memory=64 << 20))
    await lab.containers.update(made, Resources(memory=32 << 20, memory_swap=64 << 20))
    assert (await lab.containers.inspect(made)).spec.resources.memory == 32 << 20
    with pytest.raises(Invalid, match="Minimum memory limit allowed is 6MB"):
        await lab.containers.update(made, Resources(memory=1))


async def test_system(lab: Lab) -> None:
    await lab.start("sleep", "1000")
    await lab.run("true")
    info = await lab.engine.system.info()
    assert (info.containers, info.running, info.stopped, info.images) == (2, 1, 1, 1)
    assert info.driver == "overlay2"
    usage = await lab.engine.system.disk_usage()
    assert usage.layers_size > 0
    assert len(usage.containers) == 2
    assert (await lab.engine.system.version()).os == "linux"
