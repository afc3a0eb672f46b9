"""What `--cache-to` and `--cache-from` say."""

import pytest

from knarr.build.caching import wishes
from knarr.build.errors import BuildFailed
from knarr.build.port import CacheSpec


def to(kind: str, **attrs: str) -> wishes.To:
    (found,) = wishes.exports(
        [CacheSpec(type=kind, attrs={k.replace("_", "-"): v for k, v in attrs.items()})]
    )
    return found


def test_a_registry_gets_an_image_manifest() -> None:
    found = to("registry", ref="host:5000/cache", mode="max")
    assert str(found.ref) == "host:5000/cache:latest"
    assert (found.all, found.oci, found.artifact, found.ignore_error) == (True, True, True, False)


def test_dockers_media_types_need_an_index() -> None:
    assert not to("local", dest="d", oci_mediatypes="false").artifact
    with pytest.raises(BuildFailed, match="OCI mediatypes are required"):
        to("local", dest="d", oci_mediatypes="false", image_manifest="true")


@pytest.mark.parametrize(
    ("kind", "attrs", "words"),
    [
        ("gha", {}, 'unknown cache exporter: "gha"'),
        ("s3", {"bucket": "b"}, 'unknown cache exporter: "s3"'),
        ("azblob", {}, 'unknown cache exporter: "azblob"'),
        ("registry", {}, "failed to configure registry cache exporter: missing ref"),
        ("registry", {"ref": "A B"}, "invalid reference format"),
        ("local", {}, "local cache exporter requires dest"),
        ("local", {"dest": "d", "oci_mediatypes": "maybe"}, "failed to parse oci-mediatypes"),
        ("local", {"dest": "d", "compression": "lz"}, "unsupported compression type lz"),
    ],
)
def test_what_cannot_be_is_refused_by_name(kind: str, attrs: dict[str, str], words: str) -> None:
    with pytest.raises(BuildFailed, match=words):
        to(kind, **attrs)


def test_two_of_the_same_are_refused_but_inline() -> None:
    inline = CacheSpec(type="inline", attrs={})
    assert len(wishes.exports([inline, inline])) == 1
    one = CacheSpec(type="registry", attrs={"ref": "a"})
    with pytest.raises(BuildFailed, match=r"duplicate cache exports \[registry\]"):
        wishes.exports([one, one])


def test_imports_are_tried_once_each() -> None:
    specs = [
        *wishes.listed(
            {"cache-from": "one,two", "cache-imports": '[{"Type":"registry","Attrs":{"ref":"one"}}]'}
        ),
        CacheSpec(type="local", attrs={"src": "d", "digest": "x", "mounts": "true"}),
    ]
    found = wishes.imports(specs)
    assert [each.name for each in found][:2] == ["one", "two"]
    assert found[2].name.startswith("local:")
    assert found[2].mounts


@pytest.mark.parametrize("text", ["{", "3", '["x"]', '[{"Attrs":{}}]', '{"Type":"x"}'])
def test_imports_that_cannot_be_read(text: str) -> None:
    with pytest.raises(BuildFailed, match="failed to unmarshal cache-imports"):
        wishes.listed({"cache-imports": text})
