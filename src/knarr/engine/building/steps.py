"""The rows that tell what keys were made of (build.explain): written with results, and outliving them. Each function is
called inside a transaction."""

import sqlite3
import zlib

import msgspec

from knarr.build.explain import Earlier, Parts

MOST_STEPS = 1000
MOST_BYTES = 16 << 20
_COMPARED = 24
_decoder = msgspec.msgpack.Decoder(Parts)


def write(tx: sqlite3.Connection, key: str, parts: Parts, now: int) -> None:
    """A step that ran."""
    packed = zlib.compress(msgspec.msgpack.encode(parts), 1)
    tx.execute(
        "INSERT OR REPLACE INTO build_steps VALUES (?, ?, ?, ?, ?)",
        (key, parts.instruction, parts.place, now, packed),
    )


def earlier(tx: sqlite3.Connection, key: str, parts: Parts) -> Earlier:
    """What is remembered of it, and of those with the same words or in the same place, the newest first."""
    known = tx.execute("SELECT 1 FROM build_steps WHERE key = ?", (key,)).fetchone() is not None
    found = tx.execute(
        "SELECT parts FROM (SELECT * FROM build_steps WHERE instruction = :words"
        " UNION SELECT * FROM build_steps WHERE place = :place) ORDER BY moment DESC LIMIT :most",
        {"words": parts.instruction, "place": parts.place, "most": _COMPARED},
    ).fetchall()
    return Earlier(known, [_decoder.decode(zlib.decompress(packed)) for (packed,) in found])


def trim(tx: sqlite3.Connection) -> None:
    """Forgets the oldest of too many."""
    tx.execute(
        "DELETE FROM build_steps WHERE key IN (SELECT key FROM (SELECT key, ROW_NUMBER() OVER newest AS count,"
        " SUM(LENGTH(parts)) OVER newest AS bytes FROM build_steps WINDOW newest AS (ORDER BY moment DESC, key))"
        " WHERE count > ? OR bytes > ?)",
        (MOST_STEPS, MOST_BYTES),
    )
