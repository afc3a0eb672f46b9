"""The protocol's paths, headers and errors; where a registry is looked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.model.errors import Denied, Invalid, NotFound, Unavailable
from knarr.registry.client.hosts import Endpoint, endpoints, is_insecure
from knarr.registry.spec import errors, names


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/v2/a/manifests/latest", ("a", "manifests", "latest")),
        ("/v2/a/b/c/blobs/sha256:00", ("a/b/c", "blobs", "sha256:00")),
        ("/v2/a/blobs/uploads/", ("a", "blobs/uploads", "")),
        ("/v2/a/blobs/uploads", ("a", "blobs/uploads", "")),
        ("/v2/a/blobs/uploads/id", ("a", "blobs/uploads", "id")),
        ("/v2/a/tags/list", ("a", "tags", "list")),
        ("/v2/a/referrers/sha256:00", ("a", "referrers", "sha256:00")),
    ],
)
def test_targets(path: str, wanted: tuple[str, str, str]) -> None:
    assert names.target(path) == wanted


@pytest.mark.parametrize("path", ["/v2/", "/v1/a/manifests/x", "/v2/a/nothing/x", "/v2/manifests"])
def test_other_paths(path: str) -> None:
    assert names.target(path) is None


@pytest.mark.parametrize("name", ["../etc", "A", "a//b", "a/", "+blobs", "a/../b", "", "a" * 300])
def test_names_cannot_leave(name: str) -> None:
    with pytest.raises(Invalid):
        names.check_name(name)


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("bytes=0-4", (0, 4)),
        ("bytes=5-", (5, 9)),
        ("bytes=-3", (7, 9)),
        ("bytes=0-99", (0, 9)),
        ("", None),
        ("bytes=5-2", None),
        ("items=1-2", None),
        ("bytes=0-1,3-4", None),
    ],
)
def test_ranges(header: str, wanted: tuple[int, int] | None) -> None:
    assert names.byte_range(header, 10) == wanted


def test_a_range_outside_is_refused() -> None:
    with pytest.raises(Invalid):
        names.byte_range("bytes=10-", 10)


@given(st.text(max_size=30), st.integers(0, 100))
def test_any_range_is_inside_or_refused(header: str, size: int) -> None:
    try:
        found = names.byte_range(header, size)
    except Invalid:
        return
    assert found is None or 0 <= found[0] <= found[1] < size


@given(st.text(max_size=80))
def test_any_challenge_and_link_can_be_read(header: str) -> None:
    names.challenge(header)
    names.next_link(header)
    try:
        first, last = names.content_range(header)
        assert first <= last
    except Invalid:
        pass


def test_challenges() -> None:
    found = names.challenge(
        'Bearer realm="https://a.example/t?x=\\"1\\"",service="s, t",scope="repository:a:pull"'
    )
    assert found.scheme == "bearer"
    assert found.parameters == {
        "realm": 'https://a.example/t?x="1"',
        "service": "s, t",
        "scope": "repository:a:pull",
    }
    assert names.challenge("Basic realm=x").parameters == {"realm": "x"}


def test_links() -> None:
    assert names.next_link('</v2/a/tags/list?n=1>; rel="next"') == "/v2/a/tags/list?n=1"
    assert names.next_link('</x>; rel="prev"') == ""


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.ManifestUnknown("x"), 404, "MANIFEST_UNKNOWN"),
        (errors.DigestInvalid("x"), 400, "DIGEST_INVALID"),
        (errors.RangeInvalid("x"), 416, "BLOB_UPLOAD_INVALID"),
        (Denied("x"), 403, "DENIED"),
        (NotFound("x"), 404, "NAME_UNKNOWN"),
        (Unavailable("x"), 429, "TOOMANYREQUESTS"),
        (ValueError("x"), 500, "UNKNOWN"),
    ],
)
def test_errors(error: Exception, status: int, code: str) -> None:
    found, body = errors.encode(error)
    assert (found, errors.decode(body)[0]) == (status, code)


@given(st.binary(max_size=60))
def test_any_body_is_an_error_or_none(data: bytes) -> None:
    errors.decode(data)


def test_endpoints() -> None:
    mirrors = {"docker.io": ["http://m.example/"]}
    assert endpoints("docker.io", mirrors, (), pull=True) == [
        Endpoint("http://m.example", True),
        Endpoint("https://registry-1.docker.io"),
    ]
    assert endpoints("docker.io", mirrors, (), pull=False) == [Endpoint("https://registry-1.docker.io")]
    assert [each.url for each in endpoints("127.0.0.1:5000", {}, (), pull=True)] == [
        "https://127.0.0.1:5000",
        "http://127.0.0.1:5000",
    ]


@pytest.mark.parametrize(
    ("domain", "wanted"),
    [
        ("localhost:5000", True),
        ("127.1.2.3", True),
        ("[::1]:5000", True),
        ("a.example", False),
        ("b.example:5000", True),
        ("10.1.2.3:80", True),
        ("11.1.2.3", False),
    ],
)
def test_insecure(domain: str, wanted: bool) -> None:
    assert is_insecure(domain, ("b.example:5000", "10.0.0.0/8")) is wanted
