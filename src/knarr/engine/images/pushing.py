"""Push: the blobs that the registry lacks, then the manifest as it was pulled or made, in docker's words."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence

from knarr.engine.images import indexes, rows
from knarr.engine.images.config import parse_image
from knarr.engine.images.manifest import Manifest, is_index, media_type, parse_index, parse_manifest
from knarr.engine.images.port import Auth
from knarr.engine.images.progress import Meter, Report
from knarr.engine.images.rooms import Rooms
from knarr.engine.images.settled import all_of
from knarr.loop.blocking import blocking
from knarr.model.descriptor import Descriptor
from knarr.model.digest import Digest
from knarr.model.errors import Invalid, NotFound
from knarr.model.image import Image, Progress
from knarr.model.platform import Platform
from knarr.model.reference import Reference
from knarr.model.system import Event

AT_ONCE = 5


async def push(
    rooms: Rooms, ref: Reference, platform: Platform | None, auth: Auth | None, report: Report
) -> None:
    """The use case."""
    if ref.digest is not None:
        raise Invalid("cannot push a digest reference")
    if platform is not None:
        name = ref.tagged().familiar
        await rooms.db.read(lambda tx: indexes.chosen(tx, name, platform))
    report(Progress(status=f"The push refers to repository [{ref.name}]"))
    for tag, image, top in await rooms.db.read(lambda tx: _chosen(tx, ref, platform)):
        with rooms.leases.create(brief=True) as lease:
            await _Push(rooms, tag, image, auth, report, lease.add).run(top)


async def push_document(
    rooms: Rooms, ref: Reference, top: Digest, known: Digest | None, auth: Auth | None, report: Report
) -> None:
    """A document that the caller holds, and all that it names: to the tag of `ref`, or as `known`."""
    with rooms.leases.create(brief=True) as lease:
        target = ref if known is None else ref._replace(tag=None, digest=known)
        await _Push(rooms, target, None, auth, report, lease.add).run(top)


def _chosen(
    tx: sqlite3.Connection, ref: Reference, platform: Platform | None
) -> list[tuple[Reference, Image, Digest]]:
    """The tags to push, each with its image and the document that it leads to. Raises NotFound."""
    tags = rows.repository(tx, ref)
    if not tags:
        raise NotFound(f"An image does not exist locally with the tag: {ref.familiar_name}")
    wanted = [tag for tag, _ in tags if ref.tag is None or tag.tag == ref.tag]
    if not wanted:
        raise NotFound(f"tag does not exist: {ref.familiar}")
    found = []
    for tag in wanted:
        image, via = indexes.led(tx, str(tag))
        if platform is not None:
            via, image = indexes.chosen(tx, str(tag), platform)
        top = via or image.manifest
        if top is None:
            raise NotFound(f"image {image.id} has no manifest")
        found.append((tag, image, top))
    return found


class _Push:
    """One tag's; `image` None: nothing is recorded of it here."""

    def __init__(
        self,
        rooms: Rooms,
        ref: Reference,
        image: Image | None,
        auth: Auth | None,
        report: Report,
        hold: Callable[..., None],
    ) -> None:
        self._rooms = rooms
        self._ref = ref
        self._image = image
        self._auth = auth
        self._report = report
        self._hold = hold
        self._slots = asyncio.Semaphore(rooms.uploads or AT_ONCE)

    async def run(self, digest: Digest) -> None:
        data = await self._document(digest)
        kind = media_type(data)
        if is_index(kind):
            for entry in parse_index(data):
                if await blocking(self._rooms.blobs.has, entry.digest):
                    inner = await self._document(entry.digest)
                    await self._manifest(inner, entry.media_type)
                    by_digest = self._ref._replace(tag=None, digest=entry.digest)
                    await self._rooms.registry.push_manifest(
                        by_digest, media_type(inner, entry.media_type), inner, self._auth
                    )
        else:
            await self._manifest(data, kind)
        await self._rooms.registry.push_manifest(self._ref, kind, data, self._auth)
        await self._record(digest)
        tag = self._ref.tag or ""
        self._report(Progress(status=f"{tag}: digest: {digest} size: {len(data)}"))
        self._report(Progress(aux={"Tag": tag, "Digest": str(digest), "Size": len(data)}))

    async def _document(self, digest: Digest) -> bytes:
        self._hold(rows.blob(digest))
        return await blocking(self._rooms.blobs.read, digest)

    async def _manifest(self, data: bytes, kind: str) -> None:
        """What one image's manifest names."""
        manifest = parse_manifest(data, kind)
        self._hold(rows.blob(manifest.config.digest), *(rows.blob(layer.digest) for layer in manifest.layers))
        await self._push_layers(manifest)
        await self._push_blob(manifest.config, None)

    async def _push_layers(self, manifest: Manifest) -> None:
        """Topmost first, as docker lists them; a layer that is there several times goes once."""
        config = await blocking(self._rooms.blobs.read, manifest.config.digest)
        pairs = dict(zip(parse_image(config).layers, manifest.layers, strict=True))
        for diff in reversed(pairs):
            self._report(Progress(id=diff.short, status="Preparing"))
        await all_of([self._push_layer(diff, blob) for diff, blob in reversed(pairs.items())])

    async def _push_layer(self, diff: Digest, blob: Descriptor) -> None:
        if self._slots.locked():
            self._report(Progress(id=diff.short, status="Waiting"))
        async with self._slots:
            source = await self._mounted(blob)
            if source is not None:
                self._report(Progress(id=diff.short, status=f"Mounted from {source.path}"))
                return
            meter = Meter(self._report, diff.short, "Pushing", blob.size)
            pushed = await self._push_blob(blob, meter)
        self._report(Progress(id=diff.short, status="Pushed" if pushed else "Layer already exists"))

    async def _push_blob(self, blob: Descriptor, meter: Meter | None) -> bool:
        return await self._rooms.registry.push_blob(
            self._ref,
            blob,
            self._rooms.blobs.path(blob.digest),
            self._auth,
            progress=None if meter is None else meter.at,
        )

    async def _mounted(self, blob: Descriptor) -> Reference | None:
        """Another repository of the same registry that gave the blob over."""
        for source in await self._rooms.db.read(lambda tx: _sources(tx, self._ref, blob.digest)):
            if await self._rooms.registry.mount_blob(self._ref, blob, source, self._auth):
                return source
        return None

    async def _record(self, digest: Digest) -> None:
        """The digest by which the registry knows it, and the event."""
        image = self._image
        by_digest = self._ref._replace(tag=None, digest=digest)

        def write(tx: sqlite3.Connection) -> tuple[None, Sequence[Event]]:
            key = image.id if image is not None else rows.named(tx, self._ref)
            found = rows.read(tx, key) if key is not None else None
            if found is None:
                return None, []
            rows.name_it(tx, by_digest, found.id, None if digest == found.manifest else digest)
            return None, [rows.event(found, self._ref.familiar, "push", self._ref.familiar_name)]

        await self._rooms.commit(write)


def _sources(tx: sqlite3.Connection, ref: Reference, blob: Digest) -> list[Reference]:
    """Repositories of the same registry that are known to have the blob: those that have one of its images by digest.

    None if this one has it.
    """
    found = tx.execute(
        "SELECT DISTINCT image_names.name FROM image_names JOIN image_blobs USING (image)"
        " WHERE image_blobs.digest = ? AND image_names.name LIKE ? || '/%@%' ORDER BY 1",
        (str(blob), ref.domain),
    )
    candidates = [Reference.parse(row[0]) for row in found]
    return [] if any(source.path == ref.path for source in candidates) else candidates[:3]
