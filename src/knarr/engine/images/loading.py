"""Load: docker's archive (`manifest.json`) or an OCI layout (`index.json`) becomes images.

Compressed layers and their manifest are kept as they are, so that a push gives the same digests; plain layers, as docker's
older archives have them, are compressed once.
"""

import json
import sqlite3
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

from knarr.content.store import CorruptBlob
from knarr.engine.images import indexes, rows
from knarr.engine.images.compression import sniff
from knarr.engine.images.config import load_json, parse_image
from knarr.engine.images.errors import BadImage
from knarr.engine.images.holding import Hold, holding
from knarr.engine.images.making import Layer, make_image, name_known
from knarr.engine.images.manifest import (
    MAX_SIZE,
    choose,
    is_index,
    layer_descriptor,
    media_type,
    parse_index,
    parse_manifest,
)
from knarr.engine.images.progress import Meter, Report
from knarr.engine.images.receiving import Received, receive
from knarr.engine.images.rooms import Rooms
from knarr.engine.images.rows import LayerRow
from knarr.engine.images.settled import settled
from knarr.engine.images.unpacking import Pipeline, unpack_layer, unpack_new
from knarr.loop.blocking import blocking
from knarr.model.descriptor import DOCKER_LAYER_GZIP, OCI_LAYER_ZSTD, Descriptor, chain_ids
from knarr.model.digest import Digest
from knarr.model.errors import Invalid
from knarr.model.image import Image, Progress
from knarr.model.platform import Platform
from knarr.model.reference import Reference
from knarr.model.system import Event

_CHUNK = 1 << 20
_NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


class Packed(NamedTuple):
    """One image of an archive: `manifest` where it has one whose layers are all here, compressed."""

    config: Digest
    layers: tuple[Digest, ...]
    names: tuple[Reference, ...]
    manifest: Digest | None


class Group(NamedTuple):
    """An index of an archive that has all its images, with the documents of what else is in it (attestations)."""

    top: Digest
    members: tuple[Packed, ...]
    names: tuple[Reference, ...]
    others: tuple[Digest, ...]


async def load(
    rooms: Rooms,
    stream: AsyncIterator[bytes],
    platform: Platform | None,
    report: Report,
    *,
    quiet: bool,
) -> None:
    """The use case."""
    async with holding(rooms, leftovers=True) as hold:
        received = await receive(rooms, hold, stream)
        groups = [] if platform is not None else await blocking(_groups, rooms, received)
        packed = await blocking(_packed, rooms, received, platform)
        if not packed:
            raise BadImage("invalid archive: it has no image")
        fresh: dict[Digest, Layer] = {}
        for group in groups:
            for one in group.members:
                await _Load(rooms, hold, report, one, None, fresh, quiet=quiet).bring()
            await _grouped(rooms, group, packed, report)
        done = {one.config for group in groups for one in group.members}
        for one in packed:
            if one.config not in done:
                await _Load(rooms, hold, report, one, platform, fresh, quiet=quiet).run()


async def _grouped(rooms: Rooms, group: Group, packed: Sequence[Packed], report: Report) -> None:
    """Records an index whose images are here, and its names: also those that docker's own list gives one of its images."""
    inside = {one.config for one in group.members}
    listed = (name for one in packed if one.config in inside for name in one.names)
    names = tuple(dict.fromkeys((*group.names, *listed)))

    def write(tx: sqlite3.Connection) -> tuple[tuple[Image, list[str | None]], list[Event]]:
        images = [rows.read(tx, one.config) for one in group.members]
        found = [image for image in images if image is not None]
        first = next((image for image in found if image.platform.matches(rooms.platform)), found[0])
        rows.keep_blobs(tx, first.id, (group.top, *group.others))
        parts = [(one.manifest or one.config, one.config) for one in group.members]
        indexes.insert(tx, group.top, first.id, parts)
        replaced = [rows.named(tx, ref) for ref in names]
        for ref in names:
            rows.name_it(tx, ref, first.id, group.top)
        return (first, replaced), []

    image, replaced = await rooms.commit(write)
    _tell(report, image, names, replaced)


