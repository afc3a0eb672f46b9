"""Blobs on disk, named by their digest: `blobs/<algorithm>/<hex>`; partial ones wait in `ingest/`.

A blob is there whole and verified, or not at all: bytes are appended to a partial file, and `commit()` compares the digest,
syncs and renames. A partial file outlives its process, so that a broken download goes on where it stopped. Every method
blocks and may be called from any thread; one `Ingest` belongs to one caller at a time.
"""

import errno
import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

from knarr.model.digest import Digest
from knarr.model.errors import Invalid, NotFound

_CHUNK = 1 << 20


class NoSuchBlob(NotFound):
    """The digest is not in the store."""

    def __init__(self, digest: Digest) -> None:
        super().__init__(f"blob {digest} not found")


class NoSuchUpload(NotFound):
    """The partial blob of that name is not in the store."""

    def __init__(self, key: str) -> None:
        super().__init__(f"upload {key} not found")


class CorruptBlob(Invalid):
    """The bytes are not those that the digest or the size promised."""


class Blob(NamedTuple):
    """One stored blob; `modified` is in nanoseconds since the epoch."""

    digest: Digest
    size: int
    modified: int


class Blobs:
    """The store under `root`, which is made if it is missing."""

    def __init__(self, root: str | Path) -> None:
        self._blobs = Path(root) / "blobs"
        self._ingests = Path(root) / "ingest"
        (self._blobs / "sha256").mkdir(parents=True, exist_ok=True)
        self._ingests.mkdir(parents=True, exist_ok=True)

    def path(self, digest: Digest) -> Path:
        """Where the blob is, or would be."""
        return self._blobs / digest.algorithm / digest.hex

    def has(self, digest: Digest, size: int | None = None) -> bool:
        """True if the blob is here, whole. One that was not synced may not be, after a power failure: its `size` tells."""
        try:
            found = self.path(digest).stat().st_size
        except FileNotFoundError:
            return False
        return size is None or found == size

    def size(self, digest: Digest) -> int:
        """In bytes. Raises NoSuchBlob."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            raise NoSuchBlob(digest) from None

    def open(self, digest: Digest) -> BinaryIO:
        """The blob for reading, at its start. Raises NoSuchBlob."""
        try:
            return self.path(digest).open("rb")
        except FileNotFoundError:
            raise NoSuchBlob(digest) from None

    def read(self, digest: Digest) -> bytes:
        """A small blob (a manifest, a configuration), verified once more. Raises NoSuchBlob, CorruptBlob."""
        with self.open(digest) as file:
            data = file.read()
        if hashlib.new(digest.algorithm, data).hexdigest() != digest.hex:
            raise CorruptBlob(f"blob {digest} is damaged on disk")
        return data

    def put(self, data: bytes) -> Digest:
        """Stores a small blob and returns its sha256 digest."""
        digest = Digest.of(data)
        if not self.has(digest):
            with self.ingest(digest, len(data), resume=False) as ingest:
                ingest.write(data)
                ingest.commit()
        return digest

    def ingest(
        self, digest: Digest | None, expected_size: int | None = None, *, resume: bool = True
    ) -> "Ingest":
        """A partial blob to append to, at the offset where an earlier one of this digest stopped.

        A second ingest of a digest while the first is open gets a partial file of its own, from 0. With `digest` None
        nothing is compared and sha256 names the blob.
        """
        if digest is not None and resume:
            kept = self._take_up(digest, expected_size)
            if kept is not None:
                return kept
        path = self._ingests / f"{secrets.token_hex(16)}.part"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return Ingest(self, path, descriptor, digest, expected_size, resumable=False)

    def upload(self, key: str, *, new: bool) -> "Ingest":
        """A partial blob that has the caller's name for it, from its process to the next; its digest comes with `expect`.

        Raises NoSuchUpload for one that should be there and is not, or that another has.
        """
        path = self._ingests / f"upload-{key}.part"
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if new else 0)
        try:
            descriptor = os.open(path, flags, 0o600)
        except FileNotFoundError:
            raise NoSuchUpload(key) from None
        try:
            if not _lock(descriptor, path):
                raise NoSuchUpload(key)
            return Ingest(self, path, descriptor, None, None, resumable=True)
        except BaseException:
            os.close(descriptor)
            raise

    def _take_up(self, digest: Digest, expected_size: int | None) -> "Ingest | None":
        path = self._ingests / f"{digest.algorithm}-{digest.hex}.part"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not _lock(descriptor, path):
            os.close(descriptor)
            return None
        try:
            return Ingest(self, path, descriptor, digest, expected_size, resumable=True)
        except OSError:
            os.close(descriptor)
            raise

    def delete(self, digest: Digest) -> int:
        """The bytes that it took; 0 if it was not there. Open readers go on reading."""
        path = self.path(digest)
        try:
            size = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            return 0
        return size

    def walk(self) -> Iterator[Blob]:
        """Every blob, in no order; one that is deleted meanwhile may be missed."""
        for directory in sorted(self._blobs.iterdir()):
            with os.scandir(directory) as entries:
                for entry in entries:
                    try:
                        facts = entry.stat()
                        yield Blob(
                            Digest.parse(f"{directory.name}:{entry.name}"), facts.st_size, facts.st_mtime_ns
                        )
                    except (FileNotFoundError, Invalid):
                        continue

    def sweep(self, older_than: int) -> int:
        """Removes partial files that nobody holds and that were last written before `older_than` (ns); bytes freed."""
        freed = 0
        for path in sorted(self._ingests.iterdir()):
            freed += _remove_unheld(path, older_than)
        return freed


class Ingest:
    """An append-only partial blob. Leaving its `with` block without `commit()` keeps it for later, if it can be resumed.

    `offset` is how many bytes are here; `resumed` is True if some were from an earlier attempt.
    """

    def __init__(
        self,
        store: Blobs,
        path: Path,
        descriptor: int,
        digest: Digest | None,
        expected_size: int | None,
        *,
        resumable: bool,
    ) -> None:
        self._store = store
        self._path = path
        self._descriptor = descriptor
        self._resumable = resumable
        self._digest = digest
        self._expected_size = expected_size
        self._hash = hashlib.new(digest.algorithm if digest else "sha256")
        self.offset = 0
        self._rehash()
        self.resumed = self.offset > 0

    def _rehash(self) -> None:
        """A hash object cannot be saved, so what is on disk is read again: 1 GB/s."""
        if self._expected_size is not None and os.fstat(self._descriptor).st_size > self._expected_size:
            os.ftruncate(self._descriptor, 0)
        while chunk := os.pread(self._descriptor, _CHUNK, self.offset):
            self._hash.update(chunk)
            self.offset += len(chunk)

    def kept(self) -> Iterator[bytes]:
        """The bytes that are already here, from the first: what a decompressor must see again after a resume."""
        end, position = self.offset, 0
        while position < end:
            chunk = os.pread(self._descriptor, min(_CHUNK, end - position), position)
            if not chunk:
                raise CorruptBlob(f"partial blob {self._path.name} shrank")
            position += len(chunk)
            yield chunk

    def write(self, data: bytes | memoryview) -> None:
        """Appends. Raises CorruptBlob past the expected size. A failed write (no space) removes the partial file."""
        view = memoryview(data)
        if self._expected_size is not None and self.offset + len(view) > self._expected_size:
            self.abort()
            raise CorruptBlob(f"blob {self._digest} is longer than the {self._expected_size} bytes promised")
        self._hash.update(view)
        try:
            while view:
                written = os.pwrite(self._descriptor, view, self.offset)
                self.offset += written
                view = view[written:]
        except OSError:
            self.abort()
            raise

    def expect(self, digest: Digest) -> None:
        """Tells which digest `commit` shall compare with, for one that was not known at first. Raises Invalid."""
        if digest.algorithm != self._hash.name:
            raise Invalid(f"unsupported digest algorithm {digest.algorithm}")
        self._digest = digest

    def commit(self, *, lasting: bool = True) -> Digest:
        """Verifies, syncs and names the blob. Raises CorruptBlob, and then nothing is kept.

        Without `lasting` it is not synced: for what can be made again, and where a wrong size is looked for."""
        found = Digest(self._hash.name, self._hash.hexdigest())
        if self._expected_size is not None and self.offset != self._expected_size:
            self.abort()
            raise CorruptBlob(
                f"blob {self._digest or found} has {self.offset} bytes, not {self._expected_size}"
            )
        if self._digest is not None and found != self._digest:
            self.abort()
            raise CorruptBlob(f"blob {self._digest} arrived as {found}")
        if self._store.has(found, self.offset):
            self.abort()
            return found
        try:
            self._name(self._store.path(found), lasting=lasting)
        except OSError:
            self.abort()
            raise
        self.close()
        return found

    def _name(self, target: Path, *, lasting: bool) -> None:
        target.parent.mkdir(exist_ok=True)
        os.fchmod(self._descriptor, 0o644)
        if not lasting:
            self._path.rename(target)
            return
        os.fsync(self._descriptor)
        self._path.rename(target)
        directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def abort(self) -> None:
        """Removes the partial file."""
        if self._descriptor >= 0:
            self._path.unlink(missing_ok=True)
            self._resumable = True
        self.close()

    def close(self) -> None:
        """Lets go of the file; a resumable one stays for the next attempt. Harmless after commit and abort."""
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        if not self._resumable:
            self._path.unlink(missing_ok=True)
        os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _lock(descriptor: int, path: Path) -> bool:
    """Takes the partial file for this caller alone; False if another has it, or committed it a moment ago."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        named = os.stat(path)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return False
    held = os.fstat(descriptor)
    return (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)


def _remove_unheld(path: Path, older_than: int) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):
            return 0
        raise
    try:
        facts = os.fstat(descriptor)
        if facts.st_mtime_ns >= older_than or not _lock(descriptor, path):
            return 0
        path.unlink()
        return facts.st_size
    finally:
        os.close(descriptor)
