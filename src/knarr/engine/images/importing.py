"""Import: a root file system becomes an image of one layer."""

import time
from collections.abc import AsyncIterator, Sequence

from knarr.engine.archive import told
from knarr.engine.images import fetching, rows
from knarr.engine.images.changes import apply_changes
from knarr.engine.images.config import dump_image
from knarr.engine.images.errors import BadImage
from knarr.engine.images.holding import holding
from knarr.engine.images.making import make_image
from knarr.engine.images.progress import Meter, Report
from knarr.engine.images.rooms import Rooms
from knarr.engine.images.settled import settled
from knarr.engine.images.unpacking import Pipeline, unpack_new
from knarr.model.errors import Invalid
from knarr.model.image import History, ImageConfig, Progress
from knarr.model.platform import Platform
from knarr.model.reference import Reference
from knarr.snapshots.errors import BadArchive


async def import_image(
    rooms: Rooms,
    stream: AsyncIterator[bytes] | None,
    ref: Reference | None,
    changes: Sequence[str],
    message: str,
    source: str,
    platform: Platform | None,
    report: Report,
) -> None:
    """The use case; the last line's status is the image's id."""
    config = apply_changes(ImageConfig(), changes)
    if platform is not None and platform.os != "linux":
        raise Invalid("operating system is not supported")
    comment = message or f"Imported from {source}"

    async def pour(pipeline: Pipeline) -> None:
        async for data in stream or _fetched(source, report):
            await settled(pipeline.write, data)

    async with holding(rooms, leftovers=True) as hold:
        try:
            layer = await unpack_new(rooms, None, hold, pour)
        except BadArchive as error:
            raise BadImage(str(told(error))) from None
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


async def _fetched(source: str, report: Report) -> AsyncIterator[bytes]:
    """The archive at a URL."""
    url = fetching.absolute(source)
    report(Progress(status=f"Downloading from {url}"))
    async with fetching.got(url) as response:
        meter = Meter(report, "", "Importing", response.content_length or 0)
        current = 0
        async for data in fetching.body(response, url):
            yield data
            current += len(data)
            meter.at(current)
