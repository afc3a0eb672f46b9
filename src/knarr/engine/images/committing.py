"""Commit: what a container changed becomes a layer on its image's, and a configuration the new image's."""

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from knarr.engine.images import rows
from knarr.engine.images.config import dump_image, parse_history
from knarr.engine.images.errors import NoSuchImage
from knarr.engine.images.holding import Hold, holding
from knarr.engine.images.making import Layer, make_image
from knarr.engine.images.manifest import parse_manifest
from knarr.engine.images.rooms import Rooms
from knarr.engine.images.rows import LayerRow
from knarr.engine.images.settled import settled
from knarr.engine.images.unpacking import Pipeline, unpack_new
from knarr.loop.blocking import blocking
from knarr.model.image import History, Image, ImageConfig
from knarr.model.reference import Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What the new image shall be. `whole`: the stream is a whole root, and the base's layers are not below it."""

    base: Image
    config: ImageConfig
    created_by: str
    author: str = ""
    comment: str = ""
    whole: bool = False


async def commit_image(
    rooms: Rooms, draft: Draft, stream: AsyncIterator[bytes], ref: Reference | None
) -> Image:
    """`stream` is the layer's tar, with whiteouts. Raises NoSuchImage if the base is gone."""

    async def pour(pipeline: Pipeline) -> None:
        async for data in stream:
            await settled(pipeline.write, data)

    async with holding(rooms, leftovers=True) as hold:
        below = [] if draft.whole else await _layers(rooms, draft.base, hold)
        parent = below[-1][0].chain if below else None
        layers = [*below, await unpack_new(rooms, parent, hold, pour)]
        created = time.time_ns()
        step = History(
            created=created, created_by=draft.created_by, author=draft.author, comment=draft.comment
        )
        document = dump_image(
            platform=draft.base.platform,
            config=draft.config,
            layers=[row.diff for row, _ in layers],
            created=created,
            author=draft.author,
            comment=draft.comment,
            history=[*(() if draft.whole else await _history(rooms, draft.base)), step],
        )
        return await make_image(
            rooms,
            hold,
            document,
            layers,
            [ref.tagged()] if ref is not None else [],
            lambda image: [rows.event(image, str(image.id), "create", str(image.id))],
            parent=draft.base.id,
        )


async def _layers(rooms: Rooms, base: Image, hold: Hold) -> Sequence[Layer]:
    """The base's layers and their blobs, held."""
    if base.manifest is None:
        raise NoSuchImage(str(base.id))
    manifest = parse_manifest(await blocking(rooms.blobs.read, base.manifest))
    chains = rows.chain(base)
    hold.add(*map(rows.layer, chains), *(rows.blob(blob.digest) for blob in manifest.layers))
    sizes = await rooms.db.read(rows.layer_sizes)
    known = [
        LayerRow(chain, diff, sizes[str(chain)]) for chain, diff in zip(chains, base.layers, strict=True)
    ]
    return list(zip(known, manifest.layers, strict=True))


async def _history(rooms: Rooms, base: Image) -> tuple[History, ...]:
    return parse_history(await blocking(rooms.blobs.read, base.id))
