"""The collaborators of images, joined by the engine."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from knarr.content.leases import Leases
from knarr.content.store import Blobs
from knarr.engine.events import Events, write_event
from knarr.engine.images.port import Registry
from knarr.engine.zygote import Zygote
from knarr.model.platform import Platform
from knarr.model.system import Event
from knarr.snapshots.port import Snapshotter
from knarr.state.database import Database

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Rooms:
    """`platform` is this machine's. `collecting` is held by whoever deletes blobs and layers. `receiving` bounds the archives
    that are read at once: each keeps one thread of the pool waiting for another."""

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

    async def commit(self, change: Callable[[sqlite3.Connection], tuple[T, Sequence[Event]]]) -> T:
        """One transaction: the change and the events that it returns beside its result."""

        def write(tx: sqlite3.Connection) -> tuple[T, list[Event]]:
            result, events = change(tx)
            return result, [write_event(tx, event) for event in events]

        result, events = await self.db.write(write)
        self.events.publish(events)
        return result
