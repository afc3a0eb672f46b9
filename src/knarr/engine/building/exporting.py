"""Where results go: into this engine's images, to the client as a tree or an archive of one."""

import base64
import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from knarr.build.caching.config import INLINE
from knarr.build.dockerfile.frontend import Result
from knarr.build.errors import BuildFailed
from knarr.build.port import Exporter, Sessions
from knarr.build.progress import Progress, Step
from knarr.build.tree import Tree
from knarr.engine.archive import stream
from knarr.engine.building.credentials import lent
from knarr.engine.building.layouts import Part, layout
from knarr.engine.building.layouts import stream as stream_layout
from knarr.engine.building.views import Views, held
from knarr.engine.images import rows
from knarr.engine.images.config import dump_json
from knarr.engine.images.holding import Hold
from knarr.engine.images.images import Images
from knarr.engine.images.making import make_image
from knarr.engine.images.rooms import Rooms
from knarr.engine.images.rows import LayerRow
from knarr.engine.images.settled import closing
from knarr.kernel.files import write_all
from knarr.loop.blocking import blocking
from knarr.model.digest import Digest
from knarr.model.errors import Invalid
from knarr.model.image import Image
from knarr.model.reference import Reference
from knarr.snapshots.maketar import TarOptions
from knarr.snapshots.untar import UntarOptions


class Made(NamedTuple):
    """One platform's result, solved. `epoch` (seconds): no time of it is later. `inline`: the build's cache, to be carried inside."""

    result: Result
    tree: Tree
    epoch: int
    inline: bytes = b""