class _Load:
    def __init__(
        self,
        rooms: Rooms,
        hold: Hold,
        report: Report,
        packed: Packed,
        platform: Platform | None,
        fresh: dict[Digest, Layer],
        *,
        quiet: bool,
    ) -> None:
        self._rooms = rooms
        self._fresh = fresh
        self._hold = hold
        self._report = report
        self._packed = packed
        self._platform = platform
        self._quiet = quiet

    async def bring(self) -> None:
        """The image alone: an index has its names."""
        self._packed = self._packed._replace(names=())
        config = await _document(self._rooms, self._packed.config)
        image = parse_image(config)
        if await self._rooms.db.read(lambda tx: rows.read(tx, image.id)) is None:
            await self._make(config, image)

    async def run(self) -> None:
        config = await _document(self._rooms, self._packed.config)
        image = parse_image(config)
        if self._platform is not None and not image.platform.matches(self._platform):
            return  # as Docker: what was not asked for is left where it is
        if len(image.layers) != len(self._packed.layers):
            raise BadImage(
                f"invalid manifest, layers length mismatch: expected {len(image.layers)}, got {len(self._packed.layers)}"
            )
        replaced = await self._rooms.db.read(lambda tx: [rows.named(tx, ref) for ref in self._packed.names])
        if not await name_known(self._rooms, image, self._packed.names, _told):
            await self._make(config, image)
        _tell(self._report, image, self._packed.names, replaced)

    async def _make(self, config: bytes, image: Image) -> None:
        manifest = self._packed.manifest
        await make_image(
            self._rooms,
            self._hold,
            config,
            await self._layers(image),
            self._packed.names,
            _told,
            manifest=None if manifest is None else await _document(self._rooms, manifest),
        )

    async def _layers(self, image: Image) -> list[Layer]:
        descriptors: Sequence[Descriptor | None] = [None] * len(image.layers)
        if self._packed.manifest is not None:
            descriptors = parse_manifest(await _document(self._rooms, self._packed.manifest)).layers
        layers: list[Layer] = []
        parent: Digest | None = None
        for chain, diff, blob, descriptor in zip(
            chain_ids(image.layers), image.layers, self._packed.layers, descriptors, strict=True
        ):
            layers.append(await self._layer(parent, chain, diff, blob, descriptor))
            parent = chain
        return layers

    async def _layer(
        self, parent: Digest | None, chain: Digest, diff: Digest, blob: Digest, told: Descriptor | None
    ) -> Layer:
        if (
            chain in self._fresh
        ):  # images of one archive share layers, and a plain one need be compressed only once
            return self._fresh[chain]
        self._hold.add(rows.layer(chain))
        form = await blocking(_form, self._rooms, blob)
        pour = self._pour(diff, blob)
        if form not in ("gzip", "zstd"):
            row, descriptor = await unpack_new(self._rooms, parent, self._hold, pour)
            if row.diff != diff:
                raise CorruptBlob(f"invalid diffID for layer: expected {diff}, got {row.diff}")
            self._fresh[chain] = row, descriptor
            return row, descriptor
        size = await blocking(self._rooms.blobs.size, blob)
        media = DOCKER_LAYER_GZIP if form == "gzip" else OCI_LAYER_ZSTD
        descriptor = told or layer_descriptor(blob, size)._replace(media_type=media)
        known = await self._rooms.db.read(lambda tx: rows.layer_sizes(tx).get(str(chain)))
        if known is not None and await blocking(self._rooms.snapshots.layer_exists, chain):
            return LayerRow(chain, diff, known), descriptor
        return await unpack_layer(self._rooms, chain, diff, pour), descriptor

    def _pour(self, diff: Digest, blob: Digest) -> Any:
        async def pour(pipeline: Pipeline) -> None:
            total = await blocking(self._rooms.blobs.size, blob)
            meter = Meter(self._report, diff.short, "Loading layer", total)
            with await settled(self._rooms.blobs.open, blob) as file:
                while data := await settled(file.read, _CHUNK):
                    await settled(pipeline.write, data)
                    if not self._quiet:
                        meter.at(file.tell())

        return pour


def _tell(report: Report, image: Image, names: Sequence[Reference], replaced: Sequence[str | None]) -> None:
    for ref, before in zip(names, replaced, strict=True):
        if before not in (None, str(image.id)):
            report(
                Progress(
                    stream=f"The image {ref.familiar} already exists, renaming the old one with ID {before} to empty string\n"
                )
            )
        report(Progress(stream=f"Loaded image: {ref.familiar}\n"))
    if not names:
        report(Progress(stream=f"Loaded image ID: {image.id}\n"))


def _told(image: Image) -> list[Event]:
    return [rows.event(image, str(image.id), "load", str(image.id))]


async def _document(rooms: Rooms, digest: Digest) -> bytes:
    return await blocking(_read_small, rooms, digest)


def _read_small(rooms: Rooms, digest: Digest) -> bytes:
    if rooms.blobs.size(digest) > MAX_SIZE:
        raise BadImage("invalid archive: a document in it is too large")
    return rooms.blobs.read(digest)


def _form(rooms: Rooms, digest: Digest) -> str:
    with rooms.blobs.open(digest) as file:
        return sniff(file.read(6))


