"""The engine: `engine = await Engine.open(Settings(...))`, then its groups, then `await engine.close()`.

The composition of the rooms: every object is built here by hand. Containers outlive `close`.
"""

from typing import Self

from knarr.engine.containers import Containers
from knarr.engine.events import Events
from knarr.engine.execs import Execs
from knarr.engine.networks import Networks
from knarr.engine.settings import Settings
from knarr.engine.system import System
from knarr.engine.volumes import Volumes


class Engine:
    """One engine on one data root; `images` is `engine.images`' facade."""

    settings: Settings
    containers: Containers
    execs: Execs
    volumes: Volumes
    networks: Networks
    system: System
    events: Events

    @classmethod
    async def open(cls, settings: Settings) -> Self:
        """Opens the state, starts the zygote, makes the bridge, and recovers what an earlier daemon left."""
        raise NotImplementedError

    async def close(self) -> None:
        """Lets go of everything; running containers go on."""
        raise NotImplementedError
