"""The table of events: written in the transaction that causes them; the stream of events is a tail of it."""

import json
import sqlite3
from collections.abc import Mapping

from knarr.model.system import Event


def append(
    tx: sqlite3.Connection, kind: str, action: str, subject: str, at: int, attributes: Mapping[str, str]
) -> None:
    """Adds one event: Docker's type and action, the object's id, the moment in nanoseconds."""
    tx.execute(
        "INSERT INTO events (at, type, action, subject, attributes) VALUES (?, ?, ?, ?, ?)",
        (at, kind, action, subject, json.dumps(dict(attributes))),
    )


def since(tx: sqlite3.Connection, number: int, limit: int = 1000) -> list[Event]:
    """The events after the one numbered `number`, oldest first."""
    rows = tx.execute(
        "SELECT number, at, type, action, subject, attributes FROM events WHERE number > ? ORDER BY number LIMIT ?",
        (number, limit),
    )
    return [
        Event(type=kind, action=action, id=subject, at=at, attributes=json.loads(attributes), number=found)
        for found, at, kind, action, subject, attributes in rows
    ]
