"""What happens to images that are here: names, removal, import, save and load, push, history, lists."""

import asyncio
import bz2
import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from knarr.engine.images.errors import AmbiguousImage, BadImage, ImageInUse, NoSuchImage
from knarr.engine.images.unpacking import unpack_new
from knarr.model.digest import Digest
from knarr.model.errors import Invalid, NotFound
from knarr.model.image import Removed
from knarr.model.reference import Reference
from tests.system.images.world import Made, World, layer_tar, lines, make_image, stream

BASE = layer_tar({"etc/": b"", "etc/name": b"base\n"})
TOP = layer_tar({"etc/": b"", "etc/name": b"top\n", "new": b"1"})
OTHER = layer_tar({"other": b"22"})


def named(name: str) -> Reference:
    return Reference.parse(name)


async def given(world: World, name: str, *layers: bytes, labels: dict[str, str] | None = None) -> Made:
    """A pulled image."""
    made = make_image(layers, labels=labels)
    world.registry.put(name, made)
    await world.pull(name)
    return made


def removed(found: tuple[Removed, ...]) -> list[str]:
    return [f"-{one.untagged}" if one.untagged else one.deleted for one in found]


async def test_found_by_any_name(world: World) -> None:
    made = await given(world, "a:latest", BASE)
    await given(world, "b:1", TOP)
    for name in (
        "a",
        "a:latest",
        "docker.io/library/a",
        str(made.id),
        made.id.hex,
        made.id.short,
        str(made.id)[:12],
    ):
        assert (await world.images.get(name)).image.id == made.id
    for name in ("ghost", "a:2", "f" * 64, f"a@{made.id}"):
        with pytest.raises(NoSuchImage):
            await world.images.get(name)
    for name in ("sha256:", "UPPER"):
        with pytest.raises(Invalid, match="invalid reference format"):
            await world.images.get(name)
    with pytest.raises(NoSuchImage, match="No such image: ghost:latest"):
        await world.images.get("ghost")


async def test_an_ambiguous_prefix(world: World) -> None:
    seen: dict[str, str] = {}
    for number in range(17):
        made = await given(world, f"n{number}:1", layer_tar({"n": b"%d" % number}))
        first = made.id.hex[0]
        if first in seen:
            with pytest.raises(AmbiguousImage):
                await world.images.get(first)
            return
        seen[first] = str(made.id)
    raise AssertionError("seventeen digests begin with sixteen digits at most")


async def test_tags_move(world: World) -> None:
    first, second = await given(world, "a:1", BASE), await given(world, "b:1", TOP)
    await world.images.tag("a:1", named("c"))
    assert (await world.images.get("c:latest")).image.id == first.id
    await world.images.tag("b:1", named("c:latest"))
    assert (await world.images.get("c")).image.id == second.id
    with pytest.raises(NoSuchImage):
        await world.images.tag("ghost", named("d"))
    with pytest.raises(Invalid):
        await world.images.tag("a:1", named(f"d@{first.id}"))
    assert (await world.actions())[-1] == "tag c:latest"


async def test_removal_by_name(world: World) -> None:
    made = await given(world, "a:1", BASE, TOP)
    await world.images.tag("a:1", named("b:1"))
    assert removed(await world.images.remove("b:1")) == ["-b:1"]
    chain = world.images.chain((await world.images.get("a:1")).image)
    found = await world.images.remove("a:1")
    assert removed(found) == [
        "-a:1",
        f"-a@{made.digest}",
        str(made.id),
        str(chain[1]),
        str(chain[0]),
    ]
    assert world.leftovers() == []
    assert await world.images.list(all=True) == []
    assert (await world.actions())[-2:] == [f"untag {made.id}", f"delete {made.id}"]


async def test_removal_by_id(world: World) -> None:
    made = await given(world, "a:1", BASE)
    await world.images.tag("a:1", named("b:1"))
    with pytest.raises(ImageInUse, match=r"must be forced.* referenced in multiple repositories"):
        await world.images.remove(made.id.short)
    found = removed(await world.images.remove(made.id.short, force=True))
    assert found[:3] == ["-a:1", f"-a@{made.digest}", "-b:1"]
    assert world.leftovers() == []


