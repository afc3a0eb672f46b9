"""Manifests are read or refused."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from knarr.model.descriptor import OCI_INDEX, OCI_MANIFEST
from knarr.model.digest import Digest
from knarr.registry.spec import manifests
from knarr.registry.spec.errors import ManifestInvalid

ONE, TWO = Digest.of(b"1"), Digest.of(b"2")
WORDS = [
    "schemaVersion",
    "mediaType",
    "config",
    "layers",
    "manifests",
    "subject",
    "annotations",
    "digest",
    "urls",
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from([OCI_INDEX, OCI_MANIFEST, str(ONE), "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES, st.sampled_from(["", OCI_INDEX, OCI_MANIFEST, "x", "a/b; c=d"]), st.booleans())
def test_any_json(value: Any, content_type: str, versioned: bool) -> None:
    if versioned and isinstance(value, dict):
        value = {**value, "schemaVersion": 2}
    try:
        found = manifests.parse(json.dumps(value).encode(), content_type)
    except ManifestInvalid:
        return
    assert all(isinstance(each, Digest) for each in (*found.blobs, *found.manifests))


@given(st.binary(max_size=40))
def test_any_bytes(data: bytes) -> None:
    try:
        manifests.parse(data, OCI_MANIFEST)
    except ManifestInvalid:
        pass


def test_a_manifest() -> None:
    value = {
        "schemaVersion": 2,
        "config": {"mediaType": "c/d", "digest": str(ONE)},
        "layers": [{"digest": str(TWO)}, {"digest": str(ONE), "urls": ["https://elsewhere"]}],
        "subject": {"digest": str(TWO)},
        "annotations": {"a": "b"},
    }
    found = manifests.parse(json.dumps(value).encode(), f"{OCI_MANIFEST}; charset=utf-8")
    assert found == (OCI_MANIFEST, (ONE, TWO), (), TWO, "c/d", {"a": "b"})


def test_an_index_without_content_type() -> None:
    value = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [{"digest": str(ONE)}]}
    assert manifests.parse(json.dumps(value).encode(), "").manifests == (ONE,)
