"""Contents by digest, and the index that each client's context had last, so that only what changed is sent again.

    packs/NAME       small contents together; see packs
    files/AB/CDEF…   a large one by itself, named by its SHA-256: written aside and renamed; one that is not as long as it
                     should be is as good as none
    contexts/KEY     the last index of a context: a cache, not synced; one that cannot be read is as good as none

Everything here can be fetched again: a sweep keeps what living builds hold and what the remembered indexes name.
"""

import contextlib
import errno
import hashlib
import io
import os
import secrets
import threading
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import BinaryIO

import msgspec

from knarr.build.context import packs
from knarr.build.context.entries import Entry, Index
from knarr.build.context.packs import BadPack, Packing, Places
from knarr.kernel.files import write_all

_FEW, _KEPT = 2000, 8
_INDEX = msgspec.msgpack.Decoder(list[Entry])


class Files:
    """The store in `root`. Everything blocks, except `has` between `table` and `rest`."""

    def __init__(self, root: str | Path):
        self._root = Path(root)
        self._files = self._root / "files"
        self._packs = self._root / "packs"
        self._contexts = self._root / "contexts"
        self._aside = self._root / "aside"
        self._table: Places | None = None
        self._loading = threading.Lock()
        self._recent: dict[str, Index] = {}

    def open(self) -> None:
        """Makes the directories, and drops what an interrupted write left."""
        for each in (self._files, self._packs, self._contexts, self._aside):
            each.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in os.listdir(self._aside):
            os.unlink(self._aside / name)

    @property
    def awake(self) -> bool:
        """Whether `table`, `packing` and `has` need not read first."""
        return self._table is not None

    def table(self) -> Places:
        """Where everything in packs is; kept in memory until `rest`."""
        with self._loading:
            if self._table is None:
                self._table = self._read_table()
            return self._table

    def _read_table(self) -> Places:
        found: Places = {}
        for pack in self._all_packs():
            try:
                found.update(packs.places(pack))
            except BadPack:
                os.unlink(pack)
        return found

    def _all_packs(self) -> list[str]:
        try:
            return [f"{self._packs}/{name}" for name in os.listdir(self._packs)]
        except FileNotFoundError:
            return []

    def rest(self) -> None:
        """Nobody builds: memory is given back."""
        self._recent.clear()
        with self._loading:
            self._table = None

    def has(self, digest: str, size: int) -> bool:
        """Whether it is here, whole: what a killed daemon or a dead machine left of it is shorter."""
        if digest in self.table():
            return True
        try:
            return os.stat(self._path(digest)).st_size == size
        except FileNotFoundError:
            return False

    def packing(self) -> Packing:
        """Small contents, many."""
        return Packing(str(self._packs), str(self._aside), self.table(), self._know)

    def _know(self, found: Places) -> None:
        with self._loading:
            if self._table is not None:
                self._table.update(found)

    def writing(self) -> "Writing":
        """One content that comes in pieces."""
        return Writing(self._path, f"{self._aside}/{secrets.token_hex(8)}")

    def opened(self, digest: str) -> BinaryIO:
        """A content to be read. Raises FileNotFoundError."""
        place = self.table().get(digest)
        if place is None:
            return open(self._path(digest), "rb")
        with self.reader() as reader:
            return io.BytesIO(reader.read(digest, place.size))

    def reader(self) -> "Reader":
        """For many contents, one after another."""
        return Reader(self.table(), self._path)

    def _path(self, digest: str) -> str:
        return f"{self._files}/{digest[:2]}/{digest[2:]}"

    def recent(self, key: str) -> Index | None:
        """A small index that was used lately; not blocking."""
        return self._recent.get(key)

    def remembered(self, key: str) -> Index:
        """The index that was kept under `key`; empty if there is none."""
        try:
            data = (self._contexts / _name(key)).read_bytes()
            found = {entry.path: entry for entry in _INDEX.decode(data)}
        except (OSError, msgspec.DecodeError):
            return {}
        self._used(key, found)
        return found

    def remember(self, key: str, index: Index) -> None:
        """Keeps an index under `key`."""
        aside = self._aside / secrets.token_hex(8)
        aside.write_bytes(msgspec.msgpack.encode(list(index.values())))
        os.rename(aside, self._contexts / _name(key))
        self._used(key, index)

    def remember_again(self, key: str, index: Index) -> None:
        """As `remember`, for one that is kept already, if it was not removed."""
        try:
            os.utime(self._contexts / _name(key))
        except FileNotFoundError:
            self.remember(key, index)

    def _used(self, key: str, index: Index) -> None:
        self._recent.pop(key, None)
        if len(index) <= _FEW:
            self._recent[key] = index
        while len(self._recent) > _KEPT:
            self._recent.pop(next(iter(self._recent)))

    def contexts(self) -> list[tuple[str, set[str]]]:
        """The remembered indexes, the latest used first: each one's file, and the contents that it names."""
        found = []
        with contextlib.suppress(FileNotFoundError):
            for path in sorted(
                self._contexts.iterdir(), key=lambda each: each.stat().st_mtime_ns, reverse=True
            ):
                with contextlib.suppress(msgspec.DecodeError):
                    entries = _INDEX.decode(path.read_bytes())
                    found.append((str(path), {entry.digest for entry in entries if entry.digest}))
        return found

    def sizes(self) -> dict[str, int]:
        """What each content takes on disk."""
        found = {digest: place.size for digest, place in self.table().items()}
        with contextlib.suppress(FileNotFoundError):
            for directory in os.scandir(self._files):
                for file in os.scandir(directory.path):
                    found[directory.name + file.name] = file.stat().st_blocks * 512
        return found

    def sweep(self, held: Iterable[str], *, forget: bool = False) -> int:
        """Removes contents that no remembered index names and nobody holds; `forget` drops the indexes too. Bytes freed.
        Nobody may be reading."""
        keep = set(held)
        for path in self._contexts.iterdir():
            if forget:
                path.unlink()
                continue
            with contextlib.suppress(msgspec.DecodeError):
                keep.update(entry.digest for entry in _INDEX.decode(path.read_bytes()))
        return self._sweep_files(keep) + self._sweep_packs(keep)

    def _sweep_files(self, keep: Collection[str]) -> int:
        freed = 0
        for directory in os.scandir(self._files):
            for file in os.scandir(directory.path):
                if directory.name + file.name not in keep:
                    freed += file.stat().st_size
                    os.unlink(file.path)
        return freed

    def _sweep_packs(self, keep: Collection[str]) -> int:
        freed, wanted = 0, set(keep)
        for pack in self._all_packs():
            with contextlib.suppress(BadPack, OSError):
                rows = packs.places(pack)
                freed += packs.thin(pack, rows, wanted, str(self._aside))
                wanted.difference_update(rows)
        self.rest()
        return freed


