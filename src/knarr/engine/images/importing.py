"""Import: a root file system becomes an image of one layer."""

import time
from collections.abc import AsyncIterator, Sequence

from knarr.engine.images import rows
from knarr.engine.images.changes import apply_changes
from knarr.engine.images.config import dump_image
from knarr.engine.images.holding import holding
from knarr.engine.images.making import make_image
from knarr.engine.images.progress import Report
from knarr.engine.images.rooms import Rooms
from knarr.engine.images.settled import settled
from knarr.engine.images.unpacking import Pipeline, unpack_new
from knarr.model.image import History, ImageConfig, Progress
from knarr.model.platform import Platform
from knarr.model.reference import Reference


async def import_image(
    rooms: Rooms,
    stream: AsyncIterator[bytes],
    ref: Reference | None,
    changes: Sequence[str],
    message: str,
    source: str,
    platform: Platform | None,
    report: Report,
) -> None:
    """The use case; the last line's status is the image's id."""
    config = apply_changes(ImageConfig(), changes)
    comment = message or f"Imported from {source}"

    async def pour(pipeline: Pipeline) -> None:
        async for data in stream:
            await settled(pipeline.write, data)

    async with holding(rooms, leftovers=True) as hold:
        layer = await unpack_new(rooms, None, hold, pour)
        created = time.time_ns()
        document = dump_image(
            platform=platform or rooms.platform,
            config=config,
            layers=[layer[0].diff],
            created=created,
            comment=comment,
            history=[History(created=created, comment=comment)],
        )
        image = await make_image(
            rooms,
            hold,
            document,
            [layer],
            [ref.tagged()] if ref is not None else [],
            lambda image: [rows.event(image, str(image.id), "import", str(image.id))],
        )
    report(Progress(status=str(image.id)))
