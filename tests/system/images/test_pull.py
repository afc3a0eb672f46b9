"""Pull: docker's words, sharing, resume, and nothing left of what went wrong."""

import asyncio
import os
import random
from pathlib import Path

import pytest
import zstandard

from knarr.content.store import CorruptBlob
from knarr.engine.images.errors import BadImage, NoMatchingPlatform
from knarr.kernel import mounts
from knarr.model.digest import Digest
from knarr.model.errors import NotFound, Unavailable
from knarr.model.platform import Platform
from knarr.model.reference import Reference
from knarr.snapshots.errors import BadArchive
from tests.system.images.world import (
    AMD64,
    FakeRegistry,
    World,
    layer_tar,
    lines,
    make_image,
    make_index,
    stream,
)

BASE = layer_tar({"etc/": b"", "etc/name": b"base\n", "big": random.Random(1).randbytes(400_000)})
TOP = layer_tar({"etc/": b"", "etc/name": b"top\n", "new": b"1"})
OTHER = layer_tar({"other": b"2"})


async def test_dockers_words(world: World) -> None:
    made = make_image([BASE, TOP])
    world.registry.put("nginx:latest", made)
    found = await world.pull("nginx")
    base, top = (Digest.of(data).short for data in made.layers)
    assert found[0] == "latest: Pulling from library/nginx"
    for short in (base, top):
        words = [line.partition(": ")[2] for line in found if line.startswith(short)]
        assert words == ["Pulling fs layer", "Verifying Checksum", "Download complete", "Pull complete"]
    assert found[-2:] == [f"Digest: {made.digest}", "Status: Downloaded newer image for nginx:latest"]
    assert await world.pull("nginx:latest") == [
        "latest: Pulling from library/nginx",
        f"Digest: {made.digest}",
        "Status: Image is up to date for nginx:latest",
    ]
    view = await world.images.get("nginx")
    assert view.image.id == made.id
    assert view.tags == ("nginx:latest",)
    assert view.digests == (f"nginx@{made.digest}",)
    assert view.size == 400_000 + 5 + 4 + 1
    assert await world.actions() == ["pull nginx", "pull nginx"]
    chain = world.images.chain(view.image)
    assert (world.layer(chain[0]) / "etc/name").read_text() == "base\n"
    assert (world.layer(chain[1]) / "etc/name").read_text() == "top\n"
    assert not os.listdir(world.root / "leases")


async def test_the_platform_is_chosen_from_the_index(world: World) -> None:
    arm = Platform("linux", "arm64")
    mine, theirs = make_image([BASE]), make_image([TOP], platform=arm)
    world.registry.put("mine", mine)
    world.registry.put("theirs", theirs)
    index = make_index([(theirs, arm), (mine, AMD64)])
    world.registry.put_index("app:1", index)
    await world.pull("app:1")
    view = await world.images.get("app:1")
    assert view.image.id == mine.id
    assert view.digests == (f"app@{Digest.of(index)}",)
    await world.pull("app:1", arm)
    assert (await world.images.get("app:1")).image.id == mine.id
    other = await world.images.get("app:1", platform=arm)
    assert (other.image.id, other.tags) == (theirs.id, ("app:1",))
    assert [each.tags for each in await world.images.list()] == [("app:1",)]
    with pytest.raises(
        NoMatchingPlatform, match="no matching manifest for linux/s390x in the manifest list entries"
    ):
        await world.pull("app:1", Platform("linux", "s390x"))


async def test_a_pull_by_digest_gives_no_tag(world: World) -> None:
    made = make_image([BASE])
    world.registry.put("app:1", made)
    name = f"app@{made.digest}"
    assert (await world.pull(name))[-1] == f"Status: Downloaded newer image for {name}"
    view = await world.images.get(name)
    assert (view.tags, view.digests) == ((), (name,))
    assert (await world.pull(name))[-1] == f"Status: Image is up to date for {name}"


async def test_layers_are_shared(world: World) -> None:
    first, second = make_image([BASE, TOP]), make_image([BASE, OTHER])
    world.registry.put("a:1", first)
    world.registry.put("b:1", second)
    await world.pull("a:1")
    found = await world.pull("b:1")
    base = Digest.of(first.layers[0])
    assert f"{base.short}: Already exists" in found
    assert world.registry.served[base] == len(first.layers[0])
    assert len(list((world.root / "overlay2/layers").iterdir())) == 3
    shared = {view.tags[0]: view.shared_size for view in await world.images.list(shared_size=True)}
    assert shared == {"a:1": 400_005, "b:1": 400_005}


async def test_zstd_and_plain_layers(world: World) -> None:
    world.registry.put("z:1", make_image([BASE], pack=zstandard.ZstdCompressor().compress))
    world.registry.put("p:1", make_image([TOP], pack=bytes))
    await world.pull("z:1")
    await world.pull("p:1")
    assert len(await world.images.list()) == 2


async def test_pulls_at_the_same_time_fetch_each_layer_once(world: World) -> None:
    world.registry.gate = asyncio.Event()
    first, second = make_image([BASE, TOP]), make_image([BASE, OTHER])
    world.registry.put("a:1", first)
    world.registry.put("b:1", second)
    pulls = [asyncio.ensure_future(world.pull(name)) for name in ("a:1", "b:1", "a:1")]
    await world.registry.asked_for(4)
    world.registry.gate.set()
    for found in await asyncio.gather(*pulls):
        assert found[-1].startswith("Status: ")
    for made in (first, second):
        for data in made.layers:
            assert world.registry.served[Digest.of(data)] == len(data)


