"""The collaborators of images, joined by the engine."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from knarr.content.leases import Leases
from knarr.content.store import Blobs
from knarr.engine.events import Events, write_event
from knarr.engine.images.lasting import Lasting
from knarr.engine.images.port import Registry
from knarr.engine.zygote import Zygote
from knarr.model.image import Image
from knarr.model.platform import Platform
from knarr.model.system import Event
from knarr.snapshots.port import Snapshotter
from knarr.state.database import Database

T = TypeVar("T")
_REMEMBERED = 100


@dataclass(slots=True, kw_only=True)
class Rooms:
    """`platform` is this machine's. `collecting` is held by whoever deletes blobs and layers. `receiving` bounds the archives
    that are read at once: each keeps one thread of the pool waiting for another. `found` remembers what `look_up` read since
    the last change of any image; `changes` counts those. `uploads` is how many layers are pushed at a time, 0 for the default."""

    db: Database
    events: Events
    blobs: Blobs
    leases: Leases
    snapshots: Snapshotter
    zygote: Zygote
    registry: Registry
    platform: Platform
    collecting: asyncio.Lock = field(default_factory=asyncio.Lock)
    receiving: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))
    found: dict[str, Image] = field(default_factory=dict)
    changes: int = 0
    uploads: int = 0
    lasting: Lasting = field(default_factory=Lasting)

    async def commit(self, change: Callable[[sqlite3.Connection], tuple[T, Sequence[Event]]]) -> T:
        """One transaction: the change and the events that it returns beside its result."""

        def write(tx: sqlite3.Connection) -> tuple[T, list[Event]]:
            result, events = change(tx)
            return result, [write_event(tx, event) for event in events]

        try:
            result, events = await self.db.write(write)
        finally:
            self.changes += 1
            self.found.clear()
        self.events.publish(events)
        return result

    async def look_up(self, name: str, read: Callable[[sqlite3.Connection], Image]) -> Image:
        """What `read` gives for `name`, from memory if no image has changed since it was read."""
        known = self.found.get(name)
        if known is not None:
            return known
        before = self.changes
        image = await self.db.read(read)
        if before == self.changes and len(self.found) < _REMEMBERED:
            self.found[name] = image
        return image