class Reader:
    """Reads contents; each pack is opened once."""

    def __init__(self, table: Places, path: Callable[[str], str]):
        self._table = table
        self._path = path
        self._open: dict[str, int] = {}

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()

    def find(self, digest: str) -> tuple[int, int]:
        """An open file with the content, and where in it that begins; valid until the next. Raises FileNotFoundError."""
        place = self._table.get(digest)
        if place is None:
            self._drop("")
            fd = self._open[""] = os.open(self._path(digest), os.O_RDONLY | os.O_CLOEXEC)
            return fd, 0
        found = self._open.get(place.pack)
        if found is None:
            found = self._open[place.pack] = os.open(place.pack, os.O_RDONLY | os.O_CLOEXEC)
        return found, place.offset

    def read(self, digest: str, size: int) -> bytes:
        """A content whose size is known. Raises FileNotFoundError, or OSError for one that is shorter."""
        fd, offset = self.find(digest)
        data = os.pread(fd, size, offset)
        if len(data) != size:
            raise OSError(errno.EIO, os.strerror(errno.EIO), digest)
        return data

    def _drop(self, name: str) -> None:
        fd = self._open.pop(name, -1)
        if fd >= 0:
            os.close(fd)


class Writing:
    """A content under way; what is not finished is dropped."""

    def __init__(self, path: Callable[[str], str], aside: str):
        self._path = path
        self._aside = aside
        self._hash = hashlib.sha256()
        self._fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def __enter__(self) -> "Writing":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._aside)

    def write(self, data: bytes | memoryview) -> None:
        self._hash.update(data)
        write_all(self._fd, data)

    def finish(self) -> str:
        """The digest (hex) under which the content now is."""
        digest = self._hash.hexdigest()
        path = self._path(digest)
        try:
            os.rename(self._aside, path)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            os.rename(self._aside, path)
        return digest


def _name(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
