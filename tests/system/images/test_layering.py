"""What a step has made becomes a layer: the tree, its blob and its names agree, whatever an archive could not hold is left out."""

import asyncio
import gzip
import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from knarr.build.tree import Tree
from knarr.engine.building import layering
from knarr.engine.building.layering import layer_of
from knarr.engine.images.compression import PIECE
from knarr.engine.images.holding import holding
from knarr.engine.images.unpacking import Keeper
from knarr.model.digest import Digest
from tests.system.images.world import World

MOMENT = 1_600_000_000 * 10**9
KEY = "step"
EMPTY = Tree()


def prepared(world: World, base: Tree) -> Path:
    """The upper directory of a new snapshot."""
    world.rooms.snapshots.prepare(KEY, base.chain)
    return Path(world.rooms.snapshots.delta(KEY).upper)


async def layered(
    world: World, base: Tree = EMPTY, latest: int | None = None, mounted: Sequence[str] | None = None
) -> Tree:
    """Kept as long as nobody sweeps: no row names it."""
    async with holding(world.rooms, leftovers=False) as hold:
        return await layer_of(world.rooms, hold, KEY, base, latest, mounted)


def members(world: World, tree: Tree) -> dict[str, tarfile.TarInfo]:
    """The top layer's archive, which is what its names say."""
    layer = tree.layers[-1]
    data = world.rooms.blobs.path(layer.blob.digest).read_bytes()
    assert len(data) == layer.blob.size
    assert Digest.of(data) == layer.blob.digest
    plain = gzip.decompress(data)
    assert Digest.of(plain) == layer.diff
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        found = {member.name: member for member in tar}
    assert layer.size == sum(member.size for member in found.values())
    return found


async def test_the_upper_directory_becomes_the_layer(world: World) -> None:
    upper = prepared(world, EMPTY)
    (upper / "app").mkdir(mode=0o750)
    (upper / "app/run").write_bytes(b"#!/bin/sh\n")
    os.chown(upper / "app/run", 1000, 1001)
    (upper / "app/run").chmod(0o4755)
    os.setxattr(upper / "app/run", "user.note", b"kept")
    (upper / "app/link").symlink_to("run")
    os.link(upper / "app/run", upper / "app/twin")
    inode = (upper / "app/run").stat().st_ino
    tree = await layered(world)
    found = members(world, tree)
    assert list(found) == ["app", "app/link", "app/run", "app/twin"]
    assert (found["app/run"].mode, found["app/run"].uid, found["app/run"].gid) == (0o4755, 1000, 1001)
    assert found["app/run"].pax_headers["SCHILY.xattr.user.note"] == "kept"
    assert found["app/twin"].linkname == "app/run"
    assert (world.layer(tree.chain[-1]) / "app/run").stat().st_ino == inode
    assert not upper.exists()


async def test_what_is_hidden_stays_hidden(world: World) -> None:
    upper = prepared(world, EMPTY)
    (upper / "old").write_text("old")
    (upper / "dir").mkdir()
    base = await layered(world)
    world.rooms.snapshots.remove(KEY)
    upper = prepared(world, base)
    os.mknod(upper / "old", stat.S_IFCHR, 0)
    (upper / "dir").mkdir()
    os.setxattr(upper / "dir", "trusted.overlay.opaque", b"y")
    tree = await layered(world, base)
    assert list(members(world, tree)) == ["dir", "dir/.wh..wh..opq", ".wh.old"]
    assert tree.layers[0] == base.layers[0]
    assert len(tree.chain) == 2
    assert (world.layer(tree.chain[-1]) / "old").stat().st_rdev == 0


