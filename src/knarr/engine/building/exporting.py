"""Where results go: into this engine's images and on to registries, to the client as a layout, an archive, or files."""

from collections.abc import Mapping, Sequence

from knarr.build.errors import BuildFailed
from knarr.build.port import Exporter
from knarr.build.progress import Step
from knarr.engine.building.choices import Choices, choices
from knarr.engine.building.converting import converted
from knarr.engine.building.credentials import lent
from knarr.engine.building.giving import Giver
from knarr.engine.building.layouts import layout, lend, stream
from knarr.engine.building.made import Giving, Made, config
from knarr.engine.building.packing import Packed, Part, pack
from knarr.engine.building.views import Views, held
from knarr.engine.images import rows
from knarr.engine.images.holding import Hold
from knarr.engine.images.images import Images
from knarr.engine.images.making import Piece, make_index
from knarr.engine.images.rooms import Rooms
from knarr.engine.images.rows import LayerRow
from knarr.engine.images.settled import closing
from knarr.loop.blocking import blocking
from knarr.model.descriptor import Descriptor
from knarr.model.digest import Digest
from knarr.model.reference import Reference

_STORE = "export"


class Export:
    """The exporters of one engine; `aside` is for trees on their way, emptied when the engine opens."""

    def __init__(self, rooms: Rooms, images: Images, views: Views, aside: str):
        self._rooms = rooms
        self._images = images
        self._views = views
        self._giver = Giver(rooms, views, aside)

    async def to(
        self,
        exporter: Exporter,
        number: int,
        giving: Giving,
        documents: dict[Digest, bytes],
    ) -> Mapping[str, str]:
        """Gives the results away; what the client is told of it. What was made of documents is added to `documents`.
        Raises BuildFailed."""
        match exporter.type:
            case "moby" | "image":
                packed, told = await self._image(exporter, giving)
            case "oci" | "docker":
                packed, told = await self._archive(exporter, number, giving)
            case "local":
                with (
                    giving.progress.begin("exporting to client directory") as step,
                    step.task("copying files"),
                ):
                    await self._giver.directory(exporter, number, giving)
                return {}
            case "tar":
                with (
                    giving.progress.begin("exporting to client tarball") as step,
                    step.task("sending tarball"),
                ):
                    await self._giver.archive(exporter, number, giving)
                return {}
            case _:
                raise BuildFailed(f"exporter {exporter.type} is not supported by this builder")
        documents |= packed.documents
        return told

    async def _packed(self, giving: Giving, wish: Choices, step: Step, *, oci: bool) -> Packed:
        with step.task("exporting layers"):
            for each in giving.made:
                held(each.tree, giving.hold)
            parts = [
                Part(
                    each.result.platform or self._rooms.platform,
                    config(each),
                    await self._layers(each, wish, giving.hold),
                    each.attestations,
                )
                for each in giving.made
            ]
        packed = pack(parts, wish, multi=giving.multi, oci=oci)
        giving.hold.add(*map(rows.blob, packed.documents))
        for image in packed.images:
            step.done(f"exporting manifest {image.manifest.digest}")
            step.done(f"exporting config {Digest.of(image.part.config)}")
        for attached in packed.attached:
            step.done(f"exporting attestation manifest {attached.digest}")
        if packed.indexed:
            step.done(f"exporting manifest list {packed.top.digest}")
        return packed

    async def _layers(self, made: Made, wish: Choices, hold: Hold) -> tuple[Descriptor, ...]:
        if wish.compression.plain:
            return tuple(layer.blob for layer in made.tree.layers)
        return await converted(self._rooms, made.tree.layers, made.base, wish.compression, hold)

    async def _archive(
        self, exporter: Exporter, number: int, giving: Giving
    ) -> tuple[Packed, Mapping[str, str]]:
        docker = exporter.type == "docker"
        if docker and (giving.multi or any(each.attestations for each in giving.made)):
            raise BuildFailed("docker exporter does not currently support exporting manifest lists")
        wish = choices(exporter)
        lender = await giving.lender()
        with giving.progress.begin(f"exporting to {exporter.type} image format") as step:
            packed = await self._packed(giving, wish, step, oci=not docker)
            if wish.archived:
                members = layout(packed, wish.names, docker=docker)
                with step.task("sending tarball"):
                    await lender.send_file(number, packed.told(), stream(self._rooms, members))
            else:
                with step.task("sending layout"):
                    await lend(self._rooms, packed, lender.contents(_STORE))
        return packed, _told(packed, wish.names)

    async def _image(self, exporter: Exporter, giving: Giving) -> tuple[Packed, Mapping[str, str]]:
        wish = choices(exporter)
        if wish.push and not wish.names:
            raise BuildFailed("tag is needed when pushing to registry")
        with giving.progress.begin("exporting to image") as step:
            packed = await self._packed(giving, wish, step, oci=True)
            if wish.store:
                await self._store(giving, packed, _names(wish, packed), step)
            else:
                for data in packed.documents.values():
                    await blocking(self._rooms.blobs.put, data)
            if wish.push:
                await self._push(wish, packed, giving, step)
        return packed, _told(packed, wish.names)

    async def _store(self, giving: Giving, packed: Packed, names: Sequence[Reference], step: Step) -> None:
        for each in giving.made:
            await self._views.ensure(each.tree, giving.hold)
        pieces = [
            Piece(
                image.part.config,
                image.document,
                [
                    (LayerRow(chain, layer.diff, layer.size), blob)
                    for chain, layer, blob in zip(
                        each.tree.chain, each.tree.layers, image.part.layers, strict=True
                    )
                ],
            )
            for each, image in zip(giving.made, packed.images, strict=True)
        ]
        with step.task(
            f"writing image {packed.told().get('containerimage.config.digest', packed.top.digest)}"
        ):
            await make_index(
                self._rooms,
                giving.hold,
                pieces,
                packed.top.digest if packed.indexed else None,
                packed.documents,
                names,
                lambda image: [rows.event(image, str(image.id), "create", str(image.id))],
            )
        for name in names:
            step.done(f"naming to {name}")

    async def _push(self, wish: Choices, packed: Packed, giving: Giving, step: Step) -> None:
        """By its tags, or without one, by its digest alone."""
        for name in wish.names:
            auth = await lent(giving.sessions, giving.session, name.domain)
            known = packed.top.digest if wish.by_digest else None
            with step.task(f"pushing {name}"):
                async with closing(self._images.push_document(name, packed.top.digest, known, auth)) as lines:
                    async for _ in lines:
                        pass


def _names(wish: Choices, packed: Packed) -> list[Reference]:
    """What the image will be called; one that has no name may be known by a prefix and its digest."""
    digest = packed.top.digest
    if not wish.names and wish.dangling:
        return [Reference.parse(f"{wish.dangling}@{digest}")]
    if wish.by_digest:
        return [name._replace(tag=None, digest=digest) for name in wish.names]
    canonical = [name._replace(tag=None, digest=digest) for name in wish.names] if wish.canonical else []
    return [*wish.names, *canonical]


def _told(packed: Packed, names: Sequence[Reference]) -> Mapping[str, str]:
    told = packed.told()
    return {**told, "image.name": ",".join(map(str, names))} if names else told
