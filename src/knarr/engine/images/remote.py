"""What a registry has under a name, without pulling it."""

from knarr.engine.images.config import parse_image
from knarr.engine.images.errors import BadImage
from knarr.engine.images.manifest import MAX_SIZE, is_index, media_type, parse_index, parse_manifest
from knarr.engine.images.port import Auth
from knarr.engine.images.rooms import Rooms
from knarr.engine.images.settled import closing
from knarr.model.descriptor import Descriptor
from knarr.model.platform import Platform
from knarr.model.reference import Reference


async def distribution(
    rooms: Rooms, ref: Reference, auth: Auth | None
) -> tuple[Descriptor, tuple[Platform, ...]]:
    """The descriptor of a manifest or an index, and the platforms that it serves."""
    ref = ref.tagged()
    top = await rooms.registry.resolve(ref, auth)
    data = await rooms.registry.fetch_manifest(ref, top.digest, auth)
    kind = media_type(data, top.media_type)
    if is_index(kind):
        platforms = tuple(entry.platform for entry in parse_index(data) if entry.platform is not None)
    else:
        platforms = (await _platform(rooms, ref, parse_manifest(data, kind).config, auth),)
    return top._replace(media_type=kind, size=len(data)), platforms


async def _platform(rooms: Rooms, ref: Reference, config: Descriptor, auth: Auth | None) -> Platform:
    if config.size > MAX_SIZE:
        raise BadImage(f"the image's configuration is too large: {config.size} bytes")
    data = bytearray()
    async with closing(rooms.registry.open_blob(ref, config, 0, auth)) as pieces:
        async for piece in pieces:
            data += piece
    return parse_image(bytes(data)).platform
