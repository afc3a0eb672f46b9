"""The records of builds in the database, their blobs among the others; see build.port.Records.

As BuildKit's, a record goes when it is old and many newer ones are there (two days, fifty), unless it is pinned.
"""

import sqlite3
from collections.abc import Sequence

from knarr.content.leases import Resource
from knarr.engine.images import removing, rows
from knarr.engine.images.rooms import Rooms
from knarr.engine.images.settled import settled
from knarr.engine.settings import BuilderSettings
from knarr.loop.blocking import blocking
from knarr.model.digest import Digest
from knarr.model.errors import Invalid, NotFound


class History:
    """Those of one engine."""

    def __init__(self, rooms: Rooms, settings: BuilderSettings):
        self._rooms = rooms
        self._settings = settings

    async def put(
        self, ref: str, completed: int, record: bytes, blobs: Sequence[bytes], documents: Sequence[bytes]
    ) -> None:
        """See the port. What only a record has is not waited for to be on the disk."""
        digests = [Digest.of(data) for data in (*blobs, *documents)]
        with self._rooms.leases.create(brief=True) as lease:
            lease.add(*map(rows.blob, digests))
            for data in documents:
                await settled(self._rooms.blobs.put, data)
            await settled(self._keep, blobs)

            def write(tx: sqlite3.Connection) -> list[Resource]:
                tx.execute(
                    "INSERT OR REPLACE INTO build_records VALUES (?, ?, 0, ?)", (ref, completed, record)
                )
                tx.executemany(
                    "INSERT OR IGNORE INTO build_record_blobs VALUES (?, ?)",
                    [(ref, str(digest)) for digest in digests],
                )
                return [each for old in overdue(tx, self._settings, completed) for each in forget(tx, old)]

            freed = await self._rooms.db.write(write)
        if freed:
            await removing.discard(self._rooms, freed)

    async def add(self, ref: str, record: bytes, blob: bytes) -> None:
        """See the port."""
        digest = Digest.of(blob)
        with self._rooms.leases.create(brief=True) as lease:
            lease.add(rows.blob(digest))
            await settled(self._keep, [blob])

            def write(tx: sqlite3.Connection) -> None:
                changed = tx.execute("UPDATE build_records SET record = ? WHERE ref = ?", (record, ref))
                if changed.rowcount:
                    tx.execute("INSERT OR IGNORE INTO build_record_blobs VALUES (?, ?)", (ref, str(digest)))

            await self._rooms.db.write(write)

    def _keep(self, blobs: Sequence[bytes]) -> None:
        for data in blobs:
            digest = Digest.of(data)
            if not self._rooms.blobs.has(digest):
                with self._rooms.blobs.ingest(digest, len(data), resume=False) as ingest:
                    ingest.write(data)
                    ingest.commit(lasting=False)

    async def all(self, ref: str = "") -> Sequence[tuple[bytes, bool]]:
        """See the port."""

        def read(tx: sqlite3.Connection) -> list[tuple[bytes, bool]]:
            found = tx.execute(
                "SELECT record, pinned FROM build_records WHERE ?1 IN ('', ref) ORDER BY completed DESC, ref",
                (ref,),
            )
            return [(record, bool(pinned)) for record, pinned in found]

        return await self._rooms.db.read(read)

    async def pin(self, ref: str, pinned: bool) -> bool:
        """See the port."""

        def write(tx: sqlite3.Connection) -> bool:
            changed = tx.execute("UPDATE build_records SET pinned = ? WHERE ref = ?", (int(pinned), ref))
            return bool(changed.rowcount)

        return await self._rooms.db.write(write)

    async def remove(self, ref: str) -> bool:
        """See the port."""

        def write(tx: sqlite3.Connection) -> tuple[bool, list[Resource]]:
            known = tx.execute("SELECT 1 FROM build_records WHERE ref = ?", (ref,)).fetchone()
            return known is not None, forget(tx, ref)

        known, freed = await self._rooms.db.write(write)
        if freed:
            await removing.discard(self._rooms, freed)
        return known

    async def size(self, digest: str) -> int:
        """See the port."""
        found = self._named(digest)
        if not await blocking(self._rooms.blobs.has, found):
            raise NotFound(f"content {digest}: not found")
        return await blocking(self._rooms.blobs.size, found)

    async def read(self, digest: str, offset: int, size: int) -> bytes:
        """See the port."""
        await self.size(digest)
        return await blocking(self._piece, self._named(digest), offset, size)

    def _piece(self, digest: Digest, offset: int, size: int) -> bytes:
        with self._rooms.blobs.open(digest) as file:
            file.seek(offset)
            return file.read(size)

    def _named(self, digest: str) -> Digest:
        try:
            return Digest.parse(digest)
        except Invalid as error:
            raise NotFound(f"content {digest}: not found") from error


def overdue(tx: sqlite3.Connection, settings: BuilderSettings, now: int) -> list[str]:
    """The records that go at that moment."""
    found = tx.execute(
        "SELECT ref, completed FROM build_records WHERE NOT pinned ORDER BY completed DESC LIMIT -1 OFFSET ?",
        (settings.most,),
    )
    return [ref for ref, completed in found if completed < now - settings.age]


def forget(tx: sqlite3.Connection, ref: str) -> list[Resource]:
    """Deletes a record; the blobs that it kept."""
    found = tx.execute("SELECT digest FROM build_record_blobs WHERE ref = ?", (ref,)).fetchall()
    tx.execute("DELETE FROM build_records WHERE ref = ?", (ref,))
    return [rows.blob(digest) for (digest,) in found]
