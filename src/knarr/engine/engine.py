"""The engine: `engine = await Engine.open(Settings(...))`, then its groups, then `await engine.close()`.

The composition of the rooms: every object is built here by hand. Containers outlive `close`.
"""

import asyncio
import contextlib
import platform
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self

from knarr.content.leases import Leases
from knarr.content.store import Blobs
from knarr.engine import attaching, default_bridge, rows, userns
from knarr.engine.cgroups import remove_empty
from knarr.engine.containers import Containers
from knarr.engine.creating import Creator
from knarr.engine.ending import Ender
from knarr.engine.events import Events
from knarr.engine.execs import Execs
from knarr.engine.health import Monitor
from knarr.engine.images.images import Images
from knarr.engine.images.port import Registry
from knarr.engine.images.rooms import Rooms
from knarr.engine.lifecycle import Lifecycle
from knarr.engine.live import Live, Roster
from knarr.engine.names import new_id
from knarr.engine.namespaces import Namespaces
from knarr.engine.nets import Net
from knarr.engine.networks import Networks, addresses
from knarr.engine.nowhere import Nowhere
from knarr.engine.paths import Paths
from knarr.engine.places import Places
from knarr.engine.recovery import Recovery
from knarr.engine.seccomp import default_profile
from knarr.engine.settings import Settings
from knarr.engine.system import System
from knarr.engine.trash import Trash
from knarr.engine.volumemounts import VolumeMounts
from knarr.engine.volumes import Volumes
from knarr.engine.world import World, host_facts, now, own_capabilities
from knarr.engine.zygote import Zygote
from knarr.kernel.cgroups.hierarchy import find
from knarr.loop.blocking import blocking
from knarr.loop.tasks import Tasks
from knarr.model.platform import Platform
from knarr.network.addresses import Addresses
from knarr.network.bridge import Bridge
from knarr.network.errors import FirewallMissing
from knarr.snapshots.driver import open_driver
from knarr.state.database import Database

if TYPE_CHECKING:
    from knarr.build.frontdoor.door import FrontDoor
    from knarr.engine.building.compose import Workshop
    from knarr.engine.building.direct import DirectWish
    from knarr.engine.building.hoard import Hoard
    from knarr.engine.building.requests import ClassicWish

_PATIENCE = 10.0


