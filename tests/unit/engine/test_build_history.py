"""Which records of builds go, and what of an index goes with its image."""

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from knarr.engine.building import history
from knarr.engine.images import indexes, rows
from knarr.engine.images.config import parse_image
from knarr.engine.images.errors import PlatformNotProvided, WrongPlatform
from knarr.engine.settings import BuilderSettings
from knarr.model.digest import Digest
from knarr.model.image import Image
from knarr.model.platform import Platform
from knarr.model.reference import Reference
from knarr.state.database import Database

HOUR = 3600 * 10**9
INDEX = Digest.of(b"index")


@pytest.fixture
def tx(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a new database; nothing is committed."""

    async def make() -> None:
        await (await Database.open(str(tmp_path / "state.db"))).close()

    asyncio.run(make())
    with sqlite3.connect(tmp_path / "state.db") as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        yield connection
    connection.close()


def record(tx: sqlite3.Connection, ref: str, completed: int, *, pinned: bool = False) -> None:
    tx.execute("INSERT INTO build_records VALUES (?, ?, ?, ?)", (ref, completed, int(pinned), b""))
    tx.execute("INSERT INTO build_record_blobs VALUES (?, ?)", (ref, str(Digest.of(ref.encode()))))


def test_a_record_goes_when_it_is_old_and_one_of_many(tx: sqlite3.Connection) -> None:
    settings = BuilderSettings()
    for number in range(settings.most + 3):
        record(tx, f"r{number:02}", number * HOUR)
    record(tx, "pinned", 0, pinned=True)
    now = (settings.most + 3) * HOUR
    assert history.overdue(tx, settings, now) == ["r02", "r01", "r00"]
    assert history.overdue(tx, settings, 49 * HOUR) == ["r00"]
    assert history.overdue(tx, settings, 10 * HOUR) == []


def test_a_record_keeps_its_blobs(tx: sqlite3.Connection) -> None:
    record(tx, "one", 0)
    (kept,) = [rows.blob(Digest.of(b"one"))]
    assert kept in rows.referenced(tx)
    assert history.forget(tx, "one") == [kept]
    assert kept not in rows.referenced(tx)


def image(tx: sqlite3.Connection, architecture: str) -> Image:
    """A recorded image without layers."""
    config = b'{"os":"linux","architecture":"%s"}' % architecture.encode()
    made = parse_image(config, manifest=Digest.of(architecture.encode()))
    rows.insert(tx, made, [], [made.id])
    return made


def indexed(tx: sqlite3.Connection, name: str) -> tuple[Image, Image]:
    """An index of two platforms, with a name."""
    amd, arm = image(tx, "amd64"), image(tx, "arm64")
    parts = [(one.manifest, one.id) for one in (amd, arm) if one.manifest is not None]
    indexes.insert(tx, INDEX, amd.id, parts)
    rows.name_it(tx, Reference.parse(name).tagged(), amd.id, INDEX)
    return amd, arm


def test_a_platform_is_chosen(tx: sqlite3.Connection) -> None:
    amd, arm = indexed(tx, "both:1")
    for name in ("both:1", str(INDEX), str(amd.id)):
        assert indexes.chosen(tx, name, None).image == amd
        assert indexes.chosen(tx, name, Platform("linux", "arm64")).image == arm
        assert indexes.led(tx, name).via == INDEX
    with pytest.raises(PlatformNotProvided, match=r"does not provide the specified platform \(linux/s390x\)"):
        indexes.chosen(tx, "both:1", Platform("linux", "s390x"))
    with pytest.raises(WrongPlatform):
        indexes.chosen(tx, str(arm.id), Platform("linux", "amd64"))


def test_who_is_stood_for_is_hidden_and_goes_too(tx: sqlite3.Connection) -> None:
    amd, arm = indexed(tx, "both:1")
    assert indexes.hidden(tx) == {str(arm.id)}
    assert indexes.follow(tx, amd.id) == [str(arm.id)]
    assert indexes.is_part(tx, arm.id)
    assert not indexes.is_part(tx, amd.id)
    rows.name_it(tx, Reference.parse("arm:1"), arm.id)
    assert indexes.hidden(tx) == set()
    assert indexes.follow(tx, amd.id) == []
    rows.delete(tx, amd.id)
    assert indexes.members(tx, INDEX) == ()
    assert indexes.chosen(tx, "arm:1", None).image == arm


def test_a_name_may_lead_to_another_manifest_of_an_image(tx: sqlite3.Connection) -> None:
    amd = image(tx, "amd64")
    other = Digest.of(b"other")
    rows.name_it(tx, Reference.parse("a:1"), amd.id)
    rows.name_it(tx, Reference.parse("a:2"), amd.id, other)
    assert indexes.chosen(tx, "a:1", None).manifest == amd.manifest
    assert indexes.chosen(tx, "a:2", None).manifest == other