async def test_no_time_is_after_the_latest(world: World) -> None:
    upper = prepared(world, EMPTY)
    (upper / "dir").mkdir()
    for name, moment in (("dir/new", MOMENT + 1), ("dir/old", MOMENT - 10**9), ("new", MOMENT + 10**12)):
        (upper / name).write_text(name)
        os.utime(upper / name, ns=(moment, moment))
    (upper / "link").symlink_to("new")
    tree = await layered(world, latest=MOMENT)
    found = members(world, tree)
    seconds = MOMENT // 10**9
    times = {"dir": seconds, "dir/new": seconds, "dir/old": seconds - 1, "link": seconds, "new": seconds}
    assert {name: member.mtime for name, member in found.items()} == times
    top = world.layer(tree.chain[-1])
    assert {name: os.lstat(top / name).st_mtime_ns for name in times} == {
        name: moment * 10**9 for name, moment in times.items()
    }


async def test_sockets_and_stubs_of_mounts_leave_no_trace(world: World) -> None:
    upper = prepared(world, EMPTY)
    for name in ("run", "etc", "data", "data/full"):
        (upper / name).mkdir()
    os.mknod(upper / "run/socket", stat.S_IFSOCK | 0o600)
    for name in ("etc/resolv.conf", "data/full/file"):
        (upper / name).touch()
    (upper / "etc/hosts").write_text("kept\n")
    os.mkdir(upper / "mounted")
    for name in ("run", "etc"):
        os.utime(upper / name, ns=(MOMENT, MOMENT))
    tree = await layered(world, mounted=["/mounted", "/data/full"])
    assert list(members(world, tree)) == ["data", "data/full", "data/full/file", "etc", "etc/hosts", "run"]
    top = world.layer(tree.chain[-1])
    assert sorted(path.name for path in top.iterdir()) == ["data", "etc", "run"]
    assert os.listdir(top / "run") == []
    assert {(top / name).stat().st_mtime_ns for name in ("run", "etc")} == {MOMENT}


async def test_the_same_tree_is_the_same_bytes(world: World) -> None:
    """Of more pieces than are compressed at a time, which a pipe cuts anyhow."""
    trees = []
    for _ in range(2):
        upper = prepared(world, EMPTY)
        for number in range(40):
            content = hashlib.shake_128(bytes([number])).digest(PIECE // 8 + number)
            (upper / f"{number:02}").write_bytes(content)
            os.utime(upper / f"{number:02}", ns=(MOMENT, MOMENT))
        trees.append(await layered(world))
        assert len(members(world, trees[-1])) == 40
        world.rooms.snapshots.remove(KEY)
    assert trees[0] == trees[1]
    assert trees[0].layers[0].diff != trees[0].layers[0].blob.digest


async def test_a_step_that_changed_nothing_is_an_empty_layer(world: World) -> None:
    prepared(world, EMPTY)
    tree = await layered(world)
    assert members(world, tree) == {}
    assert tree.layers[0].size == 0


async def test_a_full_disk_leaves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one who reads must not wait for room that the one who writes never gives."""

    def full(self: Keeper, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Keeper, "write", full)
    upper = prepared(world, EMPTY)
    (upper / "large").write_bytes(os.urandom(PIECE) * 16)
    with pytest.raises(OSError, match="No space left"):
        async with asyncio.timeout(60):
            await layered(world)
    world.rooms.snapshots.remove(KEY)
    world.rooms.snapshots.empty_trash()
    assert [each for each in world.leftovers() if "/layers/" in each or "/blobs/sha256/" in each] == []


async def test_a_build_that_is_given_up_leaves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, plain = asyncio.Event(), layering._hashed
    loop = asyncio.get_running_loop()

    def begin(*arguments: object) -> object:
        loop.call_soon_threadsafe(begun.set)
        return plain(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(layering, "_hashed", begin)
    upper = prepared(world, EMPTY)
    (upper / "large").write_bytes(os.urandom(PIECE) * 16)
    work = asyncio.create_task(layered(world))
    async with asyncio.timeout(60):
        await begun.wait()
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
    world.rooms.snapshots.remove(KEY)
    world.rooms.snapshots.empty_trash()
    assert [each for each in world.leftovers() if "/layers/" in each or "/blobs/sha256/" in each] == []
