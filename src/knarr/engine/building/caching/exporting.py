"""`--cache-to`: a solved build's keys and layers, to a registry or to a directory of the client's, as BuildKit lays a cache out.

Blobs first, then the configuration, the manifest last: what breaks off leaves no cache that names what is not there. What is
not here yet is fetched only if the target lacks it.
"""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from knarr.build.caching import chart, config
from knarr.build.caching.chart import Look
from knarr.build.caching.wishes import To
from knarr.build.errors import BuildFailed
from knarr.build.graph import Edge
from knarr.build.port import Contents, Sessions
from knarr.build.progress import Progress, Step
from knarr.build.tree import Layer, Tree
from knarr.engine.building.cachemounts import CacheMounts
from knarr.engine.building.caching import mounts
from knarr.engine.building.caching.supply import Supply
from knarr.engine.building.choices import Compression
from knarr.engine.building.converting import converted
from knarr.engine.building.credentials import lent
from knarr.engine.images import rows
from knarr.engine.images.config import dump_json
from knarr.engine.images.holding import Hold
from knarr.engine.images.port import Auth
from knarr.engine.images.rooms import Rooms
from knarr.engine.images.settled import all_of, closing, settled
from knarr.loop.blocking import blocking
from knarr.model.descriptor import (
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    DOCKER_LIST,
    OCI_INDEX,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    Descriptor,
)
from knarr.model.digest import Digest
from knarr.model.errors import KnarrError, NotFound
from knarr.model.reference import Reference

