"""Pull: reference → index → platform → manifest → configuration and layers → one transaction, in docker's words."""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from knarr.content.store import CorruptBlob
from knarr.engine.images import indexes, rows
from knarr.engine.images.config import parse_image
from knarr.engine.images.errors import BadImage, NoMatchingPlatform
from knarr.engine.images.holding import Hold, holding
from knarr.engine.images.layers import Layers, OpenBlob, Wanted
from knarr.engine.images.manifest import (
    MAX_SIZE,
    Manifest,
    choose,
    is_index,
    media_type,
    parse_index,
    parse_manifest,
)
from knarr.engine.images.port import Auth
from knarr.engine.images.progress import Report
from knarr.engine.images.rooms import Rooms
from knarr.engine.images.rows import LayerRow
from knarr.engine.images.settled import all_of, closing, settled
from knarr.loop.blocking import blocking
from knarr.model.descriptor import Descriptor, chain_ids
from knarr.model.digest import Digest
from knarr.model.image import Image, Progress
from knarr.model.platform import Platform
from knarr.model.reference import Reference
from knarr.model.system import Event

_DEPTH = 4


class Found(NamedTuple):
    """What a reference led to: `top` is what was asked for, perhaps an index; `manifest` is the image's own."""

    top: Descriptor
    manifest: Descriptor
    data: bytes
    documents: tuple[Digest, ...]


async def pull(
    rooms: Rooms, layers: Layers, ref: Reference, platform: Platform | None, auth: Auth | None, report: Report
) -> None:
    """The use case. What it fetched is leased until the rows are written, and deleted if it is of no use."""
    ref = ref.tagged()
    newer = await _pull_one(rooms, layers, ref, platform, auth, report)
    _conclude(report, ref.familiar, newer=newer)


async def pull_all(
    rooms: Rooms, layers: Layers, ref: Reference, platform: Platform | None, auth: Auth | None, report: Report
) -> None:
    """Every tag of the repository, one after the other."""
    bare = ref._replace(tag=None, digest=None)
    newer = False
    for tag in await rooms.registry.tags(bare, auth):
        one = await _pull_one(rooms, layers, bare._replace(tag=tag), platform, auth, report)
        newer = newer or one
    _conclude(report, bare.familiar_name, newer=newer)


def _conclude(report: Report, name: str, *, newer: bool) -> None:
    what = "Downloaded newer image" if newer else "Image is up to date"
    report(Progress(status=f"Status: {what} for {name}"))


async def _pull_one(
    rooms: Rooms, layers: Layers, ref: Reference, platform: Platform | None, auth: Auth | None, report: Report
) -> bool:
    async with holding(rooms, leftovers=False) as hold:
        return await _Pull(rooms, layers, ref, platform, auth, report, hold).run()


class Seen(NamedTuple):
    """An image at a registry: `top` is what the reference led to, `layers` are its blobs, not fetched yet."""

    ref: Reference
    top: Digest
    image: Image
    config: bytes
    layers: tuple[Descriptor, ...]


async def look(
    rooms: Rooms, layers: Layers, ref: Reference, platform: Platform | None, auth: Auth | None, hold: Hold
) -> Seen:
    """An image's documents without its layers, and without a row or a name for it: what builds begin with. What is there for
    one platform alone is taken for any: a build warns of it."""
    pull = _Pull(rooms, layers, ref, platform, auth, _silent, hold, strict=False)
    found, manifest, config, image = await pull.documents()
    return Seen(ref, found.top.digest, image, config, manifest.layers)


async def bring(
    rooms: Rooms, layers: Layers, seen: Seen, auth: Auth | None, report: Report, hold: Hold
) -> list[LayerRow]:
    """The layers of an image that was looked at."""
    pull = _Pull(rooms, layers, seen.ref, seen.image.platform, auth, report, hold)
    return await pull.fetch(seen.image, seen.layers)


def opener(rooms: Rooms, ref: Reference, blob: Descriptor, auth: Auth | None) -> OpenBlob:
    """How a blob of a repository is read."""

    def opened(offset: int) -> AsyncIterator[bytes]:
        return rooms.registry.open_blob(ref, blob, offset, auth)

    return opened


def _silent(_: Progress) -> None:
    """Nobody listens."""


