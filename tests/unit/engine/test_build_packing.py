"""Results as documents, and what exporters of images were asked for."""

import json
from typing import Any

import pytest

from knarr.build.attest.statement import Attestation
from knarr.build.errors import BuildFailed
from knarr.build.port import Exporter
from knarr.engine.building.choices import Choices, choices
from knarr.engine.building.layouts import layout
from knarr.engine.building.packing import Packed, Part, pack
from knarr.model.descriptor import DOCKER_LAYER_GZIP, OCI_LAYER_ZSTD, Descriptor
from knarr.model.digest import Digest
from knarr.model.platform import Platform

AMD, ARM = Platform("linux", "amd64"), Platform("linux", "arm64")
LAYERS = (Descriptor(DOCKER_LAYER_GZIP, Digest.of(b"layer"), 5),)
TOLD = (Attestation("https://slsa.dev/provenance/v0.2", {"a": 1}, "provenance.json"),)


def wish(**attrs: str) -> Choices:
    """What attributes mean; `__` stands for what a name cannot have."""
    return choices(
        Exporter(type="image", attrs={name.replace("_", "-"): value for name, value in attrs.items()})
    )


def noted(attrs: dict[str, str]) -> Choices:
    """With annotations."""
    return choices(Exporter(type="image", attrs=attrs))


def document(packed: Packed, digest: Digest) -> Any:
    """One of the documents."""
    return json.loads(packed.documents[digest])


def test_a_manifest_is_the_same_with_attestations_and_without() -> None:
    plain = pack([Part(AMD, b"{}", LAYERS)], wish(name="a:1"), multi=False)
    attested = pack([Part(AMD, b"{}", LAYERS, TOLD)], wish(name="a:1"), multi=False)
    assert not plain.indexed
    assert plain.told()["containerimage.config.digest"] == str(Digest.of(b"{}"))
    assert attested.indexed
    assert "containerimage.config.digest" not in attested.told()
    assert attested.images[0].manifest == plain.images[0].manifest
    first, second = document(attested, attested.top.digest)["manifests"]
    assert first["digest"] == str(plain.top.digest)
    assert second["platform"] == {"architecture": "unknown", "os": "unknown"}
    assert second["annotations"] == {
        "vnd.docker.reference.digest": str(plain.top.digest),
        "vnd.docker.reference.type": "attestation-manifest",
    }
    (layer,) = document(attested, Digest.parse(second["digest"]))["layers"]
    assert layer["mediaType"] == "application/vnd.in-toto+json"
    assert layer["annotations"] == {"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"}
    statement = document(attested, Digest.parse(layer["digest"]))
    assert statement["subject"] == [
        {"name": "pkg:docker/a@1?platform=linux%2Famd64", "digest": {"sha256": plain.top.digest.hex}}
    ]


def test_several_platforms() -> None:
    packed = pack([Part(AMD, b"{}", LAYERS), Part(ARM, b"[]", LAYERS)], Choices(), multi=True)
    found = document(packed, packed.top.digest)
    assert found["mediaType"] == "application/vnd.oci.image.index.v1+json"
    assert [each["platform"]["architecture"] for each in found["manifests"]] == ["amd64", "arm64"]
    assert len(packed.layers) == 1


def test_media_types() -> None:
    oci = pack([Part(AMD, b"{}", LAYERS)], Choices(), multi=False)
    manifest = document(oci, oci.top.digest)
    assert manifest["layers"][0]["mediaType"] == "application/vnd.oci.image.layer.v1.tar+gzip"
    docker = pack([Part(AMD, b"{}", LAYERS)], wish(oci_mediatypes="false"), multi=True)
    found = document(docker, docker.top.digest)
    assert found["mediaType"] == "application/vnd.docker.distribution.manifest.list.v2+json"
    with pytest.raises(BuildFailed, match='cannot export attestations with "oci-mediatypes=false"'):
        pack([Part(AMD, b"{}", LAYERS, TOLD)], wish(oci_mediatypes="false"), multi=False)


def test_annotations_of_every_level() -> None:
    asked = noted(
        {
            "annotation.all": "1",
            "annotation-manifest[linux/arm64].arm": "2",
            "annotation-manifest-descriptor.described": "3",
            "annotation-index.index": "4",
            "annotation-index-descriptor.top": "5",
        }
    )
    packed = pack([Part(AMD, b"{}", LAYERS), Part(ARM, b"[]", LAYERS)], asked, multi=True)
    index = document(packed, packed.top.digest)
    assert index["annotations"] == {"index": "4"}
    assert packed.top.annotations == {"top": "5"}
    assert [each["annotations"] for each in index["manifests"]] == [{"described": "3"}] * 2
    manifests = [document(packed, image.manifest.digest) for image in packed.images]
    assert [each["annotations"] for each in manifests] == [{"all": "1"}, {"all": "1", "arm": "2"}]
    members = layout(packed, [], docker=False)
    top = members["index.json"]
    assert isinstance(top, bytes)
    assert json.loads(top)["manifests"][0]["annotations"] == {"top": "5"}


def test_an_annotation_for_a_platform_that_is_not_built() -> None:
    asked = noted({"annotation[linux/s390x].a": "b"})
    with pytest.raises(BuildFailed, match="invalid annotation: no platform linux/s390x found in source"):
        pack([Part(AMD, b"{}", LAYERS)], asked, multi=False)


@pytest.mark.parametrize(
    ("attrs", "message"),
    [
        ({"compression": "foo"}, "unsupported compression type foo"),
        ({"compression": "estargz"}, "compression=estargz is not supported"),
        ({"compression-level": "high"}, "non-int value high specified for compression-level"),
        ({"oci-mediatypes": "maybe"}, "non-bool value specified for oci-mediatypes"),
        ({"compression": "zstd", "oci-mediatypes": "false"}, "conflicts with"),
        ({"annotation-index.a": "b", "oci-mediatypes": "false"}, "cannot export annotations"),
        ({"annotation-layer.a": "b"}, "unrecognized annotation type layer"),
        ({"annotation": "b"}, "invalid annotation key annotation"),
        ({"name": "NOT VALID"}, "invalid reference format"),
        ({"name": "a:1", "push-by-digest": "true"}, "can't push tagged ref docker.io/library/a:1 by digest"),
    ],
)
def test_what_is_not_understood_is_named(attrs: dict[str, str], message: str) -> None:
    with pytest.raises(BuildFailed, match=message):
        choices(Exporter(type="image", attrs=attrs))


def test_layers_that_have_no_docker_type_keep_theirs() -> None:
    layer = Descriptor(OCI_LAYER_ZSTD, Digest.of(b"z"), 1)
    packed = pack([Part(AMD, b"{}", (layer,))], wish(oci_mediatypes="false"), multi=False)
    assert document(packed, packed.top.digest)["layers"][0]["mediaType"] == OCI_LAYER_ZSTD
