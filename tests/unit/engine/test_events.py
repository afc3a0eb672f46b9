"""The stream of events: what came before, what comes, each once, and its end."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from knarr.engine import events
from knarr.engine.events import Events, write_event
from knarr.engine.values import EventOptions
from knarr.model.system import Event
from knarr.state.database import Database


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.open(str(tmp_path / "state.db"))
    yield database
    await database.close()


async def happen(db: Database, stream: Events, *actions: str, at: int = 10) -> None:
    for action in actions:
        event = Event(type="container", action=action, id="c", at=at, attributes={"name": "web"})
        stream.publish([await db.write(lambda tx, event=event: write_event(tx, event))])  # type: ignore[misc]


async def test_earlier_ones_then_the_tail_each_once(db: Database) -> None:
    stream = Events(db)
    await happen(db, stream, "create", "start")
    subscription = await stream.subscribe(EventOptions(since=1))
    await happen(db, stream, "die")
    seen = [(await anext(subscription)).action for _ in range(3)]
    assert seen == ["create", "start", "die"]
    assert stream.listeners == 1
    stream.close()
    assert [event async for event in subscription] == []
    assert stream.listeners == 0


async def test_without_since_only_what_comes(db: Database) -> None:
    stream = Events(db)
    await happen(db, stream, "create")
    subscription = await stream.subscribe(EventOptions(filters={"event": ("die",)}))
    await happen(db, stream, "start", "die")
    assert (await anext(subscription)).action == "die"
    await subscription.aclose()  # type: ignore[attr-defined]
    assert stream.listeners == 0


async def test_a_past_end_ends_at_once(db: Database) -> None:
    stream = Events(db)
    await happen(db, stream, "create", at=10)
    await happen(db, stream, "start", at=20)
    subscription = await stream.subscribe(EventOptions(since=1, until=15))
    async with asyncio.timeout(60):
        assert [event.action async for event in subscription] == ["create"]


async def test_old_ones_are_dropped(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "KEPT", 5)
    monkeypatch.setattr(events, "_EVERY", 10)
    stream = Events(db)
    await happen(db, stream, *(f"a{number}" for number in range(20)))
    left = await db.read(lambda tx: tx.execute("SELECT action FROM events ORDER BY number").fetchall())
    assert [action for (action,) in left] == [f"a{number}" for number in range(15, 20)]
