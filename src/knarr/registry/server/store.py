"""A registry's files. Every method blocks; names are checked before they become paths.

    ROOT/blobs, ROOT/ingest              the bytes, once each (content.store)
    ROOT/repositories/NAME/+blobs/HEX        this repository has the blob: an empty file
    ROOT/repositories/NAME/+manifests/HEX    the manifest's media type
    ROOT/repositories/NAME/+tags/TAG         the manifest's digest
    ROOT/repositories/NAME/+referrers/HEX/HEX  a manifest whose subject is the first

"+" cannot begin a component of a repository's name, so the two kinds of directories do not meet.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from knarr.content.store import Blobs, CorruptBlob
from knarr.kernel.files import write_atomic
from knarr.model.descriptor import INDEXES
from knarr.model.digest import Digest
from knarr.model.errors import Invalid
from knarr.registry.spec import names
from knarr.registry.spec.errors import (
    BlobUnknown,
    DigestInvalid,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
)


class Store:
    """The registry under `root`."""

    def __init__(self, root: str):
        self.blobs = Blobs(root)
        self._repositories = Path(root) / "repositories"
        self._repositories.mkdir(parents=True, exist_ok=True)

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

    def link_blob(self, name: str, digest: Digest) -> None:
        """The repository has the blob from now on."""
        _link(self._directory(name, "blobs") / digest.hex, b"")

    def unlink_blob(self, name: str, digest: Digest) -> None:
        """Raises BlobUnknown."""
        try:
            (self._directory(name, "blobs") / digest.hex).unlink()
        except FileNotFoundError:
            raise BlobUnknown("blob unknown to registry") from None

    def manifest(self, name: str, reference: str) -> tuple[Digest, str, bytes]:
        """(digest, media type, bytes) of a tag or digest. Raises NameUnknown, ManifestUnknown."""
        directory = self._directory(name, "manifests")
        if not self.exists(name):
            raise NameUnknown("repository name not known to registry")
        try:
            digest = self._resolved(name, reference)
            media_type = (directory / digest.hex).read_text()
            return digest, media_type, self.blobs.read(digest)
        except (FileNotFoundError, CorruptBlob):
            raise ManifestUnknown("manifest unknown") from None

    def _resolved(self, name: str, reference: str) -> Digest:
        if ":" in reference:
            return _digest(reference)
        if not names.TAG.match(reference):
            raise ManifestUnknown("manifest unknown")
        return Digest.parse((self._directory(name, "tags") / reference).read_text())

    def put_manifest(self, name: str, reference: str, media_type: str, data: bytes) -> tuple[Digest, str]:
        """Stores a manifest whose parts are here already; its digest, and its subject's digest or "".

        Raises ManifestInvalid, DigestInvalid.
        """
        value = _parsed(data, media_type)
        digest = Digest.of(data)
        if ":" in reference:
            if _digest(reference) != digest:
                raise DigestInvalid("provided digest did not match uploaded content")
        elif not names.TAG.match(reference):
            raise ManifestInvalid(f"invalid tag {reference!r}")
        self._check_parts(name, value, media_type)
        self.blobs.put(data)
        _link(self._directory(name, "manifests") / digest.hex, media_type.encode())
        if ":" not in reference:
            _link(self._directory(name, "tags") / reference, str(digest).encode())
        subject = (value.get("subject") or {}).get("digest", "")
        if subject:
            _link(self._directory(name, "referrers") / _digest(subject).hex / digest.hex, b"")
        return digest, subject

    def _check_parts(self, name: str, value: dict[str, Any], media_type: str) -> None:
        if media_type in INDEXES:
            for child in value.get("manifests") or ():
                if not (self._directory(name, "manifests") / _digest(child.get("digest", "")).hex).exists():
                    raise ManifestInvalid(f"manifest references an unknown manifest {child.get('digest')}")
            return
        parts = [*(value.get("layers") or ()), *([value["config"]] if value.get("config") else [])]
        for part in parts:
            if not part.get("urls") and not self.has_blob(name, _digest(part.get("digest", ""))):
                raise ManifestInvalid(f"manifest references an unknown blob {part.get('digest')}")

    def delete_manifest(self, name: str, reference: str) -> None:
        """A tag alone, or a manifest with every tag that names it. Raises ManifestUnknown."""
        try:
            if ":" not in reference:
                if not names.TAG.match(reference):
                    raise FileNotFoundError
                (self._directory(name, "tags") / reference).unlink()
                return
            digest = _digest(reference)
            (self._directory(name, "manifests") / digest.hex).unlink()
        except FileNotFoundError:
            raise ManifestUnknown("manifest unknown") from None
        for tag in self.tags(name):
            path = self._directory(name, "tags") / tag
            if path.read_text() == str(digest):
                path.unlink()

    def tags(self, name: str) -> list[str]:
        """In order. Raises NameUnknown."""
        if not self.exists(name):
            raise NameUnknown("repository name not known to registry")
        try:
            return sorted(
                entry.name
                for entry in self._directory(name, "tags").iterdir()
                if not entry.name.endswith(".tmp")
            )
        except FileNotFoundError:
            return []

    def repositories(self) -> list[str]:
        """Every repository that has a manifest, in order."""
        return sorted(self._walk())

    def _walk(self) -> Iterator[str]:
        for where, directories, _ in os.walk(self._repositories):
            if "+manifests" in directories:
                yield os.path.relpath(where, self._repositories)
            directories[:] = [each for each in directories if not each.startswith("+")]

    def referrers(self, name: str, subject: str) -> list[dict[str, Any]]:
        """Descriptors of the manifests whose subject is `subject` (OCI distribution spec, "Listing Referrers")."""
        directory = self._directory(name, "referrers") / _digest(subject).hex
        found = []
        for entry in sorted(directory.iterdir()) if directory.exists() else ():
            digest = Digest("sha256", entry.name)
            if not (self._directory(name, "manifests") / digest.hex).exists():
                continue
            _, media_type, data = self.manifest(name, str(digest))
            value = json.loads(data)
            kind = value.get("artifactType") or (value.get("config") or {}).get("mediaType", "")
            descriptor = {
                "mediaType": media_type,
                "digest": str(digest),
                "size": len(data),
                "artifactType": kind,
            }
            found.append({**descriptor, "annotations": value.get("annotations") or {}})
        return found


def _link(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(str(path), data)


def _digest(text: str) -> Digest:
    try:
        digest = Digest.parse(text)
    except Invalid as error:
        raise DigestInvalid(str(error)) from None
    if digest.algorithm != "sha256":
        raise DigestInvalid(f"unsupported digest algorithm {digest.algorithm}")
    return digest


def _parsed(data: bytes, media_type: str) -> dict[str, Any]:
    if not media_type:
        raise ManifestInvalid("a manifest needs a Content-Type")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise ManifestInvalid("manifest is no JSON") from None
    if not isinstance(value, dict) or value.get("schemaVersion") != 2:
        raise ManifestInvalid("manifest has no schemaVersion 2")
    if value.get("mediaType", media_type) != media_type:
        raise ManifestInvalid("manifest's mediaType is not its Content-Type")
    return value
