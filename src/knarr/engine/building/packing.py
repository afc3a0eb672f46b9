"""Results as documents: configurations, manifests, attestation manifests, an index where there is more than one. Pure.

The same results give the same bytes, and an image's manifest is the same with attestations beside it and without.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from knarr.build.attest import purl
from knarr.build.attest.statement import PAYLOAD, PREDICATE, Attestation, Subject, statement
from knarr.build.errors import BuildFailed
from knarr.engine.building.choices import Choices, check_platforms
from knarr.engine.images.config import dump_json
from knarr.engine.images.manifest import ABOUT, REFERENCE
from knarr.model.descriptor import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    Descriptor,
)
from knarr.model.digest import Digest
from knarr.model.platform import Platform

Json = dict[str, Any]
_TO_OCI = {DOCKER_LAYER: OCI_LAYER, DOCKER_LAYER_GZIP: OCI_LAYER_GZIP}
_TO_DOCKER = {oci: docker for docker, oci in _TO_OCI.items()}
_NOWHERE = Platform("unknown", "unknown")


class Part(NamedTuple):
    """One platform's image, its layers as they will be given away."""

    platform: Platform
    config: bytes
    layers: tuple[Descriptor, ...]
    attestations: tuple[Attestation, ...] = ()


class Image(NamedTuple):
    """One platform's image as documents."""

    part: Part
    manifest: Descriptor
    document: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Everything: `documents` by digest, `images` in order, the attestation manifests, and the descriptor of the whole."""

    documents: Mapping[Digest, bytes]
    images: tuple[Image, ...]
    attached: tuple[Descriptor, ...]
    top: Descriptor
    indexed: bool

    @property
    def layers(self) -> tuple[Descriptor, ...]:
        """Each once."""
        found = {layer.digest: layer for image in self.images for layer in image.part.layers}
        return tuple(found.values())

    def told(self) -> dict[str, str]:
        """BuildKit's exporter response."""
        told = {
            "containerimage.digest": str(self.top.digest),
            "containerimage.descriptor": base64.b64encode(dump_json(shown(self.top))).decode(),
        }
        if not self.indexed:
            told["containerimage.config.digest"] = str(Digest.of(self.images[0].part.config))
        return told


def pack(parts: Sequence[Part], wish: Choices, *, multi: bool, oci: bool = True) -> Packed:
    """`multi`: the images are in an index, whatever their number; `oci`: the media types where the wish does not say.
    Raises BuildFailed."""
    oci = wish.oci if wish.oci is not None else oci or wish.annotations.need_oci
    attested = any(part.attestations for part in parts)
    if attested and not oci:
        raise BuildFailed('cannot export attestations with "oci-mediatypes=false"')
    check_platforms(wish.annotations, [part.platform for part in parts])
    documents: dict[Digest, bytes] = {}
    images = tuple(_image(part, wish, oci=oci) for part in parts)
    for image in images:
        documents |= {Digest.of(image.part.config): image.part.config, image.manifest.digest: image.document}
    attached = tuple(_attached(image, wish, documents) for image in images if image.part.attestations)
    if not multi and not attested:
        return Packed(documents=documents, images=images, attached=(), top=images[0].manifest, indexed=False)
    kind = OCI_INDEX if oci else DOCKER_LIST
    index: Json = {
        "schemaVersion": 2,
        "mediaType": kind,
        "manifests": [shown(each) for each in (*(image.manifest for image in images), *attached)],
    }
    notes = wish.annotations.index("index")
    if notes:
        index["annotations"] = notes
    data = _indented(index)
    top = Descriptor(kind, Digest.of(data), len(data), annotations=wish.annotations.index("index-descriptor"))
    documents[top.digest] = data
    return Packed(documents=documents, images=images, attached=attached, top=top, indexed=True)


def _image(part: Part, wish: Choices, *, oci: bool) -> Image:
    table = _TO_OCI if oci else _TO_DOCKER
    layers = [
        layer._replace(media_type=table.get(layer.media_type, layer.media_type)) for layer in part.layers
    ]
    config = Descriptor(OCI_CONFIG if oci else DOCKER_CONFIG, Digest.of(part.config), len(part.config))
    kind = OCI_MANIFEST if oci else DOCKER_MANIFEST
    document = _manifest(kind, config, layers, wish.annotations.manifest("manifest", part.platform))
    found = Descriptor(
        kind,
        Digest.of(document),
        len(document),
        part.platform,
        wish.annotations.manifest("manifest-descriptor", part.platform),
    )
    return Image(part._replace(layers=tuple(layers)), found, document)


def _attached(image: Image, wish: Choices, documents: dict[Digest, bytes]) -> Descriptor:
    digest = image.manifest.digest
    subjects = [
        Subject(purl.image(name, image.part.platform), {digest.algorithm: digest.hex}) for name in wish.names
    ]
    layers = []
    for each in image.part.attestations:
        data = statement(each, subjects)
        layers.append(
            Descriptor(PAYLOAD, Digest.of(data), len(data), annotations={PREDICATE: each.predicate_type})
        )
        documents[layers[-1].digest] = data
    config = dump_json(
        {
            "architecture": _NOWHERE.architecture,
            "os": _NOWHERE.os,
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [str(layer.digest) for layer in layers]},
        }
    )
    documents[Digest.of(config)] = config
    described = Descriptor(OCI_CONFIG, Digest.of(config), len(config))
    document = _manifest(OCI_MANIFEST, described, layers, {})
    documents[Digest.of(document)] = document
    about = {ABOUT: str(digest), REFERENCE: "attestation-manifest"}
    return Descriptor(OCI_MANIFEST, Digest.of(document), len(document), _NOWHERE, about)


def _manifest(
    kind: str, config: Descriptor, layers: Sequence[Descriptor], annotations: Mapping[str, str]
) -> bytes:
    value: Json = {
        "schemaVersion": 2,
        "mediaType": kind,
        "config": shown(config),
        "layers": [shown(layer) for layer in layers],
    }
    if annotations:
        value["annotations"] = dict(sorted(annotations.items()))
    return _indented(value)


def oci_type(descriptor: Descriptor) -> Descriptor:
    """With OCI's media type where it has Docker's."""
    return descriptor._replace(media_type=_TO_OCI.get(descriptor.media_type, descriptor.media_type))


def shown(descriptor: Descriptor) -> Json:
    """A descriptor's JSON, in the order of BuildKit's."""
    value: Json = {
        "mediaType": descriptor.media_type,
        "digest": str(descriptor.digest),
        "size": descriptor.size,
    }
    if descriptor.annotations:
        value["annotations"] = dict(sorted(descriptor.annotations.items()))
    if descriptor.platform is not None:
        os, architecture, variant = descriptor.platform
        value["platform"] = {"architecture": architecture, "os": os}
        if variant:
            value["platform"]["variant"] = variant
    return value


def _indented(value: Json) -> bytes:
    return json.dumps(value, indent=2, ensure_ascii=False).encode()
