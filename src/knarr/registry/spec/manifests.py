"""What a manifest says about other things, read with suspicion; pure (OCI image spec, manifest.md and image-index.md)."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from knarr.model.descriptor import INDEXES, MANIFESTS
from knarr.model.digest import Digest
from knarr.model.errors import Invalid
from knarr.registry.spec.errors import ManifestInvalid
from knarr.registry.spec.names import MEDIA_TYPE


class Manifest(NamedTuple):
    """`blobs` and `manifests` must be in the repository before it; `subject` need not be. An index may list blobs, too: BuildKit
    lays its caches out like that."""

    media_type: str
    blobs: tuple[Digest, ...]
    manifests: tuple[Digest, ...]
    subject: Digest | None
    artifact_type: str
    annotations: Mapping[str, str]


def parse(data: bytes, content_type: str) -> Manifest:
    """A manifest or an index of schema 2, as a client pushed it. Raises ManifestInvalid."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise ManifestInvalid("manifest is no JSON") from None
    if not isinstance(value, dict) or value.get("schemaVersion") != 2:
        raise ManifestInvalid("manifest has no schemaVersion 2")
    claimed = content_type.partition(";")[0].strip()
    media_type = claimed or str(value.get("mediaType", ""))
    if not MEDIA_TYPE.match(media_type):
        raise ManifestInvalid("a manifest needs a Content-Type")
    if value.get("mediaType", media_type) != media_type:
        raise ManifestInvalid("manifest's mediaType is not its Content-Type")
    config = _object(value.get("config"), "config")
    subject = _object(value.get("subject"), "subject")
    children, parts = _children(value) if media_type in INDEXES else ([], _parts(value, config))
    return Manifest(
        media_type,
        tuple(_digest(part) for part in parts if not part.get("urls")),
        tuple(_digest(child) for child in children),
        _digest(subject) if subject else None,
        str(value.get("artifactType") or config.get("mediaType") or ""),
        {str(key): str(text) for key, text in _object(value.get("annotations"), "annotations").items()},
    )


_Objects = list[dict[str, Any]]


def _children(value: Mapping[str, Any]) -> tuple[_Objects, _Objects]:
    """An index' manifests, and what else it lists."""
    listed = _objects(value.get("manifests"), "manifests")
    known = [each.get("mediaType", "") in ("", *MANIFESTS, *INDEXES) for each in listed]
    found = list(zip(listed, known, strict=True))
    return [each for each, manifest in found if manifest], [each for each, manifest in found if not manifest]


def _parts(value: Mapping[str, Any], config: dict[str, Any]) -> _Objects:
    return [*([config] if config else []), *_objects(value.get("layers"), "layers")]


def _object(value: Any, what: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ManifestInvalid(f"manifest's {what} is no object")
    return value


def _objects(value: Any, what: str) -> _Objects:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise ManifestInvalid(f"manifest's {what} is no list of objects")
    return value


def _digest(descriptor: Mapping[str, Any]) -> Digest:
    text = descriptor.get("digest")
    try:
        return Digest.parse(text if isinstance(text, str) else "")
    except Invalid:
        raise ManifestInvalid(f"manifest has an invalid digest {str(text)[:100]!r}") from None
