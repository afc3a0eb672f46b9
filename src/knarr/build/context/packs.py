"""Small contents together in one file, because to make an inode costs more than to write what is in it.

    contents, one after another │ table [[digest, offset, size], …] (msgpack) │ length of the table, mark

A pack gets its name when it is whole and is never changed; one without its end was cut short and is as good as none. What
nobody names any more goes when the rest is written anew. Everything here blocks, except `take`, `knows`, `due` and `batch`.
"""

import contextlib
import hashlib
import os
import secrets
import struct
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import msgspec

from knarr.kernel.files import write_all

SMALL = 256 << 10
LIMIT = 32 << 20
BATCH = 2 << 20
_END = struct.Struct("<Q8s")
_MARK = b"knarr\0p1"
_PIECE = 1 << 20
_Row = tuple[str, int, int]
_TABLE = msgspec.msgpack.Decoder(list[_Row])


class Place(NamedTuple):
    """Where a content is: a pack, and where in it."""

    pack: str
    offset: int
    size: int


Places = dict[str, Place]
"""By digest (hex)."""


class BadPack(Exception):
    """It was cut short, or is none."""


def places(pack: str) -> Places:
    """What is in the pack at that path. Raises BadPack."""
    fd = os.open(pack, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(fd).st_size
        end = os.pread(fd, _END.size, max(0, size - _END.size))
        if len(end) != _END.size:
            raise BadPack(pack)
        length, mark = _END.unpack(end)
        if mark != _MARK or length > size - _END.size:
            raise BadPack(pack)
        rows = _TABLE.decode(os.pread(fd, length, size - _END.size - length))
    except msgspec.DecodeError as error:
        raise BadPack(pack) from error
    finally:
        os.close(fd)
    return {digest: Place(pack, offset, length) for digest, offset, length in rows}


def thin(pack: str, rows: Places, keep: Collection[str], aside: str) -> int:
    """Leaves of a pack's `rows` what is to be kept; the bytes that go. Nobody may be reading."""
    left = [(digest, place) for digest, place in rows.items() if digest in keep]
    gone = sum(place.size for place in rows.values()) - sum(place.size for _, place in left)
    if not left:
        os.unlink(pack)
    elif len(left) < len(rows):
        with _Pack(pack, aside) as new, open(pack, "rb", buffering=0) as old:
            for digest, place in left:
                new.copy(digest, old.fileno(), place)
            new.finish()
    return gone


class Packing:
    """Contents on their way into packs: what is `known` already is not written; `tell` hears of each new pack. What is not
    finished is dropped."""

    def __init__(self, directory: str, aside: str, known: Collection[str], tell: Callable[[Places], object]):
        self._directory = directory
        self._aside = aside
        self._known = known
        self._tell = tell
        self._taken: set[str] = set()
        self._waiting: list[tuple[str, bytes]] = []
        self._bytes = 0
        self._pack: _Pack | None = None

    def __enter__(self) -> "Packing":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pack is not None:
            self._pack.__exit__()

    def take(self, content: bytes) -> str:
        """The digest of a content, which `batch` gives if it is new."""
        digest = hashlib.sha256(content).hexdigest()
        if digest not in self._known and digest not in self._taken:
            self._taken.add(digest)
            self._waiting.append((digest, content))
            self._bytes += len(content)
        return digest

    def knows(self, digest: str) -> bool:
        """Whether a content is in a pack already."""
        return digest in self._known

    @property
    def due(self) -> bool:
        """Whether enough waits to be written."""
        return self._bytes >= BATCH

    @property
    def idle(self) -> bool:
        """Whether there is nothing to finish."""
        return self._pack is None and not self._waiting

    def batch(self) -> list[tuple[str, bytes]]:
        """What waits, for `write`."""
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        return waiting

    def keep(self, content: bytes) -> str:
        """As `take`; writes what is due."""
        digest = self.take(content)
        if self.due:
            self.write(self.batch())
        return digest

    def write(self, batch: Sequence[tuple[str, bytes]]) -> None:
        """One at a time."""
        if not batch:
            return
        if self._pack is None:
            self._pack = _Pack(f"{self._directory}/{secrets.token_hex(8)}", self._aside)
        self._pack.write(batch)
        if self._pack.size >= LIMIT:
            self._close()

    def finish(self) -> None:
        """What waits is written, and all of it known."""
        self.write(self.batch())
        self._close()

    def _close(self) -> None:
        if self._pack is not None:
            self._tell(self._pack.finish())
            self._pack.__exit__()
            self._pack = None


class _Pack:
    """One that is written beside and takes the place of `path` at the end."""

    def __init__(self, path: str, aside: str):
        self._path = path
        self._rows: list[_Row] = []
        self.size = 0
        self._beside = f"{aside}/{secrets.token_hex(8)}"
        self._fd = os.open(self._beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def __enter__(self) -> "_Pack":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._beside)

    def write(self, batch: Sequence[tuple[str, bytes]]) -> None:
        write_all(self._fd, b"".join([content for _, content in batch]))
        for digest, content in batch:
            self._row(digest, len(content))

    def copy(self, digest: str, old: int, place: Place) -> None:
        position, end = place.offset, place.offset + place.size
        while position < end:
            data = os.pread(old, min(_PIECE, end - position), position)
            if not data:
                raise BadPack(place.pack)
            write_all(self._fd, data)
            position += len(data)
        self._row(digest, place.size)

    def _row(self, digest: str, size: int) -> None:
        self._rows.append((digest, self.size, size))
        self.size += size

    def finish(self) -> Places:
        table = msgspec.msgpack.encode(self._rows)
        write_all(self._fd, table + _END.pack(len(table), _MARK))
        os.rename(self._beside, self._path)
        return {digest: Place(self._path, offset, size) for digest, offset, size in self._rows}