async def test_one_of_two_pulls_may_give_up(world: World) -> None:
    world.registry.gate = asyncio.Event()
    world.registry.put("a:1", make_image([BASE]))
    pulls = [asyncio.ensure_future(world.pull("a:1")) for _ in range(2)]
    await world.registry.asked_for(3)
    pulls[0].cancel()
    await asyncio.gather(pulls[0], return_exceptions=True)
    world.registry.gate.set()
    assert (await pulls[1])[-1] == "Status: Downloaded newer image for a:1"


async def test_a_broken_download_goes_on_where_it_stopped(world: World) -> None:
    made = make_image([BASE])
    blob = Digest.of(made.layers[0])
    world.registry.put("a:1", made)
    world.registry.break_after[blob] = 100_000
    with pytest.raises(Unavailable):
        await world.pull("a:1")
    assert await world.images.list() == []
    await world.pull("a:1")
    assert [offset for digest, offset in world.registry.requests if digest == blob] == [0, 114_688]
    assert world.registry.served[blob] == len(made.layers[0])
    chain = world.images.chain((await world.images.get("a:1")).image)
    assert (world.layer(chain[0]) / "big").read_bytes() == random.Random(1).randbytes(400_000)


async def test_fifty_cuts_and_several_daemons_end_with_the_right_image(tmp_path: Path) -> None:
    chance = random.Random(7)
    data = chance.randbytes(1_500_000)
    registry = FakeRegistry()
    made = make_image([layer_tar({"data": data}), TOP])
    registry.put("a:1", made)
    blob = Digest.of(made.layers[0])
    world = await World.open(tmp_path / "store", registry)
    for attempt in range(50):
        registry.break_after[blob] = registry.served.get(blob, 0) + chance.randrange(1, 24_000)
        with pytest.raises(Unavailable):
            await world.pull("a:1")
        if attempt % 10 == 9:
            await world.close()
            world = await World.open(tmp_path / "store", registry)
    registry.break_after.clear()
    await world.pull("a:1")
    view = await world.images.get("a:1")
    assert view.image.id == made.id
    assert (world.layer(world.images.chain(view.image)[0]) / "data").read_bytes() == data
    assert registry.served[blob] == len(made.layers[0])
    await world.close()


async def test_a_cancelled_pull_can_be_resumed(world: World) -> None:
    made = make_image([BASE])
    blob = Digest.of(made.layers[0])
    world.registry.put("a:1", made)
    pull = world.images.pull(Reference.parse("a:1"))
    async for line in pull:
        if line.status == "Downloading":
            break
    await pull.aclose()  # type: ignore[attr-defined]
    await world.pull("a:1")
    assert world.registry.served[blob] == len(made.layers[0])


async def test_an_unknown_image(world: World) -> None:
    with pytest.raises(NotFound, match="manifest for ghost:latest not found"):
        await world.pull("ghost")
    assert world.leftovers() == []


@pytest.mark.parametrize("victim", [0, 1])
async def test_a_flipped_byte_is_refused_and_leaves_nothing(world: World, victim: int) -> None:
    made = make_image([BASE, TOP])
    world.registry.put("a:1", made)
    digest = Digest.of(made.layers[victim])
    data = bytearray(made.layers[victim])
    data[-6] ^= 1
    world.registry.blobs[digest] = bytes(data)
    with pytest.raises(CorruptBlob, match=f"filesystem layer verification failed for digest {digest}"):
        await world.pull("a:1")
    assert await world.images.list() == []
    assert world.leftovers() == []
    world.registry.blobs[digest] = made.layers[victim]
    assert (await world.pull("a:1"))[-1] == "Status: Downloaded newer image for a:1"


async def test_a_layer_that_is_not_what_its_configuration_says(world: World) -> None:
    made, other = make_image([BASE]), make_image([TOP])
    manifest = other.manifest.replace(
        str(Digest.of(other.config)).encode(), str(Digest.of(made.config)).encode()
    ).replace(f'"size": {len(other.config)}'.encode(), f'"size": {len(made.config)}'.encode())
    other.manifest = manifest
    other.config = made.config
    world.registry.put("a:1", other)
    with pytest.raises(CorruptBlob):
        await world.pull("a:1")
    assert world.leftovers() == []


async def test_a_hostile_layer_is_refused(world: World) -> None:
    world.registry.put("a:1", make_image([layer_tar({"../escape": b"x"})]))
    with pytest.raises(BadArchive):
        await world.pull("a:1")
    assert world.leftovers() == []
    assert not (world.root / "overlay2" / "escape").exists()


async def test_an_artifact_is_no_image(world: World) -> None:
    made = make_image([BASE])
    made.manifest = made.manifest.replace(
        b"application/vnd.docker.container.image.v1+json", b"application/x.chart"
    )
    world.registry.put("a:1", made)
    with pytest.raises(BadImage, match="not a container image"):
        await world.pull("a:1")
    assert world.leftovers() == []


async def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    mounts.mount("tmpfs", str(place), "tmpfs", 0, "size=6m")
    world = await World.open(place / "store")
    try:
        incompressible = layer_tar({"data": random.Random(3).randbytes(4_000_000)})
        world.registry.put("a:1", make_image([BASE, incompressible]))
        with pytest.raises(OSError, match="No space left on device"):
            await world.pull("a:1")
        with pytest.raises(OSError, match="No space left on device"):
            await lines(world.images.import_(stream(incompressible), None))
        assert await world.images.list() == []
        assert world.leftovers() == []
        world.registry.put("b:1", make_image([BASE]))
        assert (await world.pull("b:1"))[-1] == "Status: Downloaded newer image for b:1"
    finally:
        await world.close()
        mounts.umount2(str(place), 0)
