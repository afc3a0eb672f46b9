"""Where a build's images come from: this engine's own first, else the registry, without a name being given to what is fetched.

A resolved image is remembered by the reference that the graph will name it by, so that what was seen while a Dockerfile was
read is what its steps work on; the layers of this engine's own are remembered by their manifest. The caller holds what `tree` gives.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from knarr.build.operations import Source
from knarr.build.port import Contents
from knarr.build.progress import Step
from knarr.build.tree import Layer, Tree
from knarr.engine.building.caching.supply import Supply
from knarr.engine.building.clientlayout import ClientLayout
from knarr.engine.images import pulling, rows
from knarr.engine.images.errors import NoSuchImage, PlatformNotProvided, WrongPlatform
from knarr.engine.images.holding import Hold
from knarr.engine.images.images import Images
from knarr.engine.images.layers import Layers
from knarr.engine.images.manifest import parse_manifest
from knarr.engine.images.port import Auth
from knarr.engine.images.rooms import Rooms
from knarr.loop.blocking import blocking
from knarr.model.digest import Digest
from knarr.model.errors import NotFound
from knarr.model.image import Image, Progress
from knarr.model.platform import Platform
from knarr.model.reference import Reference

_REMEMBERED = 256
Lend = Callable[[str], Awaitable[Auth | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A resolved image. `digest` is its manifest's; `fetched` is None for one of this engine's own; `rooms` are where it is
    fetched from, if that is not a registry."""

    name: str
    digest: Digest
    config: bytes
    image: Image
    fetched: "pulling.Seen | None" = None
    auth: Auth | None = None
    rooms: Rooms | None = None


class Origins:
    """Those of one engine."""

    def __init__(self, rooms: Rooms, images: Images, layers: Layers):
        self._rooms = rooms
        self._images = images
        self._layers = layers
        self._known: OrderedDict[tuple[str, str], Origin] = OrderedDict()
        self._trees: OrderedDict[Digest, Tree] = OrderedDict()

    async def resolve(
        self, reference: str, platform: Platform | None, *, pull: bool, lend: Lend, hold: Hold
    ) -> Origin:
        """`pull`: the registry is asked even if the image is here; `lend` gives credentials for its host. Raises NotFound, Denied, Unavailable."""
        ref = Reference.parse(reference).tagged()
        wanted = platform or self._rooms.platform
        origin = None if pull else await self._own(ref, wanted)
        if origin is None:
            auth = await lend(ref.domain)
            seen = await pulling.look(self._rooms, self._layers, ref, wanted, auth, hold)
            origin = Origin(
                name=f"{ref.name}:{ref.tag}@{seen.top}" if ref.tag and not ref.digest else str(ref),
                digest=seen.top,
                config=seen.config,
                image=seen.image,
                fetched=seen,
                auth=auth,
            )
        return self._remember(origin, wanted)

    def _remember(self, origin: Origin, platform: Platform) -> Origin:
        self._known[origin.name, str(platform)] = origin
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return origin

    async def layout(
        self, reference: str, platform: Platform | None, contents: Contents, hold: Hold
    ) -> Origin:
        """An image in a client's OCI layout. Raises NotFound, BadImage, BuildFailed."""
        rooms = replace(self._rooms, registry=ClientLayout(contents))
        ref, wanted = Reference.parse(reference), platform or self._rooms.platform
        seen = await pulling.look(rooms, self._layers, ref, wanted, None, hold)
        origin = Origin(
            name=str(ref), digest=seen.top, config=seen.config, image=seen.image, fetched=seen, rooms=rooms
        )
        return self._remember(origin, wanted)

    async def _own(self, ref: Reference, platform: Platform) -> Origin | None:
        try:
            image = await self._images.find(str(ref), platform)
        except (NoSuchImage, WrongPlatform, PlatformNotProvided):
            return None
        if not image.platform.matches(platform) or image.manifest is None:
            return None
        name = f"{ref.name}:{ref.tag}@{image.manifest}" if ref.tag and not ref.digest else str(ref)
        known = self._known.get((name, str(platform)))
        if known is not None and known.fetched is None and known.image.id == image.id:
            return known
        return Origin(
            name=name,
            digest=image.manifest,
            config=await self._images.raw_config(image),
            image=image,
        )

    async def tree(
        self,
        source: Source,
        platform: Platform | None,
        step: Step,
        hold: Hold,
        supply: Supply | None = None,
    ) -> Tree:
        """The image's layers, here; with a `supply` those of a registry are only offered to it. Raises what the registry says."""
        wanted = platform or self._rooms.platform
        origin = self._known.get((source.location, str(wanted)))
        if origin is None:
            origin = await self.resolve(source.location, platform, pull=False, lend=_anonymous, hold=hold)
        if origin.fetched is None:
            return await self._layers_of(origin.image, hold)
        with step.task(f"resolve {origin.name}"):
            pass
        rooms = origin.rooms or self._rooms
        if supply is not None:
            for blob in origin.fetched.layers:
                supply.offer(
                    blob.digest,
                    pulling.opener(rooms, origin.fetched.ref, blob, origin.auth),
                    cached=False,
                )
            return Tree(
                tuple(
                    Layer(diff, blob, 0)
                    for diff, blob in zip(origin.image.layers, origin.fetched.layers, strict=True)
                )
            )

        def report(_: Progress) -> None:
            """The step's own line is enough."""

        found = await pulling.bring(rooms, self._layers, origin.fetched, origin.auth, report, hold)
        return Tree(
            tuple(
                Layer(row.diff, blob, row.size)
                for row, blob in zip(found, origin.fetched.layers, strict=True)
            )
        )

    async def _layers_of(self, image: Image, hold: Hold) -> Tree:
        if image.manifest is None:
            raise NotFound(f"No such image: {image.id}")
        known = self._trees.get(image.manifest)
        if known is not None:
            return known
        hold.add(*map(rows.layer, rows.chain(image)))
        manifest = parse_manifest(await blocking(self._rooms.blobs.read, image.manifest))
        hold.add(*(rows.blob(blob.digest) for blob in manifest.layers))
        sizes = await self._rooms.db.read(rows.layer_sizes)
        tree = self._trees[image.manifest] = Tree(
            tuple(
                Layer(diff, blob, sizes.get(str(chain), 0))
                for chain, diff, blob in zip(rows.chain(image), image.layers, manifest.layers, strict=True)
            )
        )
        if len(self._trees) > _REMEMBERED:
            self._trees.popitem(last=False)
        return tree


async def _anonymous(_: str) -> Auth | None:
    return None
