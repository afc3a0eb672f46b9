"""Manifests and indexes: JSON to descriptors and back, and the choice of a platform. Pure."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from knarr.engine.images.config import dump_json, load_json
from knarr.engine.images.errors import BadImage, NoMatchingPlatform
from knarr.model.descriptor import (
    DOCKER_CONFIG,
    DOCKER_LAYER_GZIP,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    INDEXES,
    MANIFESTS,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
)
from knarr.model.digest import Digest
from knarr.model.errors import Invalid
from knarr.model.platform import Platform

_CONFIGS = frozenset({OCI_CONFIG, DOCKER_CONFIG, "application/octet-stream", ""})
MAX_SIZE = 4 << 20
REFERENCE = "vnd.docker.reference.type"
ABOUT = "vnd.docker.reference.digest"


class Manifest(NamedTuple):
    """One image's manifest; `layers` lowest first."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]


def media_type(data: bytes, told: str = "") -> str:
    """What the document itself says it is, or what was told, or what its members show."""
    value = load_json(data, "manifest")
    own = _text(value, "mediaType") or told
    if own in INDEXES or own in MANIFESTS:
        return own
    if "manifests" in value:
        return OCI_INDEX
    return OCI_MANIFEST if "layers" in value and "config" in value else own


def parse_manifest(data: bytes, told: str = "") -> Manifest:
    """Raises BadImage for anything but an image's manifest."""
    found = parse_artifact(data, told)
    if found.config.media_type not in _CONFIGS:
        raise BadImage(f"unsupported media type {found.config.media_type}: this is not a container image")
    return found


def parse_artifact(data: bytes, told: str = "") -> Manifest:
    """A manifest, whatever its configuration is one of. Raises BadImage."""
    kind = media_type(data, told)
    if kind not in MANIFESTS:
        raise BadImage(f"unsupported manifest media type {kind or 'of the old schema 1'}")
    value = load_json(data, "manifest")
    try:
        config = _descriptor(value["config"])
        layers = tuple(_descriptor(layer) for layer in value["layers"])
    except (KeyError, TypeError, Invalid, AttributeError) as error:
        raise BadImage(f"invalid manifest: {error!r}") from None
    return Manifest(kind, config, layers)


def parse_index(data: bytes) -> tuple[Descriptor, ...]:
    """The manifests of an index. Raises BadImage."""
    try:
        return tuple(_descriptor(entry) for entry in load_json(data, "index")["manifests"])
    except (KeyError, TypeError, Invalid, AttributeError) as error:
        raise BadImage(f"invalid index: {error!r}") from None


def _descriptor(value: dict[str, Any]) -> Descriptor:
    size = value["size"]
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise Invalid(f"invalid size {size!r}")
    platform = value.get("platform")
    found = None
    if platform:
        names = (_text(platform, "os"), _text(platform, "architecture"), _text(platform, "variant"))
        found = Platform(*names).normalised()
    notes = value.get("annotations") or {}
    annotations = {key: text for key, text in notes.items() if isinstance(text, str)}
    return Descriptor(
        _text(value, "mediaType"), Digest.parse(_text(value, "digest")), size, found, annotations
    )


def _text(value: dict[str, Any], key: str) -> str:
    """A string member, empty if it is missing. Raises BadImage."""
    text = value.get(key) or ""
    if not isinstance(text, str):
        raise BadImage(f"invalid manifest: {key} is not a string")
    return text


def choose(entries: Sequence[Descriptor], wanted: Platform) -> Descriptor:
    """The first entry that serves the platform; on amd64 also 386, on arm also older variants. Raises NoMatchingPlatform."""
    images = [entry for entry in entries if entry.media_type in MANIFESTS or entry.media_type in INDEXES]
    for candidate in serving(wanted):
        for entry in images:
            if entry.platform is not None and entry.platform.matches(candidate):
                return entry
    if len(images) == 1 and images[0].platform is None:
        return images[0]
    raise NoMatchingPlatform(f"no matching manifest for {wanted} in the manifest list entries")


def serving(wanted: Platform) -> tuple[Platform, ...]:
    """The platforms whose programs run where `wanted`'s do, best first."""
    if wanted.architecture == "amd64":
        return (wanted, wanted._replace(variant=""), Platform(wanted.os, "386"))
    if wanted.architecture == "arm":
        number = int(wanted.variant[1:] or 7) if wanted.variant[1:].isdigit() or not wanted.variant else 7
        return tuple(Platform(wanted.os, "arm", f"v{version}") for version in range(number, 4, -1))
    if wanted.architecture == "arm64":
        return (wanted, *(Platform(wanted.os, "arm", f"v{version}") for version in (8, 7, 6, 5)))
    return (wanted,)


def dump_manifest(config: Descriptor, layers: Sequence[Descriptor]) -> bytes:
    """Docker's schema 2, as docker's own push makes it."""
    value = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": _dump(config),
        "layers": [_dump(layer) for layer in layers],
    }
    return json.dumps(value, indent=3).encode()


def dump_index(entries: Sequence[Descriptor]) -> bytes:
    """An OCI index, as a layout's index.json is one."""
    return dump_json(
        {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [_dump(entry) for entry in entries],
        }
    )


def _dump(descriptor: Descriptor) -> dict[str, Any]:
    value: dict[str, Any] = {
        "mediaType": descriptor.media_type,
        "size": descriptor.size,
        "digest": str(descriptor.digest),
    }
    if descriptor.annotations:
        value["annotations"] = dict(descriptor.annotations)
    if descriptor.platform:
        os, architecture, variant = descriptor.platform
        value["platform"] = {"architecture": architecture, "os": os}
        if variant:
            value["platform"]["variant"] = variant
    return value


def config_descriptor(data: bytes) -> Descriptor:
    """Of a new configuration blob."""
    return Descriptor(DOCKER_CONFIG, Digest.of(data), len(data))


def layer_descriptor(digest: Digest, size: int) -> Descriptor:
    """Of a gzip layer made here."""
    return Descriptor(DOCKER_LAYER_GZIP, digest, size)


def is_index(kind: str) -> bool:
    """Whether a media type names a list of manifests."""
    return kind in (OCI_INDEX, DOCKER_LIST)
