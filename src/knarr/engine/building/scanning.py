"""What a tree has of files that tell of packages: read from its layers, so that nothing need be mounted for it."""

import asyncio
import contextlib
import os
from collections.abc import Sequence

from knarr.build.attest.packages import WANTED, Package, packages
from knarr.build.tree import Tree
from knarr.engine.building.archives import inflate
from knarr.engine.images.rooms import Rooms
from knarr.loop.blocking import blocking
from knarr.model.digest import Digest
from knarr.snapshots import header
from knarr.snapshots.source import Source

_MOST = 32 << 20
_HIDES = ".wh."
_OPAQUE = ".wh..wh..opq"


async def scanned(rooms: Rooms, tree: Tree) -> Sequence[Package]:
    """The packages of a tree whose layers lie here."""
    files: dict[str, bytes] = {}
    for layer in tree.layers:
        gone, found = await _layer(rooms, layer.blob.digest)
        for path in gone:
            for known in [each for each in files if each == path or each.startswith(f"{path}/")]:
                del files[known]
        files |= found
    return await blocking(packages, files)


async def _layer(rooms: Rooms, digest: Digest) -> tuple[list[str], dict[str, bytes]]:
    drain, feed = os.pipe2(os.O_CLOEXEC)

    def pour() -> None:
        try:
            with contextlib.suppress(BrokenPipeError):
                inflate(rooms.blobs.open(digest), feed)
        finally:
            os.close(feed)

    pouring = asyncio.ensure_future(blocking(pour))
    try:
        return await blocking(read_layer, drain)
    finally:
        os.close(drain)
        await pouring


def read_layer(drain: int) -> tuple[list[str], dict[str, bytes]]:
    """What a layer hides of those below, and the files of it that are of interest. Blocking."""
    source = Source(drain)
    gone: list[str] = []
    found: dict[str, bytes] = {}
    for member in source.members():
        path = os.fsdecode(member.name).removeprefix("./").strip("/")
        parent, _, name = path.rpartition("/")
        if name == _OPAQUE:
            gone.append(parent)
        elif name.startswith(_HIDES):
            gone.append(f"{parent}/{name.removeprefix(_HIDES)}".lstrip("/"))
        elif member.kind == header.REGULAR and member.size <= _MOST and WANTED.match(path):
            found[path] = b"".join(bytes(piece) for piece in source.pieces())
    return gone, found