_CREATED = "buildkit/createdat"
_OCI = {DOCKER_LAYER: OCI_LAYER, DOCKER_LAYER_GZIP: OCI_LAYER_GZIP}
_DOCKER = {oci: docker for docker, oci in _OCI.items()}
_NAMES = {"registry": "exporting cache to registry", "local": "exporting cache to client directory"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A build that is solved: its results, what became of its vertices, and how its layers are had."""

    edges: Sequence[Edge | None]
    trees: Sequence[Tree]
    look: Look
    epoch: int
    supply: Supply
    hold: Hold


class Target(Protocol):
    """Where a cache is put."""

    async def has(self, blob: Descriptor) -> bool:
        """Whether the blob is there."""
        ...

    async def send(self, blob: Descriptor, path: Path) -> None:
        """Puts a blob there."""
        ...

    async def finish(self, manifest: Descriptor, data: bytes, path: Path) -> None:
        """Puts the manifest there: the cache is whole."""
        ...


class CacheExport:
    """That of one engine."""

    def __init__(self, rooms: Rooms, caches: CacheMounts):
        self._rooms = rooms
        self._caches = caches

    async def run(
        self, wanted: Sequence[To], work: Work, session: str, sessions: Sessions, progress: Progress
    ) -> dict[str, str]:
        """What the client is told. Raises BuildFailed, and what a registry says, unless the wish says to go on."""
        told: dict[str, str] = {}
        for each in wanted:
            if each.kind == "inline":
                continue
            try:
                with progress.begin(_NAMES[each.kind]) as step:
                    target = await self._target(each, session, sessions)
                    told.update(await self._export(each, work, target, step))
            except KnarrError:
                if not each.ignore_error:
                    raise
        return told

    async def _target(self, wanted: To, session: str, sessions: Sessions) -> Target:
        if wanted.ref is None:
            contents = (await sessions.get(session)).contents(f"local:{wanted.dest}")
            return _Directory(contents)
        auth = await lent(sessions, session, wanted.ref.domain)
        return _Repository(self._rooms, wanted.ref, auth)

    async def _export(self, wanted: To, work: Work, target: Target, step: Step) -> dict[str, str]:
        with step.task("preparing build cache for export"):
            made, layers = _prepared(wanted, work)
            blobs = await self._compressed(wanted, made, layers, work)
            carried = await self._mounts(wanted, work, step)
        if not made.layers:
            with step.task("skipping cache export for empty result"):
                return {}
        with step.task("sending cache export"):
            await all_of([self._blob(blob, work, target, step) for blob in (*blobs, *carried)])
            document = config.dump(made)
            told = Descriptor(config.MEDIA_TYPE, Digest.of(document), len(document))
            with step.task(f"writing config {told.digest}"):
                await target.send(told, await self._kept(document, work.hold))
            data = _manifest(wanted, [*blobs, *carried], told)
            kind = json.loads(data)["mediaType"]
            manifest = Descriptor(kind, Digest.of(data), len(data))
            words = "writing cache image manifest" if wanted.artifact else "writing cache manifest"
            with step.task(f"{words} {manifest.digest}"):
                await target.finish(manifest, data, await self._kept(data, work.hold))
        return {"cache.manifest": dump_json(_plain(manifest)).decode()}

    async def _compressed(
        self, wanted: To, made: config.Config, layers: Sequence[Layer], work: Work
    ) -> list[Descriptor]:
        """The layers' blobs as they are wished for; the configuration names them then."""
        wish = Compression(kind=wanted.compression, level=wanted.level, force=wanted.force)
        names: dict[str, str] = {}
        found = []
        own = chart.steps_own(work.edges, work.look)
        for layer in layers:
            blob = layer.blob
            if not wish.plain:
                await self._here(blob, work)
                base = 0 if str(blob.digest) in own else 1
                (blob,) = await converted(self._rooms, [layer], base, wish, work.hold)
            names[str(layer.blob.digest)] = str(blob.digest)
            found.append(_described(layer, blob, wanted, work.epoch))
        for each in made.layers:
            each.blob = names[each.blob]
        return list({each.digest: each for each in found}.values())

    async def _mounts(self, wanted: To, work: Work, step: Step) -> list[Descriptor]:
        """The cache mounts of the build's steps, where they shall go along."""
        names = mounts.used(work.edges) if wanted.mounts else []
        found = [await mounts.pack(self._rooms, self._caches, name, work.hold, step) for name in names]
        return [each for each in found if each is not None]

    async def _blob(self, blob: Descriptor, work: Work, target: Target, step: Step) -> None:
        with step.task(f"writing layer {blob.digest}"):
            try:
                if not await target.has(blob):
                    await target.send(blob, await self._here(blob, work))
            except KnarrError as error:
                raise BuildFailed(f"error writing layer blob: {error}") from error

    async def _here(self, blob: Descriptor, work: Work) -> Path:
        """The blob's file; fetched if it is elsewhere."""
        path = self._rooms.blobs.path(blob.digest)
        work.hold.add(rows.blob(blob.digest))
        if await blocking(self._rooms.blobs.has, blob.digest):
            return path
        opened = work.supply.opened(blob.digest)
        if opened is None:
            raise BuildFailed(f"missing blob {blob.digest}")
        with await settled(self._rooms.blobs.ingest, blob.digest, blob.size, resume=False) as ingest:
            async with closing(opened(0)) as pieces:
                async for data in pieces:
                    await settled(ingest.write, data)
            await settled(ingest.commit)
        return path

    async def _kept(self, data: bytes, hold: Hold) -> Path:
        """A document as a file, for as long as the build lasts."""
        digest = Digest.of(data)
        hold.add(rows.blob(digest))
        await blocking(self._rooms.blobs.put, data)
        return self._rooms.blobs.path(digest)


def inline_records(edge: Edge | None, tree: Tree, look: Look, epoch: int) -> bytes:
    """What an image carries inside of its own build; empty if nothing of it is in its layers."""
    made = chart.chart([edge], look, chart.tops([tree]), epoch)
    records = chart.inline(made, [str(layer.blob.digest) for layer in tree.layers])
    return config.dump(records) if records else b""


def _prepared(wanted: To, work: Work) -> tuple[config.Config, list[Layer]]:
    """The configuration, and the layers that it names in its order."""
    layers: list[Layer] = [layer for tree in work.trees for layer in tree.layers]
    if wanted.all:
        layers += chart.every(work.edges, work.look)
    known = {str(layer.blob.digest): layer for layer in reversed(layers)}
    made = chart.chart(work.edges, work.look, known.keys(), work.epoch)
    named = dict.fromkeys(layer.blob for layer in made.layers)
    return made, [known[name] for name in named]


def _described(layer: Layer, blob: Descriptor, wanted: To, epoch: int) -> Descriptor:
    kind = blob.media_type
    kind = _OCI.get(kind, kind) if wanted.oci else _DOCKER.get(kind, kind)
    notes = {config.UNCOMPRESSED: str(layer.diff), _CREATED: chart.moment(epoch)}
    return Descriptor(kind, blob.digest, blob.size, annotations=notes)


def _manifest(wanted: To, blobs: Sequence[Descriptor], told: Descriptor) -> bytes:
    listed = [_plain(blob) for blob in blobs]
    if wanted.artifact:
        return dump_json(
            {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": _plain(told), "layers": listed}
        )
    kind = OCI_INDEX if wanted.oci else DOCKER_LIST
    return dump_json({"schemaVersion": 2, "mediaType": kind, "manifests": [*listed, _plain(told)]})


def _plain(descriptor: Descriptor) -> dict[str, Any]:
    value: dict[str, Any] = {
        "mediaType": descriptor.media_type,
        "digest": str(descriptor.digest),
        "size": descriptor.size,
    }
    if descriptor.annotations:
        value["annotations"] = dict(descriptor.annotations)
    return value


class _Repository:
    """A registry's."""

    def __init__(self, rooms: Rooms, ref: Reference, auth: Auth | None):
        self._rooms = rooms
        self._ref = ref
        self._auth = auth

    async def has(self, blob: Descriptor) -> bool:
        return await self._rooms.registry.has_blob(self._ref, blob, self._auth)

    async def send(self, blob: Descriptor, path: Path) -> None:
        await self._rooms.registry.push_blob(self._ref, blob, path, self._auth)

    async def finish(self, manifest: Descriptor, data: bytes, path: Path) -> None:
        del path
        await self._rooms.registry.push_manifest(self._ref, manifest.media_type, data, self._auth)


class _Directory:
    """A client's."""

    def __init__(self, contents: Contents):
        self._contents = contents

    async def has(self, blob: Descriptor) -> bool:
        try:
            return await self._contents.size(blob.digest) == blob.size
        except NotFound:
            return False

    async def send(self, blob: Descriptor, path: Path) -> None:
        await self._contents.write(blob.digest, blob.size, _pieces(path))

    async def finish(self, manifest: Descriptor, data: bytes, path: Path) -> None:
        del data
        await self.send(manifest, path)


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    with await blocking(_opened, path) as file:
        while data := await blocking(file.read, 1 << 20):
            yield data


def _opened(path: Path) -> BinaryIO:
    return path.open("rb")
