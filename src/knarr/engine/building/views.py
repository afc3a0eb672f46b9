"""Trees made visible: every layer unpacked on the one below, and a snapshot on top for as long as somebody looks."""

import contextlib
from collections.abc import AsyncIterator, Sequence

from knarr.build.tree import Layer, Tree
from knarr.engine.building.caching.supply import Supply
from knarr.engine.images import rows
from knarr.engine.images.holding import Hold
from knarr.engine.images.rooms import Rooms
from knarr.engine.images.settled import settled
from knarr.engine.images.unpacking import Pipeline, unpack_layer
from knarr.engine.names import new_id
from knarr.engine.zygote_jobs import RootView
from knarr.loop.blocking import blocking
from knarr.model.digest import Digest
from knarr.model.mount import Mount

_CHUNK = 1 << 20


class Views:
    """Those of one engine."""

    def __init__(self, rooms: Rooms):
        self._rooms = rooms

    async def ensure(self, tree: Tree, hold: Hold, supply: Supply | None = None) -> Tree:
        """The layers are held and lie unpacked, those of `supply` fetched; the tree with their sizes. Raises CorruptBlob, OSError,
        Lost."""
        held(tree, hold)
        if supply is not None and supply.offers(tree):
            tree = await supply.bring(tree)
        unsure = [each for each in zip(tree.chain, tree.layers, strict=True) if each[0] not in hold.unpacked]
        for chain, layer in await blocking(self._packed, unsure) if unsure else ():
            await unpack_layer(self._rooms, chain, layer.diff, _Pour(self._rooms, layer.blob.digest))
        hold.unpacked.update(tree.chain)
        return tree

    def _packed(self, layers: Sequence[tuple[Digest, Layer]]) -> list[tuple[Digest, Layer]]:
        return [each for each in layers if not self._rooms.snapshots.layer_exists(each[0])]

    @contextlib.asynccontextmanager
    async def writable(
        self, tree: Tree, hold: Hold, supply: Supply | None = None
    ) -> AsyncIterator[tuple[str, RootView]]:
        """A snapshot on the tree: its key, and how a job sees it."""
        await self.ensure(tree, hold, supply)
        key = new_id()
        try:
            mounts = await settled(_prepare, self._rooms, key, tree)
            yield key, RootView(mounts=mounts)
        finally:
            await settled(_discard, self._rooms, key)

    @contextlib.asynccontextmanager
    async def snapshot(self, tree: Tree, hold: Hold, supply: Supply | None = None) -> AsyncIterator[RootView]:
        """The tree to be read."""
        async with self.writable(tree, hold, supply) as (_, view):
            yield view


class _Pour:
    """A stored layer's bytes into a pipeline."""

    def __init__(self, rooms: Rooms, digest: Digest):
        self._rooms = rooms
        self._digest = digest

    async def __call__(self, pipeline: Pipeline) -> None:
        with await blocking(self._rooms.blobs.open, self._digest) as blob:
            while data := await blocking(blob.read, _CHUNK):
                await settled(pipeline.write, data)


def held(tree: Tree, hold: Hold) -> None:
    """Nothing of the tree is collected while `hold` lasts."""
    hold.add(*map(rows.layer, tree.chain), *(rows.blob(layer.blob.digest) for layer in tree.layers))


def _prepare(rooms: Rooms, key: str, tree: Tree) -> tuple[Mount, ...]:
    return rooms.snapshots.prepare(key, tree.chain, volatile=True)


def _discard(rooms: Rooms, key: str) -> None:
    """No error if it was never made."""
    rooms.snapshots.remove(key)
    rooms.snapshots.empty_trash()
