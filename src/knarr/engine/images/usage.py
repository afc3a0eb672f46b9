"""What images take on disk: unpacked layers, and the compressed blobs that are kept so that a push or a save need not compress.

`docker images` shows the unpacked size alone, as Docker does; the sums here are those that a look at the data root finds.
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import replace

from knarr.engine.images import listing, rows
from knarr.engine.images.rooms import Rooms
from knarr.loop.blocking import blocking
from knarr.model.image import ImageView


async def usage(rooms: Rooms) -> tuple[list[ImageView], int]:
    """Every image, its blobs counted in its size and in what it shares; and the bytes of everything, each once, but for what is only the build cache's."""
    views = await listing.list_images(rooms, {}, shared_size=True)
    owned = await rooms.db.read(_blobs)
    sizes = await blocking(_sizes, rooms)
    built = await rooms.db.read(rows.only_built)
    layers = sum(
        size for chain, size in (await rooms.db.read(rows.layer_sizes)).items() if chain not in built
    )
    users: dict[str, int] = {}
    for digests in owned.values():
        for digest in digests:
            users[digest] = users.get(digest, 0) + 1
    counted = [_counted(view, owned.get(str(view.image.id), ()), sizes, users) for view in views]
    return counted, layers + sum(size for digest, size in sizes.items() if digest not in built)


def _counted(
    view: ImageView, digests: tuple[str, ...], sizes: Mapping[str, int], users: Mapping[str, int]
) -> ImageView:
    return replace(
        view,
        size=view.size + sum(sizes.get(digest, 0) for digest in digests),
        shared_size=view.shared_size + sum(sizes.get(digest, 0) for digest in digests if users[digest] > 1),
    )


def _blobs(tx: sqlite3.Connection) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for image, digest in tx.execute("SELECT image, digest FROM image_blobs"):
        found[image] = (*found.get(image, ()), digest)
    return found


def _sizes(rooms: Rooms) -> dict[str, int]:
    return {str(blob.digest): blob.size for blob in rooms.blobs.walk()}