class _Pull:
    def __init__(
        self,
        rooms: Rooms,
        layers: Layers,
        ref: Reference,
        platform: Platform | None,
        auth: Auth | None,
        report: Report,
        hold: Hold,
        *,
        strict: bool = True,
    ) -> None:
        self._strict = strict
        self._rooms = rooms
        self._layers = layers
        self._ref = ref
        self._platform = platform
        self._auth = auth
        self._report = report
        self._hold = hold

    async def run(self) -> bool:
        """Whether the reference leads elsewhere than before."""
        found = await self._find()
        self._report(
            Progress(
                id=str(self._ref.digest or self._ref.tag),
                status=f"Pulling from {self._ref.path}",
            )
        )
        newer = await self._known(found)
        if newer is None:
            newer = await self._new(found)
        self._report(Progress(status=f"Digest: {found.top.digest}"))
        return newer

    async def _find(self) -> Found:
        """Walks from the reference to one image's manifest."""
        top = await self._rooms.registry.resolve(self._ref, self._auth)
        documents: list[Digest] = []
        current = top
        for _ in range(_DEPTH):
            data = await self._document(current)
            documents.append(current.digest)
            kind = media_type(data, current.media_type)
            if not is_index(kind):
                return Found(top, current._replace(media_type=kind), data, tuple(documents))
            current = choose(parse_index(data), self._platform or self._rooms.platform)
        raise BadImage("the manifest list is nested too deeply")

    async def _document(self, descriptor: Descriptor) -> bytes:
        self._hold.add(rows.blob(descriptor.digest))
        if await blocking(self._rooms.blobs.has, descriptor.digest):
            return await blocking(self._rooms.blobs.read, descriptor.digest)
        data = await self._rooms.registry.fetch_manifest(self._ref, descriptor.digest, self._auth)
        await self._keep(descriptor.digest, data)
        return data

    async def _keep(self, digest: Digest, data: bytes) -> None:
        if Digest.of(data) != digest and digest.algorithm == "sha256":
            raise CorruptBlob(f"manifest verification failed for digest {digest}")
        await settled(_put, self._rooms, digest, data)

    async def _known(self, found: Found) -> bool | None:
        """The image is here: its names are enough. None if it is not, or is removed at this moment."""
        manifest = parse_manifest(found.data, found.manifest.media_type)
        image = await self._rooms.db.read(lambda tx: rows.read(tx, manifest.config.digest))
        if image is None:
            return None
        self._check(image, found)

        def write(tx: sqlite3.Connection) -> tuple[bool | None, list[Event]]:
            if not rows.read(tx, image.id):
                return None, []
            rows.keep_blobs(tx, image.id, found.documents)
            return self._name(tx, image, found)

        return await self._rooms.commit(write)

    async def _new(self, found: Found) -> bool:
        """The image's configuration and layers, then its rows."""
        manifest, image, _ = await self._read(found)
        fetched = await self.fetch(image, manifest.layers)
        blobs = (
            *found.documents,
            manifest.config.digest,
            *(layer.digest for layer in manifest.layers),
        )

        def write(tx: sqlite3.Connection) -> tuple[bool, list[Event]]:
            rows.insert(tx, image, fetched, blobs)
            return self._name(tx, image, found)

        newer = await self._rooms.commit(write)
        self._rooms.lasting.wish(str(self._rooms.blobs.path(image.id).parent))
        return newer

    async def documents(self) -> tuple[Found, Manifest, bytes, Image]:
        """What the reference led to, and the image's manifest, configuration and value."""
        found = await self._find()
        manifest, image, config = await self._read(found)
        return found, manifest, config, image

    async def _read(self, found: Found) -> tuple[Manifest, Image, bytes]:
        manifest = parse_manifest(found.data, found.manifest.media_type)
        config = await self._config(manifest.config)
        image = parse_image(config, manifest=found.manifest.digest)
        self._check(image, found)
        if len(image.layers) != len(manifest.layers):
            raise BadImage(
                f"the manifest has {len(manifest.layers)} layers and its configuration {len(image.layers)}"
            )
        return manifest, image, config

    async def fetch(self, image: Image, blobs: Sequence[Descriptor]) -> list[LayerRow]:
        """The layers, unpacked, and their blobs, held."""
        wanted = [
            Wanted(chain, diff, blob)
            for chain, diff, blob in zip(chain_ids(image.layers), image.layers, blobs, strict=True)
        ]
        self._hold.add(
            *(rows.layer(one.chain) for one in wanted), *(rows.blob(one.blob.digest) for one in wanted)
        )
        return await all_of([self._layers.fetch(one, self._opener(one.blob), self._report) for one in wanted])

    def _name(self, tx: sqlite3.Connection, image: Image, found: Found) -> tuple[bool, list[Event]]:
        """Names and event; True if the reference led elsewhere before. What is here of an index already stays under its name."""
        ref, top = self._ref, found.top.digest
        by_digest = ref._replace(tag=None, digest=top)
        before = rows.named(tx, by_digest)
        lead, via, joined = image, None, False
        if top != found.manifest.digest:
            new = indexes.Member(found.manifest.digest, image)
            both = indexes.join(tx, top, before, new, self._rooms.platform)
            if both is not None:
                (lead, joined), via = both, top
                rows.keep_blobs(tx, lead.id, found.documents[:-1])
        newer = rows.named(tx, ref) != (before if joined else str(lead.id))
        rows.name_it(tx, by_digest, lead.id, via)
        if ref.tag and not ref.digest:
            rows.name_it(tx, ref, lead.id, via)
        return newer, [rows.event(image, ref.familiar, "pull", ref.familiar_name)]

    def _check(self, image: Image, found: Found) -> None:
        wanted = self._platform or self._rooms.platform
        if image.platform.os not in ("linux", ""):
            raise NoMatchingPlatform(
                f'image operating system "{image.platform.os}" cannot be used on this platform: operating system is not supported'
            )
        single = found.top.digest == found.manifest.digest
        if self._strict and self._platform is not None and single and not image.platform.matches(wanted):
            raise NoMatchingPlatform(
                f"image with reference {self._ref.familiar} was found but does not provide the specified platform ({wanted})"
            )

    async def _config(self, descriptor: Descriptor) -> bytes:
        if descriptor.size > MAX_SIZE:
            raise BadImage(f"the image configuration has {descriptor.size} bytes")
        self._hold.add(rows.blob(descriptor.digest))
        if not await blocking(self._rooms.blobs.has, descriptor.digest):
            with await blocking(self._rooms.blobs.ingest, descriptor.digest, descriptor.size) as ingest:
                if ingest.offset < descriptor.size:
                    async with closing(self._opener(descriptor)(ingest.offset)) as pieces:
                        async for data in pieces:
                            await settled(ingest.write, data)
                await settled(ingest.commit)
        return await blocking(self._rooms.blobs.read, descriptor.digest)

    def _opener(self, blob: Descriptor) -> OpenBlob:
        return opener(self._rooms, self._ref, blob, self._auth)


def _put(rooms: Rooms, digest: Digest, data: bytes) -> None:
    with rooms.blobs.ingest(digest, len(data), resume=False) as ingest:
        ingest.write(data)
        ingest.commit()
