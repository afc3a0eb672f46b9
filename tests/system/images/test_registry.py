"""The store against the real client and the real registry server: push, pull, mount, resume over HTTP."""

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from knarr.loop.http.server import Server
from knarr.model.errors import NotFound
from knarr.model.reference import Reference
from knarr.registry.client.client import RegistryClient
from knarr.registry.server.server import RegistryServer
from tests.system.images.world import World, layer_tar, lines, stream

BASE = layer_tar({"big": random.Random(5).randbytes(3_000_000)})


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[str]:
    """A registry's address."""
    files = RegistryServer(str(tmp_path / "registry"))
    server = Server(files.handle)
    port = await server.listen_tcp("127.0.0.1", 0)
    yield f"127.0.0.1:{port}"
    await server.close(10)
    files.close()


@pytest.fixture
async def connected(tmp_path: Path) -> AsyncIterator[World]:
    """A store that talks HTTP."""
    client = RegistryClient()
    world = await World.open(tmp_path / "store")
    world.rooms.registry = client
    yield world
    await world.close()
    await client.close()


async def test_pushed_and_pulled_again(connected: World, host: str) -> None:
    name = f"{host}/user/app:1"
    await lines(connected.images.import_(stream(BASE), Reference.parse(name)))
    before = (await connected.images.get(name)).image
    assert (await lines(connected.images.push(Reference.parse(name))))[-1].startswith(
        f"1: digest: {before.manifest} size: "
    )
    await connected.images.remove(name)
    assert connected.leftovers() == []
    assert (await connected.pull(name))[-2:] == [
        f"Digest: {before.manifest}",
        f"Status: Downloaded newer image for {name}",
    ]
    after = (await connected.images.get(name)).image
    assert after == before


async def test_a_blob_is_mounted_from_a_repository_that_has_it(connected: World, host: str) -> None:
    first, second = f"{host}/a/one:1", f"{host}/b/two:1"
    await lines(connected.images.import_(stream(BASE), Reference.parse(first)))
    await lines(connected.images.push(Reference.parse(first)))
    await connected.images.tag(first, Reference.parse(second))
    assert any(
        line.endswith("Mounted from a/one")
        for line in await lines(connected.images.push(Reference.parse(second)))
    )
    assert any(
        line.endswith("already exists")
        for line in await lines(connected.images.push(Reference.parse(second)))
    )


async def test_what_is_not_there(connected: World, host: str) -> None:
    with pytest.raises(NotFound, match=r"not found|pull access denied"):
        await connected.pull(f"{host}/ghost:1")
    assert connected.leftovers() == []
