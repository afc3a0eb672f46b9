"""Tags: one more name for an image."""

import sqlite3

from knarr.engine.images import indexes, rows
from knarr.engine.images.rooms import Rooms
from knarr.model.errors import Invalid
from knarr.model.reference import Reference
from knarr.model.system import Event


async def tag(rooms: Rooms, name: str, ref: Reference) -> None:
    """The use case."""
    if ref.digest is not None:
        raise Invalid("refusing to create a tag with a digest reference")
    target = ref.tagged()

    def write(tx: sqlite3.Connection) -> tuple[None, list[Event]]:
        image, via = indexes.led(tx, name)
        rows.name_it(tx, target, image.id, via)
        return None, [rows.event(image, str(image.id), "tag", target.familiar)]

    await rooms.commit(write)