class Engine:
    """One engine on one data root."""

    settings: Settings
    images: Images
    containers: Containers
    execs: Execs
    volumes: Volumes
    networks: Networks
    system: System
    events: Events
    _world: World

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._stack = AsyncExitStack()
        self._workshop: Callable[[], Workshop]
        self._building: Workshop | None = None
        self._cache: Hoard | None = None

    @classmethod
    async def open(cls, settings: Settings, registry: Registry | None = None) -> Self:
        """Opens the state, starts the zygote, makes the bridge, and recovers what an earlier daemon left.

        `registry` stands in for the network's registries.
        """
        engine = cls(settings)
        try:
            await engine._open(registry)
        except BaseException:
            await engine.close()
            raise
        return engine

    async def _open(self, registry: Registry | None) -> None:
        paths = Paths.of(self.settings.data_root, self.settings.exec_root)
        await blocking(paths.make)
        db = await Database.open(paths.database)
        self._stack.push_async_callback(db.close)
        self.events = Events(db)
        self._stack.callback(self.events.close)
        zygote = await Zygote.start(paths.exec_root)
        self._stack.push_async_callback(zygote.close)
        self._world = world = await self._make_world(paths, db, zygote)
        self.images = await self._images(world, registry or Nowhere())
        self.images.limit(self.settings.max_concurrent_downloads, self.settings.max_concurrent_uploads)
        await self._groups(world)

    async def _make_world(self, paths: Paths, db: Database, zygote: Zygote) -> World:
        hierarchy = await blocking(find)
        remap = await blocking(userns.read_remap, self.settings.userns_remap)
        chores = Tasks("chores")
        namespaces = Namespaces(chores)
        self._stack.callback(namespaces.close)
        world = World(
            settings=self.settings,
            paths=paths,
            db=db,
            events=self.events,
            zygote=zygote,
            snapshots=await blocking(
                open_driver, f"{paths.data_root}/snapshots", self.settings.storage_driver
            ),
            tasks=Tasks("engine"),
            chores=chores,
            namespaces=namespaces,
            hierarchy=hierarchy,
            host=host_facts(self.settings, hierarchy, remapped=remap is not None),
            remap=remap,
            capabilities=own_capabilities(),
            seccomp=await blocking(default_profile, self.settings.seccomp_profile),
        )
        world.bridge = self._open_bridge()
        world.daemon_id = await _lasting(db, "engine.id", new_id()[:32])
        created = int(await _lasting(db, "engine.created", str(now())))
        if self.settings.bridge != "none":
            key = await _lasting(db, "network.bridge", new_id())
            world.nets.add(await default_bridge.make(world, key, created))
        for name, driver in (("host", "host"), ("none", "null")):
            world.nets.add(Net(await _lasting(db, f"network.{name}", new_id()), name, driver, created))
        return world

    def _open_bridge(self) -> Bridge | None:
        """Without the kernel's side a daemon can still serve, if it shall have no default bridge."""
        try:
            bridge = Bridge(
                obey=self.settings.publish_firewall == "obey",
                forward=self.settings.ip_forward,
                relay=self.settings.userland_proxy,
            )
        except FirewallMissing:
            if self.settings.bridge == "none":
                return None
            raise
        self._stack.callback(bridge.close)
        return bridge

    async def _images(self, world: World, registry: Registry) -> Images:
        rooms = Rooms(
            db=world.db,
            events=world.events,
            blobs=await blocking(Blobs, f"{world.paths.data_root}/content"),
            leases=await blocking(Leases, f"{world.paths.data_root}/leases"),
            snapshots=world.snapshots,
            zygote=world.zygote,
            registry=registry,
            platform=Platform.of_machine(platform.machine()),
        )
        return Images(rooms)

    async def _groups(self, world: World) -> None:
        roster = Roster()
        for row in await world.db.read(rows.load_containers):
            roster.add(Live(row))
        self.volumes = Volumes(world, roster)
        await self.volumes.load()
        if (net := world.nets.bridge) is not None and net.config is not None:
            parts = default_bridge.parts(self.settings, net.config)
            net.pool = Addresses.of(net.config, addresses(roster, net), parts)
        places = Places(world)
        self._stack.callback(places.close)
        self.networks = Networks(world, roster, places)
        await self.networks.load()
        ender = Ender(world, roster, self.volumes, places, Trash(world, self.images.collect))
        self.execs = Execs(world, roster)
        lifecycle = Lifecycle(world, roster, ender, Monitor(world, self.execs), places, self.volumes.mounts)
        creator = Creator(world, roster, self.volumes, self.images)
        self.containers = Containers(world, roster, creator, lifecycle, self.images, places, self.volumes)
        self.system = System(world, self.containers, self.volumes, self.images, world.daemon_id)
        self._stack.push_async_callback(_let_go, world, roster)
        self._workshop = lambda: workshop(
            world,
            self.images,
            roster,
            places,
            self.volumes.mounts,
            ender,
            world.daemon_id,
            self.build_cache(),
        )
        recovery = Recovery(world, roster, lifecycle, ender, self.execs, places, self.volumes.mounts)
        await recovery.recover()
        await self.images.recover()
        await recovery.start_containers()
        world.namespaces.refill()

    async def reload(self, settings: Settings, attributes: Mapping[str, str]) -> None:
        """What may change in an engine that runs changes; `attributes` tell of it."""
        world = self._world
        self.settings = world.settings = settings
        world.host = host_facts(settings, world.hierarchy, remapped=world.remap is not None)
        self.images.limit(settings.max_concurrent_downloads, settings.max_concurrent_uploads)
        await self.system.tell("reload", attributes)

    async def unmake(self) -> None:
        """Takes the default bridge away, for an engine that shall leave nothing behind: no container may be in it, and nothing
        but `close` may follow."""
        net = self._world.nets.bridge
        if net is not None and net.config is not None and self._world.bridge is not None:
            await self._world.bridge.settle()
            await self._world.bridge.teardown(net.config)

    async def front_door(self) -> "FrontDoor":
        """Where BuildKit's clients knock; the builder is made when the first comes."""
        return await self._builder().door()

    async def classic_build(
        self, wish: "ClassicWish", body: AsyncIterator[bytes]
    ) -> AsyncIterator[dict[str, Any]]:
        """A build from an archive; see engine.building.requests."""
        return await self._builder().classic(wish, body)

    async def direct_build(
        self, wish: "DirectWish", body: AsyncIterator[bytes]
    ) -> AsyncIterator[dict[str, Any]]:
        """A build that tells what BuildKit's would; see engine.building.direct."""
        return await self._builder().direct(wish, body)

    def cancel_build(self, known: str) -> None:
        """Ends such a build, if there is one of that name."""
        if self._building is not None:
            self._building.cancel(known)

    def build_cache(self) -> "Hoard":
        """What builds have left; it can be looked at without the builder."""
        if self._cache is None:
            from knarr.engine.building.hoard import Hoard

            self._cache = Hoard(
                self.images.rooms, f"{self._world.paths.data_root}/build", self.settings.builder
            )
            self._stack.push_async_callback(self._cache.close)
        return self._cache

    def _builder(self) -> "Workshop":
        if self._building is None:
            self._building = self._workshop()
        return self._building

    async def close(self) -> None:
        """Lets go of everything; running containers go on."""
        await self._stack.aclose()


async def _let_go(world: World, roster: Roster) -> None:
    """What was begun to clean up is cleaned up; shims are left alone."""
    if world.wholes:
        _, waiting = await asyncio.wait(world.wholes, timeout=_PATIENCE)
        for task in waiting:
            task.cancel()
    world.closing = True
    world.namespaces.close()
    world.events.close()
    await world.tasks.close()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(world.chores.drain(), _PATIENCE)
    await world.chores.close()
    for live in roster:
        attaching.drop(live)
        live.release_netns()
        if live.shim is not None:
            await live.shim.close()
    await blocking(remove_empty, world.paths.cgroup, world.hierarchy)


def workshop(
    world: World,
    images: Images,
    roster: Roster,
    places: Places,
    mounts: VolumeMounts,
    ender: Ender,
    worker: str,
    cache: "Hoard",
) -> "Workshop":
    """Builds, loaded when they are first asked for: gRPC and the Dockerfile language weigh more than all the rest."""
    from knarr.engine.building.compose import Workshop

    return Workshop(world, images.rooms, images, roster, places, mounts, ender, worker, cache)


async def _lasting(db: Database, key: str, default: str) -> str:
    return await db.write(lambda tx: rows.setting(tx, key, default))