def _packed(rooms: Rooms, received: Received, platform: Platform | None) -> list[Packed]:
    """Docker's list of images, with the manifests of the layout beside it; or the layout alone."""
    layout = _layout(rooms, received, platform)
    listed = received.find("manifest.json")
    if listed is None:
        if not layout and received.find("index.json") is None:
            raise BadImage("invalid archive: it has neither manifest.json nor index.json")
        return layout
    manifests = {one.config: one for one in layout}
    found = []
    for entry in _list(_read_small(rooms, listed)):
        try:
            config = received.get(entry["Config"])
            layers = tuple(received.get(name) for name in entry.get("Layers") or ())
            names = tuple(Reference.parse(name).tagged() for name in entry.get("RepoTags") or ())
        except (KeyError, TypeError, AttributeError, Invalid) as error:
            raise BadImage(f"invalid manifest.json: {error}") from None
        same = manifests.get(config)
        if same is not None and same.manifest is not None:
            layers = same.layers
        found.append(Packed(config, layers, names, same.manifest if same else None))
    return found


def _groups(rooms: Rooms, received: Received) -> list[Group]:
    """The indexes of an OCI layout whose images are all in the archive."""
    listed = received.find("index.json")
    found: dict[Digest, Group] = {}
    for entry in parse_index(_read_small(rooms, listed)) if listed is not None else ():
        digest = _blob(received, entry.digest)
        if digest is None:
            continue
        data = _read_small(rooms, digest)
        if not is_index(media_type(data, entry.media_type)):
            continue
        group = _group(rooms, received, digest, data)
        if group is not None:
            names = found[digest].names if digest in found else ()
            found[digest] = group._replace(names=tuple(dict.fromkeys((*names, *_names(entry)))))
    return list(found.values())


def _group(rooms: Rooms, received: Received, digest: Digest, data: bytes) -> Group | None:
    members: list[Packed] = []
    others: list[Digest] = []
    for entry in parse_index(data):
        attestation = entry.platform is not None and entry.platform.os == "unknown"
        inner = None if attestation else _entry(rooms, received, entry, None)
        if inner is not None and inner.manifest == entry.digest:
            members.append(inner)
        elif attestation:
            others += _attached(rooms, received, entry)
        else:
            return None
    return Group(digest, tuple(members), (), tuple(others)) if members else None


def _attached(rooms: Rooms, received: Received, entry: Descriptor) -> list[Digest]:
    """An attestation's manifest with what it names, as far as it is here."""
    digest = _blob(received, entry.digest)
    if digest is None:
        return []
    manifest = parse_manifest(_read_small(rooms, digest), entry.media_type)
    blobs = [_blob(received, each.digest) for each in (manifest.config, *manifest.layers)]
    return [digest, *(each for each in blobs if each is not None)]


def _list(data: bytes) -> list[dict[str, Any]]:
    try:
        value = json.loads(data)
    except ValueError as error:
        raise BadImage(f"invalid manifest.json: {error}") from None
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise BadImage("invalid manifest.json: not a list of objects")
    return value


def _layout(rooms: Rooms, received: Received, platform: Platform | None) -> list[Packed]:
    """The images of an OCI layout, those of one digest together."""
    index = received.find("index.json")
    if index is None:
        return []
    found: dict[Digest, Packed] = {}
    for entry in parse_index(_read_small(rooms, index)):
        if entry.platform is not None and entry.platform.os == "unknown":
            continue  # an attestation
        one = _entry(rooms, received, entry, platform)
        if one is not None:
            names = found[one.config].names if one.config in found else ()
            found[one.config] = one._replace(names=tuple(dict.fromkeys((*names, *one.names))))
    return list(found.values())


def _entry(rooms: Rooms, received: Received, entry: Descriptor, platform: Platform | None) -> Packed | None:
    """None for what is no image, such as an attestation, or is not whole in this archive."""
    digest = _blob(received, entry.digest)
    if digest is None:
        return None
    data = _read_small(rooms, digest)
    kind = media_type(data, entry.media_type)
    if is_index(kind):
        chosen = choose(parse_index(data), platform or rooms.platform)
        inner = _entry(rooms, received, chosen, platform)
        return inner._replace(names=_names(entry) or inner.names) if inner else None
    load_json(data, "manifest")
    manifest = parse_manifest(data, entry.media_type)
    config = _blob(received, manifest.config.digest)
    layers = [_blob(received, layer.digest) for layer in manifest.layers]
    if config is None or None in layers:
        return None
    there = tuple(layer for layer in layers if layer is not None)
    packed = all(_form(rooms, layer) in ("gzip", "zstd") for layer in there)
    return Packed(config, there, _names(entry), digest if packed else None)


def _blob(received: Received, digest: Digest) -> Digest | None:
    """The file that a layout names by digest; its bytes are what their name says."""
    found = received.find(f"blobs/{digest.algorithm}/{digest.hex}")
    if found is not None and found.algorithm == digest.algorithm and found != digest:
        raise CorruptBlob(f"blob {digest} arrived as {found}")
    return found


def _names(entry: Descriptor) -> tuple[Reference, ...]:
    """A full name, or at least a tag that is one; a bare tag such as `latest` names nothing."""
    full, short = (entry.annotations.get(key, "") for key in _NAMES)
    text = full or (short if "/" in short or ":" in short else "")
    try:
        return (Reference.parse(text).tagged(),) if text else ()
    except Invalid:
        return ()
