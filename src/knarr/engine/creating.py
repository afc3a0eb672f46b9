"""Makes a container: plan, volumes, snapshot, then one transaction. What fails half-way leaves nothing.

Recovery needs no row for what is prepared before the transaction: snapshots and directories that no row names are swept,
and volumes have rows of their own (`volumes.py`).
"""

import contextlib
import os
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from platform import machine
from typing import Protocol

from knarr.engine import links, rows, userns
from knarr.engine.checks import check_name
from knarr.engine.endpoint_plan import check_endpoint
from knarr.engine.errors import BindSourceMissing, NameTaken, NoSuchContainer
from knarr.engine.images.errors import WrongPlatform
from knarr.engine.images.manifest import serving
from knarr.engine.live import Live, Roster
from knarr.engine.names import new_id, numbered, random_name
from knarr.engine.nets import asked_for
from knarr.engine.placing import Placer, Wishes
from knarr.engine.plan import Planned, plan_container
from knarr.engine.record import Extra, Placed, Row
from knarr.engine.values import Created
from knarr.engine.volumes import Volumes, event, is_empty
from knarr.engine.world import World, now
from knarr.engine.zygote_jobs import RootView
from knarr.loop.blocking import blocking
from knarr.model.container import ContainerSpec, ContainerState, Status
from knarr.model.descriptor import chain_ids
from knarr.model.digest import Digest
from knarr.model.errors import Conflict, Invalid, NotFound
from knarr.model.image import Image, ImageView
from knarr.model.mount import Mount
from knarr.model.platform import Platform
from knarr.model.undo import Undo
from knarr.snapshots.errors import NoSuchPath, NotADirectory
from knarr.snapshots.tree import discard_tree
from knarr.state.errors import Taken


class ImageSource(Protocol):
    """What creating needs of `engine.images`."""

    async def get(self, name: str) -> ImageView:
        """Raises NoSuchImage."""

    async def find(self, name: str, platform: Platform | None = None) -> Image:
        """Raises NoSuchImage, WrongPlatform."""


