"""Commit as users ask for it: what a container has changed becomes an image, with the container's configuration."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from knarr.engine import archive, plan
from knarr.engine.errors import NotRunning
from knarr.engine.images.changes import apply_changes
from knarr.engine.images.committing import Draft
from knarr.engine.images.images import Images
from knarr.engine.lifecycle import Lifecycle
from knarr.engine.live import Live
from knarr.engine.views import placeholders
from knarr.engine.world import World
from knarr.engine.zygote_jobs import RootView
from knarr.loop.blocking import blocking
from knarr.model.container import ContainerSpec, Status
from knarr.model.errors import Conflict
from knarr.model.image import Image, ImageConfig
from knarr.model.mount import Mount
from knarr.model.reference import Reference
from knarr.snapshots.maketar import TarOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """`config` goes over the container's own configuration, `changes` (instructions) over both."""

    ref: Reference | None = None
    config: ContainerSpec | None = None
    changes: Sequence[str] = ()
    author: str = ""
    comment: str = ""
    pause: bool = True


async def commit(world: World, images: Images, lifecycle: Lifecycle, live: Live, wish: Commit) -> Image:
    """While it is read the container stands still, unless told otherwise. Raises Invalid, NoSuchImage."""
    config = config_of(live.spec)
    if wish.config is not None:
        config = config_of(plan.merge(wish.config, config))
    config = apply_changes(config, wish.changes)
    delta = await blocking(world.snapshots.delta, live.id)
    draft = Draft(
        base=(await images.get(live.row.image)).image,
        config=config,
        created_by=" ".join(live.spec.command or ()),
        author=wish.author,
        comment=wish.comment,
        whole=delta.form != "overlay",
    )
    paused = False
    if wish.pause and live.status is Status.RUNNING:
        with contextlib.suppress(NotRunning):
            await lifecycle.pause(live)
            paused = True
    try:
        return await _take(world, images, live, draft, wish.ref)
    finally:
        if paused:
            with contextlib.suppress(Conflict):
                await lifecycle.unpause(live)


async def _take(world: World, images: Images, live: Live, draft: Draft, ref: Reference | None) -> Image:
    image = await images.commit(draft, _layer(world, live, whole=draft.whole), ref)
    name = ref.familiar if ref else ""
    world.tell(live.event("commit", comment=draft.comment, imageID=str(image.id), imageRef=name))
    return image


async def _layer(world: World, live: Live, *, whole: bool) -> AsyncIterator[bytes]:
    """The container's own layer (its whole tree, where the driver has no layers), without what the engine put there."""
    delta = await blocking(world.snapshots.delta, live.id)
    view = RootView(mounts=(Mount("bind", delta.upper, ("rbind", "ro")),))
    left_out = await blocking(placeholders, world, live)
    job = await world.zygote.archive_get(view, "/", TarOptions(whiteouts=not whole, without=left_out))
    async for data in archive.stream(job):
        yield data


def config_of(spec: ContainerSpec) -> ImageConfig:
    """What an image can say of all that a container was asked to be."""
    return ImageConfig(
        user=spec.user,
        exposed_ports=spec.exposed_ports,
        environment=spec.environment,
        entrypoint=spec.entrypoint,
        command=spec.command,
        volumes=spec.volumes,
        working_dir=spec.working_dir,
        labels=spec.labels,
        stop_signal=spec.stop_signal,
        healthcheck=spec.healthcheck,
        shell=spec.shell,
        on_build=spec.on_build,
    )
