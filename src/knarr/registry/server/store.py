"""A registry's files. Every method blocks; names are checked before they become paths.

    ROOT/blobs, ROOT/ingest              the bytes, once each (content.store)
    ROOT/repositories/NAME/+blobs/HEX        this repository has the blob: an empty file
    ROOT/repositories/NAME/+manifests/HEX    the manifest's media type
    ROOT/repositories/NAME/+tags/TAG         the manifest's digest
    ROOT/repositories/NAME/+referrers/HEX/HEX  a manifest whose subject is the first
    ROOT/partial                         files that are not whole yet: each is synced, then renamed into its place

"+" cannot begin a component of a repository's name, so the two kinds of directories do not meet.
"""

import contextlib
import errno
import fcntl
import os
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from knarr.content.store import Blobs, CorruptBlob, NoSuchBlob
from knarr.kernel.files import sync_directory, write_all
from knarr.model.digest import Digest
from knarr.model.errors import Conflict, Invalid
from knarr.registry.spec import manifests, names
from knarr.registry.spec.errors import (
    BlobUnknown,
    DigestInvalid,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
)

_DAY = 24 * 60 * 60 * 10**9


class Store:
    """The registry under `root`, which one store has at a time. Raises Conflict if another has it."""

    def __init__(self, root: str):
        os.makedirs(root, exist_ok=True)
        self._lock = _lock(root)
        self.blobs = Blobs(root)
        self._repositories = Path(root) / "repositories"
        self._partial = Path(root) / "partial"
        self._naming = threading.Lock()
        for directory in (self._repositories, self._partial):
            directory.mkdir(parents=True, exist_ok=True)
        for left in self._partial.iterdir():
            left.unlink()
        self.sweep()

    def sweep(self) -> None:
        """Removes partial blobs that nobody holds and nobody wrote to for a day."""
        self.blobs.sweep(time.time_ns() - _DAY)

    def close(self) -> None:
        """Lets another one have the directory."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _directory(self, name: str, kind: str) -> Path:
        try:
            return self._repositories / names.check_name(name) / f"+{kind}"
        except Invalid as error:
            raise NameInvalid(str(error)) from None

    def exists(self, name: str) -> bool:
        """Whether anything was ever pushed to the repository."""
        return self._directory(name, "manifests").exists() or self._directory(name, "blobs").exists()

    def has_blob(self, name: str, digest: Digest) -> bool:
        """Whether the repository has the blob."""
        return (self._directory(name, "blobs") / digest.hex).exists() and self.blobs.has(digest)

    def blob_size(self, name: str, digest: Digest) -> int:
        """Raises BlobUnknown."""
        if not self.has_blob(name, digest):
            raise BlobUnknown("blob unknown to registry")
        return self.blobs.size(digest)

    def open_blob(self, digest: Digest, first: int) -> BinaryIO:
        """The blob at its byte `first`. Raises BlobUnknown."""
        try:
            file = self.blobs.open(digest)
        except NoSuchBlob:
            raise BlobUnknown("blob unknown to registry") from None
        file.seek(first)
        return file

    def link_blob(self, name: str, digest: Digest) -> None:
        """The repository has the blob from now on."""
        self._write(self._directory(name, "blobs") / digest.hex, b"")

    def unlink_blob(self, name: str, digest: Digest) -> None:
        """Raises BlobUnknown."""
        try:
            (self._directory(name, "blobs") / digest.hex).unlink()
        except FileNotFoundError:
            raise BlobUnknown("blob unknown to registry") from None

    def manifest(self, name: str, reference: str) -> tuple[Digest, str, bytes]:
        """(digest, media type, bytes) of a tag or digest. Raises ManifestUnknown, as docker's registry does for a
        repository that is not there, too."""
        directory = self._directory(name, "manifests")
        try:
            digest = self._resolved(name, reference)
            media_type = (directory / digest.hex).read_text()
            return digest, media_type, self.blobs.read(digest)
        except (FileNotFoundError, NoSuchBlob, CorruptBlob):
            raise ManifestUnknown("manifest unknown") from None

    def _resolved(self, name: str, reference: str) -> Digest:
        if ":" in reference:
            return _digest(reference)
        if not names.TAG.match(reference):
            raise ManifestUnknown("manifest unknown")
        return Digest.parse((self._directory(name, "tags") / reference).read_text())

    def put_manifest(
        self, name: str, reference: str, content_type: str, data: bytes
    ) -> tuple[Digest, Digest | None]:
        """Stores a manifest whose parts are here already; its digest, and its subject's.

        Raises ManifestInvalid, DigestInvalid.
        """
        directory = self._directory(name, "manifests")
        digest = Digest.of(data)
        if ":" in reference:
            if _digest(reference) != digest:
                raise DigestInvalid("provided digest did not match uploaded content")
        elif not names.TAG.match(reference):
            raise ManifestInvalid(f"invalid tag {reference!r}")
        manifest = manifests.parse(data, content_type)
        with self._naming:
            self._check_parts(name, manifest)
            self.blobs.put(data)
            self._write(directory / digest.hex, manifest.media_type.encode())
            if manifest.subject:
                self._write(self._directory(name, "referrers") / manifest.subject.hex / digest.hex, b"")
            if ":" not in reference:
                self._write(self._directory(name, "tags") / reference, str(digest).encode())
        return digest, manifest.subject

    def _check_parts(self, name: str, manifest: manifests.Manifest) -> None:
        for child in manifest.manifests:
            if not (self._directory(name, "manifests") / child.hex).exists():
                raise ManifestInvalid(f"manifest references an unknown manifest {child}")
        for part in manifest.blobs:
            if not self.has_blob(name, part):
                raise ManifestInvalid(f"manifest references an unknown blob {part}")

    def delete_manifest(self, name: str, reference: str) -> None:
        """A tag alone, or a manifest with every tag that names it. Raises ManifestUnknown."""
        if ":" not in reference and not names.TAG.match(reference):
            raise ManifestUnknown("manifest unknown")
        with self._naming:
            try:
                if ":" not in reference:
                    (self._directory(name, "tags") / reference).unlink()
                    return
                digest = _digest(reference)
                (self._directory(name, "manifests") / digest.hex).unlink()
            except FileNotFoundError:
                raise ManifestUnknown("manifest unknown") from None
            for path in _entries(self._directory(name, "tags")):
                if path.read_text() == str(digest):
                    path.unlink()

    def tags(self, name: str) -> list[str]:
        """In order. Raises NameUnknown."""
        if not self.exists(name):
            raise NameUnknown("repository name not known to registry")
        return [path.name for path in _entries(self._directory(name, "tags"))]

    def repositories(self) -> list[str]:
        """Every repository that has a manifest, in order."""
        return sorted(self._walk())

    def _walk(self) -> Iterator[str]:
        for where, directories, _ in os.walk(self._repositories):
            if "+manifests" in directories and os.listdir(os.path.join(where, "+manifests")):
                yield os.path.relpath(where, self._repositories)
            directories[:] = [each for each in directories if not each.startswith("+")]

    def referrers(self, name: str, subject: str) -> list[dict[str, Any]]:
        """Descriptors of the manifests whose subject is `subject` (OCI distribution spec, "Listing Referrers")."""
        found = []
        for entry in _entries(self._directory(name, "referrers") / _digest(subject).hex):
            try:
                digest, media_type, data = self.manifest(name, f"sha256:{entry.name}")
            except ManifestUnknown:
                continue
            manifest = manifests.parse(data, media_type)
            descriptor: dict[str, Any] = {
                "mediaType": media_type,
                "digest": str(digest),
                "size": len(data),
                "artifactType": manifest.artifact_type,
            }
            if manifest.annotations:
                descriptor["annotations"] = manifest.annotations
            found.append(descriptor)
        return found

    def _write(self, path: Path, data: bytes) -> None:
        """In one step that lasts; two that write the same name do not meet before the rename."""
        if not data and path.exists():
            return
        _directories(path.parent)
        partial = self._partial / secrets.token_hex(16)
        fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            try:
                write_all(fd, data)
                os.fsync(fd)
            finally:
                os.close(fd)
            partial.rename(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        sync_directory(str(path.parent))


def _lock(root: str) -> int:
    descriptor = os.open(os.path.join(root, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno == errno.EWOULDBLOCK:
            raise Conflict(f"another registry uses {root}") from None
        raise
    return descriptor


def _directories(path: Path) -> None:
    """mkdir -p whose directories last."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    for directory in reversed(missing):
        directory.mkdir(exist_ok=True)
        sync_directory(str(directory.parent))


def _entries(directory: Path) -> list[Path]:
    with contextlib.suppress(FileNotFoundError):
        return sorted(directory.iterdir())
    return []


def _digest(text: str) -> Digest:
    try:
        digest = Digest.parse(text)
    except Invalid as error:
        raise DigestInvalid(str(error)) from None
    if digest.algorithm != "sha256":
        raise DigestInvalid(f"unsupported digest algorithm {digest.algorithm}")
    return digest