async def test_shared_layers_stay(world: World) -> None:
    await given(world, "a:1", BASE, TOP)
    await given(world, "b:1", BASE, OTHER)
    base = world.images.chain((await world.images.get("b:1")).image)[0]
    found = removed(await world.images.remove("a:1"))
    assert str(base) not in found
    assert (world.layer(base) / "etc/name").exists()
    await world.images.remove("b:1")
    assert world.leftovers() == []


async def test_containers_hold_their_image(world: World) -> None:
    made = await given(world, "a:1", BASE)
    image = (await world.images.get("a:1")).image
    chain = world.images.chain(image)
    await world.container("c" * 64, image.id, "exited", chain)
    with pytest.raises(ImageInUse) as caught:
        await world.images.remove("a:1")
    assert str(caught.value) == (
        'conflict: unable to remove repository reference "a:1" (must force) - container cccccccccccc'
        f" is using its referenced image {made.id.short}"
    )
    with pytest.raises(
        ImageInUse, match=r"\(must be forced\) - image is being used by stopped container cccc"
    ):
        await world.images.remove(made.id.hex)
    found = removed(await world.images.remove("a:1", force=True))
    assert str(made.id) in found
    assert str(chain[0]) not in found
    assert (world.layer(chain[0]) / "etc/name").exists()
    await world.rooms.db.write(lambda tx: tx.execute("DELETE FROM containers"))
    await world.images.collect()
    assert world.leftovers() == []


async def test_a_running_container_holds_it_against_force(world: World) -> None:
    made = await given(world, "a:1", BASE)
    image = (await world.images.get("a:1")).image
    await world.container("c" * 64, image.id, "running", world.images.chain(image))
    with pytest.raises(ImageInUse, match=r"\(cannot be forced\) - image is being used by running container"):
        await world.images.remove(made.id.hex, force=True)
    assert removed(await world.images.remove("a:1", force=True)) == ["-a:1", f"-a@{made.digest}"]
    assert (await world.images.get(made.id.hex)).tags == ()


async def test_prune(world: World) -> None:
    first = await given(world, "a:1", BASE, labels={"keep": "yes"})
    await given(world, "b:1", TOP)
    assert await world.images.prune() == ((), 0)
    await world.images.tag("b:1", named("a:1"))
    assert (await world.images.prune({"label!": ["keep"]})).removed == ()
    pruned = await world.images.prune()
    assert removed(pruned.removed)[:2] == [f"-a@{first.digest}", str(first.id)]
    assert pruned.space == 5
    pruned = await world.images.prune({"dangling": ["false"], "until": ["2025-01-01"]})
    assert "-b:1" in removed(pruned.removed)
    assert await world.images.list() == []
    assert world.leftovers() == []
    assert (await world.actions())[-1] == "prune "
    with pytest.raises(Invalid):
        await world.images.prune({"ghost": ["1"]})


async def test_lists_and_filters(world: World) -> None:
    await given(world, "a:1", BASE, labels={"k": "v"})
    await given(world, "user/b:1", TOP)
    for filters, count in (
        ({}, 2),
        ({"reference": ["a"]}, 1),
        ({"reference": ["*:1"]}, 1),
        ({"reference": ["*/*"]}, 1),
        ({"reference": ["ghost", "user/b:1"]}, 1),
        ({"label": ["k=v"]}, 1),
        ({"label": ["k=w"]}, 0),
        ({"dangling": ["true"]}, 0),
        ({"dangling": ["false"]}, 2),
        ({"until": ["2023-01-01"]}, 0),
        ({"before": ["a:1"]}, 0),
    ):
        assert len(await world.images.list(filters)) == count, filters
    with pytest.raises(Invalid, match="invalid filter 'ghost'"):
        await world.images.list({"ghost": ["1"]})


async def test_history(world: World) -> None:
    made = await given(world, "a:1", BASE, TOP)
    found = await world.images.history("a:1")
    assert [(step.id, step.created_by, step.size, step.tags) for step in found] == [
        (str(made.id), "step 1", 5, ("a:1",)),
        ("<missing>", "step 0", 5, ()),
    ]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
