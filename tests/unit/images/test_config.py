"""Configurations and manifests: parsed, written, and refused when they are malformed."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knarr.engine.images.config import dump_image, parse_config, parse_history, parse_image
from knarr.engine.images.errors import BadImage, NoMatchingPlatform
from knarr.engine.images.manifest import (
    Manifest,
    choose,
    dump_index,
    dump_manifest,
    layer_descriptor,
    media_type,
    parse_index,
    parse_manifest,
)
from knarr.model.container import Healthcheck
from knarr.model.descriptor import DOCKER_CONFIG, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Descriptor
from knarr.model.digest import Digest
from knarr.model.image import History, Image, ImageConfig
from knarr.model.platform import Platform
from knarr.model.ports import Port

_KEYS = [
    "config",
    "rootfs",
    "type",
    "diff_ids",
    "created",
    "history",
    "layers",
    "manifests",
    "mediaType",
    "size",
    "digest",
    "platform",
    "os",
    "architecture",
    "annotations",
    "Env",
    "Cmd",
    "Labels",
    "Volumes",
    "ExposedPorts",
    "Healthcheck",
    "Test",
    "created_by",
    "variant",
    "author",
]
AMD64 = Platform("linux", "amd64")
FULL = ImageConfig(
    user="1:1",
    exposed_ports=(Port(80), Port(443, "udp")),
    environment=("A=1",),
    entrypoint=("/e",),
    command=("c",),
    volumes=("/v",),
    working_dir="/w",
    labels={"k": "v"},
    stop_signal="SIGQUIT",
    healthcheck=Healthcheck(test=("CMD", "x"), interval=5, retries=2),
    shell=("/bin/bash", "-c"),
    on_build=("RUN x",),
)


@pytest.mark.parametrize("config", [FULL, ImageConfig(), ImageConfig(entrypoint=("x",))])
def test_what_is_written_is_read(config: ImageConfig) -> None:
    layer = Digest.of(b"layer")
    data = dump_image(
        platform=Platform("linux", "arm", "v7"),
        config=config,
        layers=[layer],
        created=1_700_000_000_123_456_789,
        comment="c",
        history=[History(created=5, comment="h"), History(created_by="x", empty_layer=True)],
    )
    image = parse_image(data)
    assert image.id == Digest.of(data)
    assert (image.config, image.layers, image.comment) == (config, (layer,), "c")
    assert image.platform == Platform("linux", "arm", "v7")
    assert image.created == 1_700_000_000_123_456_789
    assert [(step.comment, step.empty_layer) for step in parse_history(data)] == [("h", False), ("", True)]


def test_command_may_be_a_string_and_members_null() -> None:
    config = parse_config(
        {"Cmd": "sh", "Env": None, "Entrypoint": None, "Labels": None, "ExposedPorts": None}
    )
    assert config == ImageConfig(command=("sh",))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{",
        b'{"rootfs": 3}',
        b'{"rootfs": {"type": "other"}}',
        b'{"rootfs": {"diff_ids": ["x"]}}',
        b'{"created": "yesterday"}',
        b'{"config": {"ExposedPorts": {"x": {}}}}',
        b'{"config": []}',
        b"[" * 100_000,
    ],
)
def test_a_malformed_configuration(data: bytes) -> None:
    if data == b'{"config": []}':
        assert parse_image(data).config == ImageConfig()
        return
    with pytest.raises(BadImage):
        parse_image(data)


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(_KEYS),
                inner,
            )
        ),
    )
)
def test_any_json_is_read_or_refused(value: object) -> None:
    data = json.dumps(value).encode()
    for parse in (parse_image, parse_manifest, parse_index, parse_history):
        try:
            parse(data)
        except BadImage:
            pass


def test_a_manifest_is_written_as_docker_does() -> None:
    config = Descriptor(DOCKER_CONFIG, Digest.of(b"c"), 1)
    layer = layer_descriptor(Digest.of(b"l"), 2)
    data = dump_manifest(config, [layer])
    assert parse_manifest(data) == (DOCKER_MANIFEST, config, (layer,))


def test_media_types_are_found_without_being_told() -> None:
    assert media_type(b'{"manifests": []}') == OCI_INDEX
    assert media_type(b'{"config": {}, "layers": []}') == OCI_MANIFEST
    assert media_type(b"{}", DOCKER_MANIFEST) == DOCKER_MANIFEST
    with pytest.raises(BadImage, match="schema 1"):
        parse_manifest(b'{"schemaVersion": 1}')


def entry(platform: Platform | None, name: bytes = b"x") -> Descriptor:
    return Descriptor(OCI_MANIFEST, Digest.of(name), 1, platform)


def test_the_best_platform_is_chosen() -> None:
    arm5, arm7, intel = (
        entry(Platform("linux", "arm", "v5"), b"5"),
        entry(Platform("linux", "arm", "v7"), b"7"),
        entry(Platform("linux", "386"), b"i"),
    )
    assert choose([arm5, arm7], Platform("linux", "arm", "v7")) is arm7
    assert choose([arm5, arm7], Platform("linux", "arm", "v6")) is arm5
    assert choose([arm5, intel], AMD64) is intel
    assert choose([intel, entry(AMD64)], AMD64).platform == AMD64
    assert choose([entry(None)], AMD64).platform is None
    for entries in ([], [arm5], [entry(None), entry(None)]):
        with pytest.raises(
            NoMatchingPlatform, match="no matching manifest for linux/amd64 in the manifest list"
        ):
            choose(entries, AMD64)


TYPES: dict[Any, Any] = {
    parse_image: Image,
    parse_history: tuple[History, ...],
    parse_manifest: Manifest,
    parse_index: tuple[Descriptor, ...],
}
_WEIRD: tuple[Any, ...] = (
    None,
    True,
    -1,
    1.5,
    10**30,
    "x",
    [],
    {},
    [None],
    ["x"],
    [{}],
    {"a": 1},
    {"": None},
)


def mutants(value: Any) -> Iterator[Any]:
    """Copies of a document, each with one member replaced by something of another kind."""
    yield from _WEIRD
    if isinstance(value, dict):
        for key in value:
            for mutant in mutants(value[key]):
                yield {**value, key: mutant}
    elif isinstance(value, list):
        for index, member in enumerate(value):
            for mutant in mutants(member):
                yield [*value[:index], mutant, *value[index + 1 :]]


def test_every_member_may_be_of_any_kind() -> None:
    layer = Digest.of(b"layer")
    config = dump_image(
        platform=AMD64, config=FULL, layers=[layer], created=5, history=[History(created=5, created_by="x")]
    )
    manifest = dump_manifest(Descriptor(DOCKER_CONFIG, layer, 1), [layer_descriptor(layer, 2)])
    index = dump_index([entry(AMD64)._replace(annotations={"a": "b"})])
    for data, parsers in (
        (config, (parse_image, parse_history)),
        (manifest, (parse_manifest,)),
        (index, (parse_index,)),
    ):
        for mutant in mutants(json.loads(data)):
            for parse in parsers:
                try:
                    found = parse(json.dumps(mutant).encode())
                except BadImage:
                    continue
                assert msgspec.json.decode(msgspec.json.encode(found), type=TYPES[parse]) == found, mutant
