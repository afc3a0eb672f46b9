"""Contents by digest, and the index that each client's context had last, so that only what changed is sent again.

    files/AB/CDEF…   one content, named by its SHA-256 and never changed: large ones are written aside and renamed, small ones
                     in place; one that is not as long as it should be is as good as none
    contexts/KEY     the last index of a context: a cache, not synced; one that cannot be read is as good as none

Everything here can be fetched again: a sweep keeps what living builds hold and what the remembered indexes name.
"""

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from knarr.build.context.entries import Entry, Index
from knarr.kernel.files import write_all

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_INDEX = msgspec.msgpack.Decoder(list[Entry])


class Files:
    """The store in `root`."""

    def __init__(self, root: str | Path):
        self._root = Path(root)
        self._files = self._root / "files"
        self._contexts = self._root / "contexts"
        self._aside = self._root / "aside"

    def open(self) -> None:
        """Makes the directories, and drops what an interrupted write left."""
        for each in (self._files, self._contexts, self._aside):
            each.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in os.listdir(self._aside):
            os.unlink(self._aside / name)

    def path(self, digest: str) -> str:
        """Where the content `digest` (hex) is."""
        return f"{self._files}/{digest[:2]}/{digest[2:]}"

    def has(self, digest: str, size: int) -> bool:
        """Whether it is here, whole: what a killed daemon or a dead machine left of it is shorter."""
        try:
            return os.stat(self.path(digest)).st_size == size
        except FileNotFoundError:
            return False

    def put(self, contents: Sequence[bytes]) -> list[str]:
        """Keeps small contents whole; their digests. One that is new is written where it will be: a rename would double the
        work of the file system, which is most of the work."""
        digests = []
        for content in contents:
            digest = hashlib.sha256(content).hexdigest()
            try:
                self._write(digest, content)
            except FileExistsError:
                if not self.has(digest, len(content)):
                    self._write_aside(content)
            digests.append(digest)
        return digests

    def _write(self, digest: str, content: bytes) -> None:
        path = self.path(digest)
        try:
            fd = os.open(path, _NEW, 0o600)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            fd = os.open(path, _NEW, 0o600)
        try:
            write_all(fd, content)
        except OSError:
            os.unlink(path)
            raise
        finally:
            os.close(fd)

    def _write_aside(self, content: bytes) -> None:
        with self.writing() as writing:
            writing.write(content)
            writing.finish()

    def writing(self) -> "Writing":
        """One content that comes in pieces."""
        return Writing(self, f"{self._aside}/{secrets.token_hex(8)}")

    def remembered(self, key: str) -> Index:
        """The index that was kept under `key`; empty if there is none."""
        try:
            data = (self._contexts / _name(key)).read_bytes()
            return {entry.path: entry for entry in _INDEX.decode(data)}
        except (OSError, msgspec.DecodeError):
            return {}

    def remember(self, key: str, entries: Iterable[Entry]) -> None:
        """Keeps an index under `key`."""
        aside = self._aside / secrets.token_hex(8)
        aside.write_bytes(msgspec.msgpack.encode(list(entries)))
        os.rename(aside, self._contexts / _name(key))

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
        found = {}
        with contextlib.suppress(FileNotFoundError):
            for directory in os.scandir(self._files):
                for file in os.scandir(directory.path):
                    found[directory.name + file.name] = file.stat().st_blocks * 512
        return found

    def sweep(self, held: Iterable[str], *, forget: bool = False) -> int:
        """Removes contents that no remembered index names and nobody holds; `forget` drops the indexes too. Bytes freed."""
        keep = set(held)
        for path in self._contexts.iterdir():
            if forget:
                path.unlink()
                continue
            with contextlib.suppress(msgspec.DecodeError):
                keep.update(entry.digest for entry in _INDEX.decode(path.read_bytes()))
        freed = 0
        for directory in os.scandir(self._files):
            for file in os.scandir(directory.path):
                if directory.name + file.name not in keep:
                    freed += file.stat().st_size
                    os.unlink(file.path)
        return freed


class Writing:
    """A content under way; what is not finished is dropped."""

    def __init__(self, files: Files, aside: str):
        self._files = files
        self._aside = aside
        self._hash = hashlib.sha256()
        self._fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def __enter__(self) -> "Writing":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._aside)

    def write(self, data: bytes) -> None:
        self._hash.update(data)
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]

    def finish(self) -> str:
        """The digest (hex) under which the content now is."""
        digest = self._hash.hexdigest()
        path = self._files.path(digest)
        try:
            os.rename(self._aside, path)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            os.rename(self._aside, path)
        return digest


def _name(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
