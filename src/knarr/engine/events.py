"""Events: rows written in the transaction that causes them; the stream is a tail of that table.

`World.commit` writes a change and its events together and then calls `publish`. Old events are dropped behind `KEPT`.
"""

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from knarr.engine import filters
from knarr.engine.values import EventOptions
from knarr.model.system import Event
from knarr.state.database import Database

KEPT = 20_000
_EVERY = 1_000
_TYPES = frozenset(
    ("container", "image", "volume", "network", "daemon", "plugin", "service", "node", "secret", "config")
)
_COLUMNS = "number, at, type, action, subject, attributes"


def write_event(tx: sqlite3.Connection, event: Event) -> Event:
    """Inserts the event and returns it with its number; call it in the transaction of what happened."""
    number = tx.execute(
        "INSERT INTO events (at, type, action, subject, attributes) VALUES (?, ?, ?, ?, ?)",
        (event.at, event.type, event.action, event.id, json.dumps(dict(event.attributes))),
    ).lastrowid
    assert number is not None
    if number % _EVERY == 0:
        tx.execute("DELETE FROM events WHERE number <= ?", (number - KEPT,))
    return _numbered(event, number)


def _numbered(event: Event, number: int) -> Event:
    return Event(
        type=event.type,
        action=event.action,
        id=event.id,
        at=event.at,
        attributes=event.attributes,
        number=number,
    )


def _decode(row: tuple[Any, ...]) -> Event:
    number, at, kind, action, subject, attributes = row
    return Event(
        type=kind, action=action, id=subject, at=at, attributes=json.loads(attributes), number=number
    )


class Events:
    """The stream of what happens."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._queues: set[asyncio.Queue[Event | None]] = set()

    @property
    def listeners(self) -> int:
        """How many streams are open."""
        return len(self._queues)

    def publish(self, events: Iterable[Event]) -> None:
        """Tells the open streams of events that are in the database."""
        for event in events:
            for queue in self._queues:
                queue.put_nowait(event)

    def close(self) -> None:
        """Ends every open stream."""
        for queue in self._queues:
            queue.put_nowait(None)

    async def subscribe(self, options: EventOptions) -> AsyncIterator[Event]:
        """Registered when it returns: nothing that happens afterwards is missed. The caller closes the iterator.

        What was answered before the call is no news: records that are still under way are waited for.
        """
        await self._db.write(_nothing)
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._queues.add(queue)
        try:
            earlier = await self._earlier(options)
        except BaseException:
            self._queues.discard(queue)
            raise
        return self._tail(queue, earlier, options)

    async def _earlier(self, options: EventOptions) -> list[Event]:
        if not options.since and options.until is None:
            return []
        rows = await self._db.read(
            lambda tx: tx.execute(
                f"SELECT {_COLUMNS} FROM events WHERE at >= ? AND at <= ? ORDER BY number",
                (options.since, options.until if options.until is not None else (1 << 63) - 1),
            ).fetchall()
        )
        return [_decode(row) for row in rows]

    async def _tail(
        self, queue: "asyncio.Queue[Event | None]", earlier: list[Event], options: EventOptions
    ) -> AsyncIterator[Event]:
        try:
            last = 0
            for event in earlier:
                last = event.number
                if matches(event, options.filters):
                    yield event
            while (found := await _next(queue, options.until)) is not None:
                if found.number > last and matches(found, options.filters):
                    yield found
        finally:
            self._queues.discard(queue)


def _nothing(_tx: sqlite3.Connection) -> None:
    return None


async def _next(queue: "asyncio.Queue[Event | None]", until: int | None) -> Event | None:
    """The next event, None at the end of the stream's time."""
    if until is None:
        return await queue.get()
    left = (until - time.time_ns()) / 1e9
    try:
        event = await asyncio.wait_for(queue.get(), max(left, 0))
    except TimeoutError:
        return None
    return event if event is not None and event.at <= until else None


def matches(event: Event, wanted: Mapping[str, Iterable[str]]) -> bool:
    """Docker's filters; one named like a type selects events about that object, by id or name. One that is none matches all,
    as with Docker."""
    name = event.attributes.get("name", "")
    for key, values in wanted.items():
        if key == "type":
            good = event.type in values
        elif key == "event":
            good = any(event.action == value or event.action.startswith(f"{value}:") for value in values)
        elif key == "label":
            good = filters.labels({"label": list(values)}, event.attributes)
        elif key == "scope":
            good = "local" in values
        elif key == "image":
            image = event.attributes.get("image", "") if event.type != "image" else name
            good = any(
                value in (image, event.id if event.type == "image" else "", image.partition(":")[0])
                for value in values
            )
        elif key in _TYPES:
            good = event.type == key and any(
                value == name or event.id.removeprefix("sha256:").startswith(value) for value in values
            )
        else:
            good = True
        if not good:
            return False
    return True