class Creator:
    """Makes containers."""

    def __init__(self, world: World, roster: Roster, volumes: Volumes, images: ImageSource) -> None:
        self._world = world
        self._roster = roster
        self._volumes = volumes
        self._images = images
        self._placer = Placer(world, roster, volumes)

    async def create(self, asked: ContainerSpec, name: str | None) -> Created:
        """Raises NoSuchImage, NameTaken, Invalid."""
        bare = check_name(name) if name else ""
        container_id = new_id()
        image = await self._images.find(
            asked.image, Platform.parse(asked.platform) if asked.platform else None
        )
        warnings = self._check_platform(asked, image)
        asked = self._resolve(asked)
        planned = plan_container(container_id, asked, image.config, self._world.host)
        inherited = [mount for text in planned.spec.volumes_from for mount in self._placer.inherited(text)]
        images = {
            each.source: await self._images.find(each.source)
            for each in (*planned.spec.mounts, *inherited)
            if each.type == "image"
        }
        wishes = self._placer.decide(container_id, planned.spec, inherited, images)
        chain = chain_ids(image.layers)
        async with Undo() as undo:
            name = self._reserve(bare, container_id)
            undo.push(self._release, name)
            rootfs = await self._prepare(undo, container_id, chain, wishes)
            row = self._row(container_id, name, planned, image, chain, wishes)
            row = await self._write(row, wishes)
            undo.keep()
        self._volumes.use(container_id, _volume_names(row))
        self._roster.add(Live(row, rootfs=rootfs))
        return Created(container_id, (*warnings, *planned.warnings))

    def _check_platform(self, asked: ContainerSpec, image: Image) -> tuple[str, ...]:
        """Raises WrongPlatform for another than was asked for; warns of one that this machine is not."""
        if asked.platform:
            wanted = Platform.parse(asked.platform)
            if not image.platform.matches(wanted):
                raise WrongPlatform(asked.image, image.platform, wanted)
            return ()
        host = Platform.of_machine(machine())
        if any(image.platform.matches(each) for each in serving(host)):
            return ()
        mismatch = f"({image.platform}) does not match the detected host platform ({host})"
        return (f"The requested image's platform {mismatch} and no specific platform was requested",)

    def _identified(self, mode: str) -> str:
        if mode.startswith("container:") and mode != "container:":
            try:
                return f"container:{self._roster.find(mode.partition(':')[2]).id}"
            except NoSuchContainer as error:
                raise Invalid(str(error)) from None
        return mode

    def _resolve(self, asked: ContainerSpec) -> ContainerSpec:
        """Names of other containers become ids; whose network is not there is missed at the start. Raises Invalid."""
        modes = (asked.network_mode, asked.pid_mode, asked.ipc_mode)
        if any(mode.startswith("container:") for mode in modes):
            network, pid, ipc = modes
            with contextlib.suppress(Invalid):
                network = self._identified(network)
            pid, ipc = self._identified(pid), self._identified(ipc)
            asked = replace(asked, network_mode=network, pid_mode=pid, ipc_mode=ipc)
        if links.legacy(asked):
            asked = replace(asked, links=links.resolve(asked.links, self._roster))
        for each in asked_for(asked):
            net = self._world.nets.named(each.network) or self._world.nets.get(each.network)
            try:
                if net is not None:
                    check_endpoint(each, net.value)
            except Invalid as error:
                raise Invalid(f"invalid config for network {each.network}: {error}") from None
        return asked

    def _reserve(self, name: str, container_id: str) -> str:
        if name:
            self._roster.reserve(name, container_id)
            return name
        candidate = random_name()
        while True:
            try:
                self._roster.reserve(candidate, container_id)
            except NameTaken:
                candidate = numbered(candidate)
            else:
                return candidate

    async def _release(self, name: str) -> None:
        self._roster.release(name)

    async def _prepare(
        self, undo: Undo, container_id: str, chain: Sequence[Digest], wishes: Wishes
    ) -> tuple[Mount, ...]:
        made = [name for name, _ in wishes.volumes]
        if made:
            await self._volumes.begin(wishes.volumes, making_for=container_id)
            undo.push(self._volumes.undo, made)
        undo.push(self._remove, container_id, wishes.placed)
        missing = [
            mount.source for mount in wishes.placed if mount.type == "bind" and mount.asked_by == "mounts"
        ]
        mounted = self._volumes.mounts.wanted(wishes.filled)
        plain = [mount.source for mount in wishes.filled if mount.name not in mounted]
        mounts, empty = await blocking(self._prepare_disk, container_id, chain, missing, plain)
        for mount in wishes.placed:
            if mount.snapshot:
                layers = [Digest.parse(text) for text in mount.chain]
                await blocking(self._world.snapshots.prepare, mount.snapshot, layers, volatile=True)
        for mount in wishes.filled:
            if mount.source in empty:
                await self._world.zygote.copy_up(RootView(mounts=mounts), mount.target, mount.source)
            elif mount.name in mounted:
                await self._fill_mounted(container_id, RootView(mounts=mounts), mount)
        return mounts

    async def _fill_mounted(self, container_id: str, view: RootView, mount: Placed) -> None:
        """Only if the image has something for it is its file system needed already."""
        try:
            await self._world.zygote.archive_stat(view, f"{mount.target}/")
        except (NoSuchPath, NotADirectory):
            return
        async with self._volumes.mounts.held(f"filling for {container_id}", [mount]):
            if await blocking(is_empty, mount.source):
                await self._world.zygote.copy_up(view, mount.target, mount.source)

    def _prepare_disk(
        self, container_id: str, chain: Sequence[Digest], binds: Sequence[str], volumes: Sequence[str]
    ) -> tuple[tuple[Mount, ...], set[str]]:
        for source in binds:
            if not os.path.exists(source):
                raise BindSourceMissing(source)
        os.mkdir(self._world.paths.container(container_id), 0o710)
        mounts = self._world.snapshots.prepare(container_id, chain)
        return mounts, {path for path in volumes if is_empty(path)}

    async def _remove(self, container_id: str, placed: Sequence[Placed]) -> None:
        await blocking(discard_disk, self._world, container_id, placed)
        await blocking(self._world.snapshots.empty_trash)

    def _row(
        self,
        container_id: str,
        name: str,
        planned: Planned,
        image: Image,
        chain: Sequence[Digest],
        wishes: Wishes,
    ) -> Row:
        parent = planned.spec.cgroup_parent or self._world.settings.cgroup_parent
        return Row(
            id=container_id,
            name=name,
            created=now(),
            image=str(image.id),
            spec=planned.spec,
            state=ContainerState(status=Status.CREATED),
            extra=Extra(
                path=planned.path,
                args=planned.args,
                chain=tuple(str(digest) for digest in chain),
                mounts=tuple(wishes.placed),
                cgroup=f"{parent.rstrip('/') or self._world.paths.cgroup}/{container_id}",
                ids=self._shared_ids(planned.spec),
            ),
        )

    def _shared_ids(self, spec: ContainerSpec) -> userns.Ids:
        """The daemon's mapping; none for a container without a user namespace, or with a range that is yet to be found."""
        remap = self._world.remap
        mode = userns.mode_of(spec)
        mapped = userns.is_mapped(mode, remap is not None)
        own = userns.has_own_range(mode, remap is not None)
        return remap if mapped and not own and remap is not None else userns.Ids()

    async def _write(self, row: Row, wishes: Wishes) -> Row:
        """The row as it is written: a range of ids is chosen in the transaction that takes it."""
        made = [name for name, _ in wishes.volumes]
        areas: Sequence[tuple[int, int]] = ()
        if userns.has_own_range(userns.mode_of(row.spec), self._world.remap is not None):
            areas = await blocking(userns.read_areas)

        def write(tx: sqlite3.Connection) -> None:
            nonlocal row
            for image in (row.image, *(mount.image for mount in row.extra.mounts if mount.image)):
                if not rows.has_image(tx, image):
                    raise NotFound(f"No such image: {row.spec.image}")
            if areas:
                first = userns.choose(row.id, areas, rows.ranges_taken(tx))
                row = replace(row, extra=replace(row.extra, ids=userns.own_ids(first)))
            rows.insert_container(tx, row)
            if areas:
                rows.claim_range(tx, row.id, first)
            self._volumes.finish(tx, made)
            rows.use_volumes(tx, row.id, _volume_names(row))

        try:
            await self._world.commit(
                write, *(event("create", name, "local") for name in made), Live(row).event("create")
            )
        except Taken as error:
            if error.columns == "containers.name":
                raise NameTaken(row.name, "?") from error
            raise Conflict("a volume of the container was removed meanwhile") from error
        self._volumes.finished(made)
        return row


def _volume_names(row: Row) -> list[str]:
    return [mount.name for mount in row.extra.mounts if mount.name]


def discard_disk(world: World, container_id: str, placed: Sequence[Placed]) -> None:
    """Removes what is on disk of a container whose row is gone or never came."""
    world.snapshots.remove(container_id)
    for mount in placed:
        if mount.snapshot:
            world.snapshots.remove(mount.snapshot)
    _remove_files(world.paths.container(container_id))
    _remove_files(world.paths.run(container_id))


def _remove_files(directory: str) -> None:
    """A directory that has files only, as a rule; a shim on its way out may take its own away meanwhile."""
    try:
        for name in os.listdir(directory):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{directory}/{name}")
        os.rmdir(directory)
    except FileNotFoundError:
        return
    except OSError:
        discard_tree(directory)
