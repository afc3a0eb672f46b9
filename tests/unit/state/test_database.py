"""The database: writes share commits and fail alone, readers see them, constraints are conflicts."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from operator import methodcaller
from pathlib import Path

import pytest

from knarr.state.database import Database, migrations
from knarr.state.errors import StateFull, StateTooNew, Taken


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.open(str(tmp_path / "state.db"))
    yield database
    await database.close()


async def keys(db: Database) -> set[str]:
    rows = await db.read(lambda tx: tx.execute("SELECT key FROM settings").fetchall())
    return {row[0] for row in rows}


async def test_a_write_is_seen_by_the_next_read(db: Database) -> None:
    await db.write(lambda tx: tx.execute("INSERT INTO settings VALUES ('a', 'b')"))
    assert await keys(db) == {"a"}


async def test_one_of_many_fails_alone(db: Database) -> None:
    def write(key: str) -> "asyncio.Future[object]":
        return asyncio.ensure_future(
            db.write(lambda tx: tx.execute("INSERT INTO settings VALUES (?, '')", (key,)))
        )

    results = await asyncio.gather(*[write(key) for key in ("a", "b", "a", "c")], return_exceptions=True)
    assert isinstance(results[2], Taken)
    assert results[2].columns == "settings.key"
    assert await keys(db) == {"a", "b", "c"}


async def test_what_a_failed_write_did_is_taken_back(db: Database) -> None:
    def half(tx: sqlite3.Connection) -> None:
        tx.execute("INSERT INTO settings VALUES ('x', '')")
        raise ValueError("half-way")

    with pytest.raises(ValueError, match="half-way"):
        await db.write(half)
    assert await keys(db) == set()


async def test_a_reader_cannot_write(db: Database) -> None:
    with pytest.raises(sqlite3.OperationalError):
        await db.read(lambda tx: tx.execute("INSERT INTO settings VALUES ('x', '')"))


async def test_a_cancelled_caller_does_not_lose_the_write(db: Database) -> None:
    task = asyncio.ensure_future(db.write(lambda tx: tx.execute("INSERT INTO settings VALUES ('kept', '')")))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await db.write(lambda tx: None)
    assert await keys(db) == {"kept"}


async def test_state_outlives_the_process(tmp_path: Path) -> None:
    path = str(tmp_path / "state.db")
    first = await Database.open(path)
    await first.write(lambda tx: tx.execute("INSERT INTO settings VALUES ('a', 'b')"))
    await first.close()
    second = await Database.open(path)
    assert await keys(second) == {"a"}
    await second.close()


async def test_a_newer_file_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "state.db")
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 9999")
    connection.close()
    with pytest.raises(StateTooNew):
        await Database.open(path)


def test_migrations_are_numbered_once() -> None:
    numbers = [number for number, _ in migrations()]
    assert numbers == sorted(set(numbers))


async def test_a_mistake_in_one_write_spares_the_others(db: Database) -> None:
    good = asyncio.ensure_future(db.write(lambda tx: tx.execute("INSERT INTO settings VALUES ('a', '')")))
    bad = asyncio.ensure_future(db.write(lambda tx: tx.execute("INSERT INTO nowhere VALUES (1)")))
    results = await asyncio.gather(good, bad, return_exceptions=True)
    assert isinstance(results[1], sqlite3.OperationalError)
    assert await keys(db) == {"a"}


def full() -> sqlite3.OperationalError:
    """As sqlite3 says that the disk is full."""
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error


async def test_on_a_full_disk_the_reserve_is_given_up(db: Database, tmp_path: Path) -> None:
    reserve = tmp_path / "state.db-reserve"
    seen = []

    def write(tx: sqlite3.Connection) -> None:
        tx.execute("INSERT INTO settings VALUES ('x', '')")
        seen.append(reserve.exists())
        if seen == [True]:
            raise full()

    assert reserve.stat().st_blocks * 512 >= 1 << 20
    await db.write(write)
    assert seen == [True, False]
    assert await keys(db) == {"x"}
    await db.write(lambda tx: tx.execute("INSERT INTO settings VALUES ('y', '')"))
    assert reserve.exists()


async def test_without_any_room_the_write_says_so(db: Database) -> None:
    def write(tx: sqlite3.Connection) -> None:
        tx.execute("INSERT INTO settings VALUES ('x', '')")
        raise full()

    with pytest.raises(StateFull, match="no space left on device"):
        await db.write(write)
    assert await keys(db) == set()
    await db.write(lambda tx: tx.execute("INSERT INTO settings VALUES ('y', '')"))
    assert await keys(db) == {"y"}


async def test_a_long_log_goes_back_into_the_file(db: Database, tmp_path: Path) -> None:
    """On a thread of its own, which may take its time: here as long as it likes."""
    file = tmp_path / "state.db"
    before = file.stat().st_size
    deadline = time.monotonic() + 60
    number = 0
    while file.stat().st_size == before:
        assert time.monotonic() < deadline
        if number < 1000:
            values = (str(number), "x" * 2000)
            await db.write(methodcaller("execute", "INSERT INTO settings VALUES (?, ?)", values))
            number += 1
        else:
            await asyncio.sleep(0.01)
