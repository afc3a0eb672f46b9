"""Puts the builder of an engine together, when the first build comes: most days nothing is built."""

import asyncio
from collections.abc import AsyncIterator

from knarr.build.entitlements import INSECURE, NETWORK
from knarr.build.frontdoor.door import FrontDoor
from knarr.build.frontdoor.worker import Facts
from knarr.build.pruning import Pruning
from knarr.engine.building.attesting import Attestor
from knarr.engine.building.builder import EngineBuilder
from knarr.engine.building.caching.exporting import CacheExport
from knarr.engine.building.caching.importing import Importer
from knarr.engine.building.classic import Line
from knarr.engine.building.direct import Builds, DirectWish
from knarr.engine.building.emulation import runnable
from knarr.engine.building.exporting import Export
from knarr.engine.building.history import History
from knarr.engine.building.hoard import Hoard
from knarr.engine.building.origins import Origins
from knarr.engine.building.remotes import Remotes
from knarr.engine.building.requests import ClassicWish, build
from knarr.engine.building.running import Runner
from knarr.engine.building.stepmounts import Workplace
from knarr.engine.building.views import Views
from knarr.engine.ending import Ender
from knarr.engine.images.images import Images
from knarr.engine.images.rooms import Rooms
from knarr.engine.live import Roster
from knarr.engine.places import Places
from knarr.engine.preparing import host_gateways
from knarr.engine.settings import BuilderSettings
from knarr.engine.volumemounts import VolumeMounts
from knarr.engine.world import World
from knarr.loop.blocking import blocking


class Workshop:
    """Makes the front door once, for whoever asks first."""

    def __init__(
        self,
        world: World,
        rooms: Rooms,
        images: Images,
        roster: Roster,
        places: Places,
        mounts: VolumeMounts,
        ender: Ender,
        worker: str,
        hoard: Hoard,
    ):
        root = f"{world.paths.data_root}/build"
        self._hoard = hoard
        self._files = hoard.files
        self._workplace = Workplace(
            world, self._files, hoard.mounts, f"{root}/mounts", f"{world.paths.exec_root}/build"
        )
        runner = Runner(world, roster, places, mounts, ender, self._workplace)
        views = Views(rooms)
        origins = Origins(rooms, images, images.layers)
        export = Export(rooms, images, views, f"{root}/mounts")
        remotes = Remotes(self._files, f"{root}/mounts")
        self.builder = EngineBuilder(
            rooms,
            views,
            self._files,
            origins,
            remotes,
            runner,
            export,
            hoard,
            Importer(rooms, images),
            CacheExport(rooms, hoard.mounts),
            images.layers,
            Attestor(rooms, remotes.pins),
        )
        self._world = world
        self._rules: tuple[Pruning, ...] = ()
        facts = Facts(
            name=worker,
            platforms=lambda: runnable(rooms.platform),
            gateways=lambda: host_gateways(world),
            rules=lambda: self._rules,
            allowed=_allowed(world.settings.builder),
        )
        history = History(rooms, world.settings.builder)
        self._door = FrontDoor(self.builder, self._files, hoard, history, facts)
        self._direct = Builds(self._door, self._files, hoard)
        self._opening = asyncio.Lock()
        self._opened = False

    async def door(self) -> FrontDoor:
        """The door, its directories made."""
        await self._open()
        return self._door

    async def classic(self, wish: ClassicWish, body: AsyncIterator[bytes]) -> AsyncIterator[Line]:
        """A build by the classic API; see `requests.build`."""
        await self._open()
        wish = wish.resolved(host_gateways(self._world))
        return await build(self.builder, self._files, self._hoard, wish, body)

    async def direct(self, wish: DirectWish, body: AsyncIterator[bytes]) -> AsyncIterator[Line]:
        """A build by the classic API in BuildKit's manner; see `direct`."""
        await self._open()
        return await self._direct.build(wish.resolved(host_gateways(self._world)), body)

    def cancel(self, known: str) -> None:
        """Ends a build of that kind."""
        self._direct.cancel(known)

    async def _open(self) -> None:
        async with self._opening:
            if not self._opened:
                await blocking(self._files.open)
                await blocking(self._workplace.open)
                self._rules = await blocking(self._hoard.rules)
                self._opened = True


def _allowed(settings: BuilderSettings) -> frozenset[str]:
    """The entitlements that builds may have."""
    found = {NETWORK: settings.network_host, INSECURE: settings.insecure}
    return frozenset(name for name, given in found.items() if given)