async def test_import(world: World, pack) -> None:  # type: ignore[no-untyped-def]
    changes = ['CMD ["echo", "hi"]', "ENV A=1 B=2", "EXPOSE 80"]
    found = await lines(
        world.images.import_(stream(pack(BASE)), named("imported"), changes=changes, message="a message")
    )
    view = await world.images.get("imported:latest")
    assert found == [str(view.image.id)]
    assert view.image.config.command == ("echo", "hi")
    assert view.image.config.environment == ("A=1", "B=2")
    assert view.image.layers == (Digest.of(BASE),)
    assert view.image.comment == "a message"
    assert view.size == 5
    chain = world.images.chain(view.image)
    assert (world.layer(chain[0]) / "etc/name").read_text() == "base\n"
    await world.images.remove("imported")
    assert world.leftovers() == []


async def test_import_of_nonsense_leaves_nothing(world: World) -> None:
    for data in (b"no tar at all" * 100, gzip.compress(BASE)[:-30], b"\x1f\x8b\x08 nonsense"):
        with pytest.raises(Invalid):
            await lines(world.images.import_(stream(data), None))
        assert world.leftovers() == []


async def saved(world: World, *names: str) -> bytes:
    return b"".join([data async for data in await world.images.save(names)])


async def test_save_and_load_keep_everything(world: World, tmp_path: Path) -> None:
    made = await given(world, "a:1", BASE, TOP)
    await world.images.tag("a:1", named("b:2"))
    archive = await saved(world, "a:1", "b")
    assert archive == await saved(world, "a:1", "b")
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        manifest = json.load(tar.extractfile("manifest.json") or io.BytesIO())
        assert manifest[0]["RepoTags"] == ["a:1", "b:2"]
        assert json.load(tar.extractfile("repositories") or io.BytesIO()).keys() == {"a", "b"}
        for path in (manifest[0]["Config"], *manifest[0]["Layers"]):
            assert tar.extractfile(path) is not None
        assert tar.extractfile("oci-layout") is not None
    other = await World.open(tmp_path / "other")
    try:
        assert await lines(other.images.load(stream(archive))) == ["Loaded image: a:1", "Loaded image: b:2"]
        view = await other.images.get("b:2")
        assert view.image.id == made.id
        assert view.image.manifest == made.digest
        chain = other.images.chain(view.image)
        assert (other.layer(chain[1]) / "etc/name").read_text() == "top\n"
        assert await lines(other.images.load(stream(gzip.compress(archive)))) == [
            "Loaded image: a:1",
            "Loaded image: b:2",
        ]
        await other.images.remove("a:1")
        await other.images.remove("b:2")
        assert other.leftovers() == []
    finally:
        await other.close()


def docker_archive(config: bytes, layers: dict[str, bytes], names: list[str]) -> bytes:
    """As docker wrote them before it wrote layouts."""
    out = io.BytesIO()
    files = {
        "config.json": config,
        **layers,
        "manifest.json": json.dumps(
            [{"Config": "config.json", "RepoTags": names, "Layers": [*layers, "again/layer.tar"]}]
        ).encode(),
    }
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("again/layer.tar")
        link.type, link.linkname = tarfile.SYMTYPE, f"../{next(iter(layers))}"
        tar.addfile(link)
    return out.getvalue()


async def test_load_of_an_old_archive_with_plain_layers(world: World) -> None:
    made = make_image([BASE, TOP, BASE])
    archive = docker_archive(made.config, {"1/layer.tar": BASE, "2/layer.tar": TOP}, ["old:1"])
    assert await lines(world.images.load(stream(archive))) == ["Loaded image: old:1"]
    view = await world.images.get("old:1")
    assert view.image.id == made.id
    assert view.image.manifest is not None
    await world.images.remove("old:1")
    assert world.leftovers() == []


async def test_images_of_one_archive_share_the_work_of_plain_layers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []

    async def counted(*arguments: Any) -> Any:
        begun.append(arguments)
        return await unpack_new(*arguments)

    monkeypatch.setattr("knarr.engine.images.loading.unpack_new", counted)
    one, two = make_image([BASE, TOP]), make_image([BASE])
    out = io.BytesIO()
    files = {"one": one.config, "two": two.config, "base": BASE, "top": TOP}
    images = [
        {"Config": "one", "RepoTags": ["one:1"], "Layers": ["base", "top"]},
        {"Config": "two", "RepoTags": ["two:1"], "Layers": ["base"]},
    ]
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in {**files, "manifest.json": json.dumps(images).encode()}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    assert len(await lines(world.images.load(stream(out.getvalue())))) == 2
    assert len(begun) == 2
    for name in ("one:1", "two:1"):
        await world.images.remove(name)
    assert world.leftovers() == []


