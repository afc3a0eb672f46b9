"""`--cache-from`: a cache is read before the build runs, its layers only when they are needed.

A cache is an index or a manifest with a configuration of BuildKit's kind, or images that have one inside (inline). One that
cannot be read is a failed step of the build, and the build goes on.
"""

import binascii
import contextlib
from base64 import b64decode
from collections.abc import Sequence

from knarr.build.caching import config, wishes
from knarr.build.caching.config import BadCache, Known
from knarr.build.caching.wishes import From
from knarr.build.errors import BuildFailed
from knarr.build.port import Sessions
from knarr.build.progress import Progress, Step
from knarr.engine.building.caching.imports import Imported, Imports, Parcel
from knarr.engine.building.caching.mounts import parcels
from knarr.engine.building.caching.places import ClientPlace, OwnPlace, Place, RegistryPlace, document
from knarr.engine.building.credentials import lent
from knarr.engine.images.config import load_json
from knarr.engine.images.errors import NoSuchImage
from knarr.engine.images.images import Images
from knarr.engine.images.manifest import is_index, media_type, parse_artifact, parse_index
from knarr.engine.images.rooms import Rooms
from knarr.engine.images.settled import all_of
from knarr.model.descriptor import MANIFESTS, Descriptor
from knarr.model.digest import Digest
from knarr.model.errors import Invalid, KnarrError
from knarr.model.reference import Reference

_DEPTH = 4
_IMAGES = 64


class Importer:
    """That of one engine."""

    def __init__(self, rooms: Rooms, images: Images):
        self._rooms = rooms
        self._images = images

    async def run(
        self, wanted: Sequence[From], session: str, sessions: Sessions, progress: Progress
    ) -> Imports:
        """All that can be read of these."""
        found = await all_of([self._one(each, session, sessions, progress) for each in wanted])
        return Imports([each for each in found if each is not None])

    async def _one(
        self, wanted: From, session: str, sessions: Sessions, progress: Progress
    ) -> Imported | None:
        with (
            contextlib.suppress(KnarrError),
            progress.begin(f"importing cache manifest from {wanted.name}") as step,
        ):
            return await self._read(wanted, session, sessions, step)
        return None

    async def _read(self, wanted: From, session: str, sessions: Sessions, step: Step) -> Imported:
        if wanted.kind not in wishes.IMPORTS:
            raise BuildFailed(f"unknown cache importer: {wanted.kind}")
        try:
            place, data = await self._found(wanted, session, sessions)
        except KnarrError as error:
            raise BuildFailed(f"failed to configure {wanted.kind} cache importer: {error}") from error
        kind = media_type(data)
        with step.task(f"inferred cache manifest type: {kind}"):
            pass
        return await read_cache(place, data, mounts=wanted.mounts)

    async def _found(self, wanted: From, session: str, sessions: Sessions) -> tuple[Place, bytes]:
        """Where the cache is, and the document that it begins with."""
        if wanted.kind == "local":
            return await self._local(wanted, session, sessions)
        ref = wishes.reference(wanted.attrs)
        own = await self._own(ref)
        if own is not None:
            return OwnPlace(self._rooms), own
        place = RegistryPlace(self._rooms, ref, auth := await lent(sessions, session, ref.domain))
        top = await self._rooms.registry.resolve(ref, auth)
        return place, await place.manifest(top.digest)

    async def _local(self, wanted: From, session: str, sessions: Sessions) -> tuple[Place, bytes]:
        if not wanted.attrs.get("digest"):
            raise BuildFailed("local cache importer requires explicit digest")
        if not wanted.attrs.get("src"):
            raise BuildFailed("local cache importer requires src")
        digest = Digest.parse(wanted.attrs["digest"])
        place = ClientPlace((await sessions.get(session)).contents(f"local:{wanted.attrs['src']}"))
        return place, await place.manifest(digest)

    async def own(self, names: Sequence[str]) -> tuple[Imports, frozenset[str]]:
        """The caches inside images of this engine, and the ChainIDs of the images' layers; of names that it has."""
        caches: list[Imported] = []
        chains: set[str] = set()
        for name in names:
            with contextlib.suppress(KnarrError):
                image = await self._images.find(name)
                chains.update(map(str, self._images.chain(image)))
                data = await self._own(Reference.parse(name).tagged())
                if data is not None:
                    caches.append(await read_cache(OwnPlace(self._rooms), data))
        return Imports(caches), frozenset(chains)

    async def _own(self, ref: Reference) -> bytes | None:
        """The manifest of an image of this engine that has a cache inside."""
        try:
            image = await self._images.find(str(ref))
        except (NoSuchImage, Invalid):
            return None
        raw = await self._images.raw_config(image)
        if image.manifest is None or config.INLINE not in load_json(raw, "configuration"):
            return None
        return await OwnPlace(self._rooms).manifest(image.manifest)


async def read_cache(place: Place, data: bytes, *, mounts: bool = False) -> Imported:
    """A cache that begins with this document. Raises BadCache, BadImage, NotFound."""
    if is_index(media_type(data)):
        entries: Sequence[Descriptor] = parse_index(data)
        told = next((each for each in entries if each.media_type == config.MEDIA_TYPE), None)
    else:
        found = parse_artifact(data)
        entries = found.layers
        told = found.config if found.config.media_type == config.MEDIA_TYPE else None
    if told is None:
        return Imported(await _inline(place, data, [_IMAGES], _DEPTH), place.opener)
    blobs = {str(each.digest): each for each in entries}
    keys = config.read(await document(place, told), blobs)
    carried: Sequence[Parcel] = parcels(entries, place.opener) if mounts else ()
    return Imported(keys, place.opener, carried)


async def _inline(place: Place, data: bytes, left: list[int], depth: int) -> dict[str, Known]:
    """The caches inside images; `left` counts those that are still looked into."""
    kind = media_type(data)
    if kind in MANIFESTS:
        return await _inside(place, data)
    found: dict[str, Known] = {}
    for entry in parse_index(data) if is_index(kind) else ():
        left[0] -= 1
        if left[0] < 0 or depth == 0:
            raise BadCache("the manifest list has too many images")
        found |= await _inline(place, await place.manifest(entry.digest), left, depth - 1)
    return found


async def _inside(place: Place, data: bytes) -> dict[str, Known]:
    manifest = parse_artifact(data)
    if not manifest.layers:
        return {}
    value = load_json(await document(place, manifest.config), "configuration")
    records = value.get(config.INLINE)
    rootfs = value.get("rootfs")
    diffs = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if records is None or not isinstance(diffs, list) or len(diffs) != len(manifest.layers):
        return {}
    layers = [
        layer._replace(annotations={**layer.annotations, config.UNCOMPRESSED: str(diff)})
        for layer, diff in zip(manifest.layers, diffs, strict=True)
    ]
    try:
        return config.read_inline(b64decode(records, validate=True), layers)
    except (binascii.Error, ValueError, TypeError) as error:
        raise BadCache(f"invalid inline cache: {error}") from None
