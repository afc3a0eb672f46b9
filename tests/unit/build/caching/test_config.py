"""BuildKit's cache configuration: what is written is read, and nothing that is read can do harm."""

import json
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.build.caching.config import (
    GIVES,
    UNCOMPRESSED,
    BadCache,
    Config,
    Layer,
    Link,
    Record,
    Result,
    dump,
    read,
    read_inline,
)
from knarr.model.descriptor import OCI_LAYER_GZIP, Descriptor
from knarr.model.digest import Digest


def digest(name: str) -> Digest:
    return Digest.of(name.encode())


def blob(name: str, diff: str = "") -> Descriptor:
    notes = {UNCOMPRESSED: str(digest(diff))} if diff else {}
    return Descriptor(OCI_LAYER_GZIP, digest(name), 10, annotations=notes)


def blobs(*described: Descriptor) -> dict[str, Descriptor]:
    return {str(each.digest): each for each in described}


def key(name: str) -> str:
    return digest(name).hex


def record(name: str, *inputs: Sequence[Link], layers: Sequence[int] = ()) -> Record:
    return Record([Result(each) for each in layers], [], str(digest(name)), [list(each) for each in inputs])


def test_what_buildkit_writes_is_read() -> None:
    """A parent of 0 is left out by Go's encoder, -1 is not."""
    text = {
        "layers": [
            {"blob": str(digest("base")), "parent": -1},
            {"blob": str(digest("top"))},
        ],
        "records": [
            {"digest": str(digest("source"))},
            {
                "layers": [{"layer": 1, "createdAt": "2026-08-21T15:29:35.123456789+02:00"}],
                "digest": str(digest("step")),
                "inputs": [[{"selector": "sel", "link": 0}]],
            },
        ],
    }
    found = read(json.dumps(text).encode(), blobs(blob("base", "b"), blob("top", "t")))
    assert found[key("step")].diff == digest("t")
    assert found[key("step")].blob == blob("top")
    assert key("source") not in found


def test_what_is_written_is_what_gos_decoder_expects() -> None:
    config = Config([Layer("sha256:a", -1), Layer("sha256:b", 0)], [record("x"), record("y", [Link(0)])])
    value = json.loads(dump(config))
    assert value["layers"] == [{"blob": "sha256:a", "parent": -1}, {"blob": "sha256:b"}]
    assert value["records"][0] == {"digest": str(digest("x"))}
    assert value["records"][1]["inputs"] == [[{"link": 0}]]


def test_a_step_without_its_layer_is_known_by_name() -> None:
    steps = [record("exact"), record("quick")]
    given_ = record("diff", [Link(0, GIVES), Link(1, GIVES)])
    found = read(dump(Config([], [*steps, given_])), {})
    assert found[key("quick")].blob is None
    assert found[key("quick")].diff == digest("diff")
    assert found[key("quick")].exact == found[key("exact")].exact == key("exact")


def test_a_layer_that_the_manifest_lacks_is_none() -> None:
    config = Config([Layer(str(digest("gone")), -1)], [record("step", layers=[0])])
    assert read(dump(config), {}) == {}


def test_inline_records_point_at_the_images_layers() -> None:
    layers = [blob("base", "b"), blob("one", "1"), blob("two", "2")]
    text = [
        {"digest": str(digest("first")), "layers": [{"layer": 1, "createdAt": "x"}]},
        {"digest": str(digest("link")), "chains": [{"layers": [2], "createdAt": "x"}]},
    ]
    found = read_inline(json.dumps(text).encode(), layers)
    assert found[key("first")].blob == blob("one")
    assert found[key("link")].blob == blob("two")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (Config([], [record("a", [Link(1)])]), "invalid record ID: 1"),
        (Config([], [record("a", [Link(-1)])]), "invalid record ID: -1"),
        (Config([], [record("a", [])]), "invalid empty input for record 0"),
        (Config([], [record("a", [Link(0)])]), "invalid looping record"),
        (Config([], [record("a", [Link(1)]), record("b", [Link(0)])]), "invalid looping record"),
        (Config([], [record("a", layers=[0])]), "invalid layer index 0"),
        (Config([Layer("x", 3)], []), "invalid layer index 3"),
        (Config([Layer("x", -2)], []), "invalid layer index -2"),
        (Config([Layer("x", 1), Layer("y", 0)], []), "invalid looping layer"),
        (Config([Layer("x", 0)], []), "invalid looping layer"),
    ],
)
def test_what_is_wrong_has_buildkits_words(config: Config, words: str) -> None:
    with pytest.raises(BadCache, match=words):
        read(dump(config), {})


def test_a_layer_that_is_not_what_the_step_gives_is_refused() -> None:
    config = Config(
        [Layer(str(digest("top")), -1)], [record("step", layers=[0]), record("other", [Link(0, GIVES)])]
    )
    with pytest.raises(BadCache, match="record 0 gives"):
        read(dump(config), blobs(blob("top", "t")))


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{", b'{"records": 3}', b'{"layers": [{"parent": "x"}]}', b"\xff"]
)
def test_no_json_of_this_kind(data: bytes) -> None:
    with pytest.raises(BadCache):
        read(data, {})


_numbers = st.integers(-3, 6)
_digests = st.one_of(st.sampled_from([str(digest(name)) for name in "abcd"]), st.text(max_size=8))
_links = st.lists(st.builds(Link, _numbers, st.sampled_from(["", GIVES, "x"])), max_size=3)
_wild = st.builds(
    Config,
    st.lists(st.builds(Layer, _digests, _numbers), max_size=5),
    st.lists(
        st.builds(
            Record,
            st.lists(st.builds(Result, _numbers), max_size=2),
            st.just([]),
            _digests,
            st.lists(_links, max_size=2),
        ),
        max_size=6,
    ),
)


@given(_wild)
def test_any_configuration_is_read_or_refused(config: Config) -> None:
    """And what is found is only what the blobs and the records name."""
    offered = blobs(blob("a", "1"), blob("b", "2"), blob("c"))
    try:
        found = read(dump(config), offered)
    except BadCache:
        return
    for known in found.values():
        assert known.blob is None or str(known.blob.digest) in offered
        assert str(known.diff) in {
            *(each.digest for each in config.records),
            str(digest("1")),
            str(digest("2")),
        }


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        read(data, {})
    except BadCache:
        return
    msgspec.json.decode(data)


def test_a_very_deep_chain_is_no_trouble() -> None:
    count = 50_000
    layers = [Layer("x", number + 1) for number in range(count)] + [Layer("x", -1)]
    records = [record("root"), *(Record([], [], "", [[Link(number)]]) for number in range(count))]
    assert read(dump(Config(layers, records)), {}) == {}