async def test_many_loads_at_once(world: World) -> None:
    made = make_image([BASE, BASE])
    archive = docker_archive(made.config, {"1/layer.tar": BASE}, ["x:1"])
    found = await asyncio.gather(*[lines(world.images.load(stream(archive))) for _ in range(24)])
    assert found == [["Loaded image: x:1"]] * 24
    await world.images.remove("x:1")
    assert world.leftovers() == []


async def test_load_says_what_loses_its_name(world: World) -> None:
    first = await given(world, "old:1", OTHER)
    made = make_image([BASE, BASE])
    archive = docker_archive(made.config, {"1/layer.tar": BASE}, ["old:1"])
    assert await lines(world.images.load(stream(archive))) == [
        f"The image old:1 already exists, renaming the old one with ID {first.id} to empty string",
        "Loaded image: old:1",
    ]


async def test_load_of_nonsense_leaves_nothing(world: World) -> None:
    made = make_image([BASE, BASE])
    good = docker_archive(made.config, {"1/layer.tar": BASE}, ["x:1"])
    for data in (
        b"no tar at all" * 100,
        layer_tar({"file": b"x"}),
        docker_archive(made.config, {"1/layer.tar": TOP}, ["x:1"]),
        docker_archive(b"{}", {"1/layer.tar": BASE}, ["x:1"]),
        docker_archive(made.config, {"1/layer.tar": BASE}, ["NOT A NAME"]),
        good[: len(good) // 3],
        b"",
    ):
        with pytest.raises(Invalid):
            await lines(world.images.load(stream(data)))
        assert world.leftovers() == []


async def test_push_gives_the_bytes_that_were_pulled(world: World) -> None:
    made = await given(world, "a:1", BASE, TOP)
    await world.images.tag("a:1", named("host:5000/app:2"))
    world.registry.blobs.clear()
    found = await lines(world.images.push(named("host:5000/app:2")))
    base, top = Digest.of(BASE).short, Digest.of(TOP).short
    assert found[0] == "The push refers to repository [host:5000/app]"
    assert found[1:3] == [f"{top}: Preparing", f"{base}: Preparing"]
    assert sorted(found[3:5]) == sorted([f"{top}: Pushed", f"{base}: Pushed"])
    assert found[5] == f"2: digest: {made.digest} size: {len(made.manifest)}"
    assert world.registry.names["host:5000/app:2"] == made.manifest
    again = await lines(world.images.push(named("host:5000/app:2")))
    assert f"{base}: Layer already exists" in again
    assert f"host:5000/app@{made.digest}" in (await world.images.get("a:1")).digests
    with pytest.raises(NotFound, match="An image does not exist locally with the tag: ghost"):
        await lines(world.images.push(named("ghost:1")))
    with pytest.raises(NotFound, match="tag does not exist: a:9"):
        await lines(world.images.push(named("a:9")))


async def test_an_imported_image_is_pushed_and_pulled_again(world: World, tmp_path: Path) -> None:
    await lines(world.images.import_(stream(BASE), named("made:1")))
    image = (await world.images.get("made:1")).image
    await lines(world.images.push(named("made:1")))
    other = await World.open(tmp_path / "other", world.registry)
    try:
        assert (await other.pull("made:1"))[-1] == "Status: Downloaded newer image for made:1"
        assert (await other.images.get("made:1")).image.id == image.id
    finally:
        await other.close()


async def test_the_same_tar_gives_the_same_layer(world: World) -> None:
    await lines(world.images.import_(stream(BASE), named("a:1")))
    await lines(world.images.import_(stream(BASE), named("b:1")))
    first, second = [(await world.images.get(name)).image for name in ("a:1", "b:1")]
    assert first.layers == second.layers
    assert len(list((world.root / "overlay2/layers").iterdir())) == 1
    with pytest.raises(BadImage):
        await lines(world.images.load(stream(BASE)))
