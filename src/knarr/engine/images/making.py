"""The end of every way in which an image is made here: its documents become blobs, then its rows are written."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from knarr.engine.images import indexes, rows
from knarr.engine.images.config import parse_image
from knarr.engine.images.holding import Hold
from knarr.engine.images.manifest import config_descriptor, dump_manifest
from knarr.engine.images.rooms import Rooms
from knarr.engine.images.rows import LayerRow
from knarr.loop.blocking import blocking
from knarr.model.descriptor import Descriptor
from knarr.model.digest import Digest
from knarr.model.image import Image
from knarr.model.reference import Reference
from knarr.model.system import Event

Told = Callable[[Image], list[Event]]
Layer = tuple[LayerRow, Descriptor]


async def make_image(
    rooms: Rooms,
    hold: Hold,
    config: bytes,
    layers: Sequence[Layer],
    names: Sequence[Reference],
    told: Told,
    *,
    manifest: bytes | None = None,
    parent: Digest | None = None,
) -> Image:
    """The caller holds the layers and their blobs. Without `manifest` one is made, so that a push only moves blobs."""
    blobs = [blob for _, blob in layers]
    document = manifest or dump_manifest(config_descriptor(config), blobs)
    digest, identity = Digest.of(document), Digest.of(config)
    hold.add(rows.blob(digest), rows.blob(identity))
    await blocking(rooms.blobs.put, document)
    await blocking(rooms.blobs.put, config)
    image = replace(parse_image(config, manifest=digest), parent=parent)
    needed = [digest, identity, *(blob.digest for blob in blobs)]

    def write(tx: sqlite3.Connection) -> tuple[None, list[Event]]:
        rows.insert(tx, image, [row for row, _ in layers], needed)
        return None, _named(tx, image, names, told(image))

    await rooms.commit(write)
    rooms.lasting.wish(str(rooms.blobs.path(identity).parent))
    return image


class Piece(NamedTuple):
    """One image of an index: its documents, and its layers with their blobs."""

    config: bytes
    manifest: bytes
    layers: Sequence[Layer]


async def make_index(
    rooms: Rooms,
    hold: Hold,
    pieces: Sequence[Piece],
    index: Digest | None,
    documents: Mapping[Digest, bytes],
    names: Sequence[Reference],
    told: Told,
) -> Image:
    """Several images under one document, or one image without; the caller holds layers, blobs and documents. What stands for
    the index is the image that this machine runs, else the first."""
    new = await blocking(_put, rooms, documents)
    images = [parse_image(piece.config, manifest=Digest.of(piece.manifest)) for piece in pieces]
    first = next((one for one in images if one.platform.matches(rooms.platform)), images[0])

    def write(tx: sqlite3.Connection) -> tuple[None, list[Event]]:
        for image, piece in zip(images, pieces, strict=True):
            needed = [Digest.of(piece.manifest), image.id, *(blob.digest for _, blob in piece.layers)]
            rows.insert(tx, image, [row for row, _ in piece.layers], needed)
        via = index
        if index is not None:
            rows.keep_blobs(tx, first.id, documents)
            parts = [(Digest.of(piece.manifest), one.id) for one, piece in zip(images, pieces, strict=True)]
            indexes.insert(tx, index, first.id, parts)
        else:
            known = rows.read(tx, first.id)
            via = first.manifest if known is not None and known.manifest != first.manifest else None
        return None, _named(tx, first, names, told(first), via)

    await rooms.commit(write)
    if new:
        rooms.lasting.wish(str(rooms.blobs.path(first.id).parent))
    return first


def _put(rooms: Rooms, documents: Mapping[Digest, bytes]) -> bool:
    """Blocking. Whether there was one that was not here."""
    new = [data for digest, data in documents.items() if not rooms.blobs.has(digest)]
    for data in new:
        rooms.blobs.put(data)
    return bool(new)


async def name_known(rooms: Rooms, image: Image, names: Sequence[Reference], told: Told) -> bool:
    """Names an image that is here already; False if it is not."""

    def write(tx: sqlite3.Connection) -> tuple[bool, list[Event]]:
        if rows.read(tx, image.id) is None:
            return False, []
        return True, _named(tx, image, names, told(image))

    return await rooms.commit(write)


def _named(
    tx: sqlite3.Connection,
    image: Image,
    names: Sequence[Reference],
    told: Sequence[Event],
    via: Digest | None = None,
) -> list[Event]:
    """What is told of the image, then of its names; to load it brings its names without a word, as with Docker."""
    for ref in names:
        rows.name_it(tx, ref, image.id, via)
    loaded = any(event.action == "load" for event in told)
    tags = [] if loaded else [rows.event(image, str(image.id), "tag", ref.familiar) for ref in names]
    return [*told, *tags]