class Export:
    """The exporters of one engine; `aside` is for trees on their way, emptied when the engine opens."""

    def __init__(self, rooms: Rooms, images: Images, views: Views, aside: str):
        self._rooms = rooms
        self._images = images
        self._views = views
        self._aside = aside

    async def to(
        self,
        exporter: Exporter,
        number: int,
        made: Sequence[Made],
        multi: bool,
        session: str,
        sessions: Sessions,
        progress: Progress,
        hold: Hold,
    ) -> Mapping[str, str]:
        """Gives the results away; what the client is told of it. Raises BuildFailed."""
        match exporter.type:
            case "moby" | "image":
                return await self._image(exporter, made, multi, session, sessions, progress, hold)
            case "oci" | "docker":
                return await self._archive(exporter, number, made, multi, session, sessions, progress, hold)
            case "local":
                with progress.begin("exporting to client directory") as step, step.task("copying files"):
                    await self._local(number, made, multi, session, sessions, hold)
                return {}
            case "tar":
                with progress.begin("exporting to client tarball") as step, step.task("sending tarball"):
                    await self._tar(number, made, session, sessions, hold)
                return {}
        raise BuildFailed(f"exporter {exporter.type} is not supported by this builder")

    async def _archive(
        self,
        exporter: Exporter,
        number: int,
        made: Sequence[Made],
        multi: bool,
        session: str,
        sessions: Sessions,
        progress: Progress,
        hold: Hold,
    ) -> Mapping[str, str]:
        docker = exporter.type == "docker"
        if docker and multi:
            raise BuildFailed("docker exporter does not currently support exporting manifest lists")
        if not _flag(exporter, "tar", "true"):
            raise BuildFailed(
                f"exporter option tar=false of {exporter.type} is not supported by this builder"
            )
        _plain(exporter)
        names = [_reference(name) for name in exporter.attrs.get("name", "").split(",") if name]
        lender = await sessions.get(session)
        with progress.begin(f"exporting to {exporter.type} image format") as step:
            with step.task("exporting layers"):
                for each in made:
                    held(each.tree, hold)
            parts = [
                Part(each.result.platform or self._rooms.platform, config(each), each.tree) for each in made
            ]
            found = layout(parts, names, multi=multi, docker=docker)
            with step.task("sending tarball"):
                await lender.send_file(number, found.told(), stream_layout(self._rooms, found))
        told = dict(found.told())
        if names:
            told["image.name"] = ",".join(str(name) for name in names)
        return told

    async def _push(self, names: Sequence[Reference], session: str, sessions: Sessions, step: Step) -> None:
        if not names:
            raise BuildFailed("tag is needed when pushing to registry")
        for name in names:
            auth = await lent(sessions, session, name.domain)
            with step.task(f"pushing {name}"):
                async with closing(self._images.push(name, auth=auth)) as pieces:
                    async for _ in pieces:
                        pass

    async def _image(
        self,
        exporter: Exporter,
        made: Sequence[Made],
        multi: bool,
        session: str,
        sessions: Sessions,
        progress: Progress,
        hold: Hold,
    ) -> Mapping[str, str]:
        if multi or len(made) != 1:
            raise BuildFailed(
                "images of several platforms are not supported by this image store: use --output type=oci"
            )
        _plain(exporter)
        names = [_reference(name) for name in exporter.attrs.get("name", "").split(",") if name]
        with progress.begin("exporting to image") as step:
            image = await self._make(made[0], names, step, hold)
            if _flag(exporter, "push"):
                await self._push(names, session, sessions, step)
        told = {
            "containerimage.digest": str(image.manifest),
            "containerimage.config.digest": str(image.id),
        }
        if names:
            told["image.name"] = ",".join(str(name) for name in names)
        return told

    async def _make(self, made: Made, names: Sequence[Reference], step: Step, hold: Hold) -> Image:
        tree = made.tree
        with step.task("exporting layers"):
            await self._views.ensure(tree, hold)
        document = config(made)
        with step.task(f"writing image {Digest.of(document)}"):
            layers = [
                (LayerRow(chain, layer.diff, layer.size), layer.blob)
                for chain, layer in zip(tree.chain, tree.layers, strict=True)
            ]
            image = await make_image(
                self._rooms,
                hold,
                document,
                layers,
                names,
                lambda image: [rows.event(image, str(image.id), "create", str(image.id))],
            )
        for name in names:
            with step.task(f"naming to {name}"):
                pass
        return image

    async def _local(
        self, number: int, made: Sequence[Made], multi: bool, session: str, sessions: Sessions, hold: Hold
    ) -> None:
        lender = await sessions.get(session)
        root = f"{self._aside}/{secrets.token_hex(8)}"
        os.mkdir(root, 0o700)
        try:
            for each in made:
                place = f"{root}/{str(each.result.platform).replace('/', '_')}" if multi else root
                os.makedirs(place, exist_ok=True)
                await self._unpack(each.tree, place, hold)
            await lender.send_tree(number, root, multi)
        finally:
            await blocking(shutil.rmtree, root, True)

    async def _unpack(self, tree: Tree, place: str, hold: Hold) -> None:
        async with self._views.snapshot(tree, hold) as view:
            job = await self._rooms.zygote.archive_get(view, "/", TarOptions())
            unpacking = await self._rooms.zygote.unpack(place, UntarOptions())
            try:
                async for data in stream(job):
                    await blocking(write_all, unpacking.feed, data)
            finally:
                unpacking.close_feed()
            await unpacking.result()

    async def _tar(
        self, number: int, made: Sequence[Made], session: str, sessions: Sessions, hold: Hold
    ) -> None:
        (only,) = made
        lender = await sessions.get(session)
        async with self._views.snapshot(only.tree, hold) as view:
            job = await self._rooms.zygote.archive_get(view, "/", TarOptions())
            with contextlib.closing(job):
                await lender.send_file(number, {}, stream(job))


def config(made: Made) -> bytes:
    """The image's configuration, with its layers and the moments that were left open."""
    value: dict[str, Any] = json.loads(json.dumps(made.result.image))
    text = datetime.fromtimestamp(made.epoch, UTC).isoformat().replace("+00:00", "Z")
    value["created"] = text
    value["rootfs"] = {"type": "layers", "diff_ids": [str(layer.diff) for layer in made.tree.layers]}
    for step in value.get("history") or ():
        step.setdefault("created", text)
    if made.inline:
        value[INLINE] = base64.b64encode(made.inline).decode()
    return dump_json(value)


def _reference(text: str) -> Reference:
    try:
        return Reference.parse(text).tagged()
    except Invalid as error:
        raise BuildFailed(f"invalid reference format: {text}") from error


def _flag(exporter: Exporter, name: str, default: str = "false") -> bool:
    return (exporter.attrs.get(name) or default).lower() in ("true", "1")


def _plain(exporter: Exporter) -> None:
    """Raises BuildFailed for what would be made otherwise than it was asked for."""
    if exporter.attrs.get("compression", "gzip") != "gzip":
        raise BuildFailed(f"compression {exporter.attrs['compression']} is not supported by this builder")
    if any(name.startswith("annotation") for name in exporter.attrs):
        raise BuildFailed("annotations are not supported by this builder")
