"""The one SQLite file: one writer thread, one reader connection, numbered migrations.

`await db.write(fn)` runs `fn(connection)` on the writer thread. Writes that wait together share one transaction and one
commit; each has its own savepoint, so one that fails is taken back alone. A write is on disk as far as a killed process is
concerned when it returns (WAL, synchronous=NORMAL: a power failure may lose the last commits, never corrupt). The log goes
back into the file on a thread of its own: fsync(2) makes no write wait. On a full disk a write is tried once more on the
room that `reserve` kept: so a write's function may run twice.
"""

import asyncio
import contextlib
import queue
import re
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

from knarr.loop.blocking import blocking
from knarr.state.errors import StateFull, StateTooNew, Taken
from knarr.state.reserve import Reserve

T = TypeVar("T")
Write = Callable[[sqlite3.Connection], T]
_OFTEN = 200  # commits between two checkpoints: about 4 MiB of log
_LAST_RESORT = 16_000  # pages of log, of 4 KiB: then the writer waits for one
_CACHE = 1000  # KiB for each connection

# The file or the disk is at fault, not the one write: the whole commit fails (sqlite3's primary result codes).
_BROKEN = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_BUSY,
    }
)
_CONSTRAINT = re.compile(r"(?:UNIQUE|FOREIGN KEY|NOT NULL|CHECK) constraint failed(?:: (.*))?")


class Database:
    """Open it with `open`; `close` waits for the writes under way."""

    def __init__(self, path: str, writer: sqlite3.Connection, reader: sqlite3.Connection):
        self._path = path
        self._writer = writer
        self._reader = reader
        self._reserve = Reserve(f"{path}-reserve")
        self._checkpoint: threading.Thread | None = None
        self._commits = 0
        self._reading = threading.Lock()
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="database writer", daemon=True)
        self._thread.start()

    @classmethod
    async def open(cls, path: str) -> Self:
        """Opens or makes the file and brings it up to date. Raises StateTooNew, sqlite3.Error."""
        return await blocking(cls._open, path)

    @classmethod
    def _open(cls, path: str) -> Self:
        writer = _connect(path)
        try:
            migrate(writer)
            reader = _connect(path)
            reader.execute("PRAGMA query_only = ON")
        except BaseException:
            writer.close()
            raise
        return cls(path, writer, reader)

    async def write(self, function: Write[T]) -> T:
        """`function(connection)` in a transaction; what it returns. Raises Taken, and whatever the function raised.

        A caller that is cancelled does not stop the write.
        """
        return await self.submit(function)

    def submit(self, function: Write[T]) -> "asyncio.Future[T]":
        """As `write`; the write is under way when this returns, and awaiting it tells how it went."""
        job = _Job(function, asyncio.get_running_loop())
        self._queue.put(job)
        return job.future

    async def read(self, function: Write[T]) -> T:
        """`function(connection)` on a connection that can only read; it sees every finished write."""
        return await blocking(self._read, function)

    def _read(self, function: Write[T]) -> T:
        with self._reading:
            return function(self._reader)

    async def close(self) -> None:
        """Waits for the writes under way and closes the file."""
        self._queue.put(None)
        await blocking(self._thread.join)
        with self._reading:
            self._reader.close()

    def _run(self) -> None:
        ending = False
        while not ending:
            jobs = [self._queue.get()]
            while not self._queue.empty():
                jobs.append(self._queue.get())
            ending = None in jobs
            self._commit([job for job in jobs if job is not None])
            self._shorten()
        if self._checkpoint is not None:
            self._checkpoint.join()
        self._writer.close()

    def _shorten(self) -> None:
        """After some commits the log is written back, by one thread at a time."""
        self._commits += 1
        busy = self._checkpoint is not None and self._checkpoint.is_alive()
        if self._commits >= _OFTEN and not busy:
            self._commits = 0
            self._checkpoint = threading.Thread(
                target=_write_back, args=(self._path,), name="database checkpoint", daemon=True
            )
            self._checkpoint.start()

    def _commit(self, jobs: "list[_Job]") -> None:
        if not jobs:
            return
        error = self._together(jobs)
        if _is_full(error) and self._reserve.give_up():
            error = self._together(jobs)
        for job in jobs:
            if error is not None:
                job.fail(_translated(error))
            job.deliver()
        if error is None:
            with contextlib.suppress(OSError):
                self._reserve.take()

    def _together(self, jobs: "list[_Job]") -> BaseException | None:
        """All of them in one transaction; what made it fail as a whole."""
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            for job in jobs:
                job.error = None
                self._attempt(job)
            self._writer.execute("COMMIT")
        except BaseException as error:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            return error
        return None

    def _attempt(self, job: "_Job") -> None:
        self._writer.execute("SAVEPOINT one")
        try:
            job.result = job.function(self._writer)
        except BaseException as error:
            if _code(error) in _BROKEN:
                raise
            self._writer.execute("ROLLBACK TO one")
            job.fail(_translated(error))
        self._writer.execute("RELEASE one")


class _Job:
    """One write and the future of who waits for it."""

    def __init__(self, function: Write[Any], loop: asyncio.AbstractEventLoop):
        self.function = function
        self.loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()
        self.result: Any = None
        self.error: BaseException | None = None

    def fail(self, error: BaseException) -> None:
        self.error = self.error or error

    def deliver(self) -> None:
        try:
            self.loop.call_soon_threadsafe(self._set)
        except RuntimeError:
            return  # the loop ended meanwhile; nobody waits

    def _set(self) -> None:
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


def _write_back(path: str) -> None:
    """wal_checkpoint PASSIVE: nobody waits for it. What it cannot do, the next one does, or in the end the writer itself."""
    with contextlib.suppress(sqlite3.Error):
        connection = _connect(path)
        try:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        finally:
            connection.close()


def _connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_LAST_RESORT}")
    connection.execute(f"PRAGMA cache_size = -{_CACHE}")
    return connection


def _code(error: BaseException | None) -> int:
    """SQLite's primary result code; 0 for another error."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF if isinstance(error, sqlite3.Error) else 0


def _is_full(error: BaseException | None) -> bool:
    return _code(error) == sqlite3.SQLITE_FULL


def _translated(error: BaseException) -> BaseException:
    if _is_full(error):
        return StateFull("cannot write the state database: no space left on device")
    if isinstance(error, sqlite3.IntegrityError) and (match := _CONSTRAINT.match(str(error))):
        return Taken(str(error), match[1] or "foreign key")
    return error


def migrations() -> list[tuple[int, str]]:
    """(number, SQL) of every migration, in order."""
    found = []
    for path in (Path(__file__).parent / "migrations").glob("*.sql"):
        number, _, _ = path.name.partition("_")
        if number.isdigit():
            found.append((int(number), path.read_text(encoding="utf-8")))
    return sorted(found)


def migrate(connection: sqlite3.Connection) -> None:
    """Applies what is missing, each step whole or not at all. Raises StateTooNew."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    steps = migrations()
    newest = steps[-1][0]
    if version > newest:
        raise StateTooNew(
            f"the state was written by a newer knarr (schema {version}, this one knows {newest})"
        )
    for number, sql in steps:
        if number > version:
            connection.executescript(f"BEGIN;\n{sql}\nPRAGMA user_version = {number};\nCOMMIT;")
