"""References, digests, platforms, ports and moments: parsed as docker parses them, or refused."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.model.descriptor import chain_ids
from knarr.model.digest import Digest
from knarr.model.errors import Invalid
from knarr.model.moments import ZERO, parse_rfc3339, rfc3339, rfc3339_fixed
from knarr.model.platform import Platform
from knarr.model.ports import Port
from knarr.model.reference import Reference
from knarr.model.undo import Undo

SHA = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("nginx", "docker.io/library/nginx", "nginx"),
        ("nginx:1.25", "docker.io/library/nginx:1.25", "nginx:1.25"),
        ("user/app", "docker.io/user/app", "user/app"),
        ("docker.io/library/nginx", "docker.io/library/nginx", "nginx"),
        ("index.docker.io/nginx", "docker.io/library/nginx", "nginx"),
        ("localhost/app", "localhost/app", "localhost/app"),
        ("localhost:5000/a/b:t", "localhost:5000/a/b:t", "localhost:5000/a/b:t"),
        ("127.0.0.1:5000/app", "127.0.0.1:5000/app", "127.0.0.1:5000/app"),
        ("[::1]:5000/app:1", "[::1]:5000/app:1", "[::1]:5000/app:1"),
        ("ghcr.io/o/r@" + SHA, "ghcr.io/o/r@" + SHA, "ghcr.io/o/r@" + SHA),
        ("a:b@" + SHA, "docker.io/library/a:b@" + SHA, "a:b@" + SHA),
    ],
)
def test_references(text: str, full: str, familiar: str) -> None:
    reference = Reference.parse(text)
    assert str(reference) == full
    assert reference.familiar == familiar
    assert Reference.parse(full) == reference


def test_the_default_tag() -> None:
    assert str(Reference.parse("nginx").tagged()) == "docker.io/library/nginx:latest"
    assert Reference.parse("nginx", tag="1").tag == "1"
    assert Reference.parse("nginx", tag=SHA).digest == Digest.parse(SHA)


@pytest.mark.parametrize(
    "text",
    ["", "UPPER", "a b", "a:", "a:b c", "a@sha256:xx", "/a", "a//b", "-a", "a:b:c/d", "ab" * 32, "a" * 300],
)
def test_bad_references(text: str) -> None:
    with pytest.raises(Invalid):
        Reference.parse(text)


@given(st.text(max_size=40))
def test_any_text_is_a_reference_or_refused(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except Invalid:
        return
    assert Reference.parse(str(reference)) == reference
    assert Reference.parse(reference.familiar) == reference


@given(st.text(max_size=80))
def test_any_text_is_a_digest_or_refused(text: str) -> None:
    try:
        assert str(Digest.parse(text)) == text
    except Invalid:
        pass


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("linux/amd64", "linux/amd64"),
        ("x86_64", "linux/amd64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("aarch64", "linux/arm64"),
        ("linux/arm/v7", "linux/arm/v7"),
    ],
)
def test_platforms(text: str, wanted: str) -> None:
    assert str(Platform.parse(text)) == wanted


def test_platforms_match_by_their_defaults() -> None:
    assert Platform("linux", "arm", "v7").matches(Platform("linux", "arm"))
    assert Platform("linux", "arm64", "v8").matches(Platform("linux", "arm64"))
    assert not Platform("linux", "arm", "v6").matches(Platform("linux", "arm", "v7"))
    assert not Platform("windows", "amd64").matches(Platform("linux", "amd64"))


@given(st.text(max_size=20))
def test_any_text_is_a_platform_or_refused(text: str) -> None:
    try:
        platform = Platform.parse(text)
        assert Platform.parse(str(platform)) == platform
    except Invalid:
        pass


@given(st.text(max_size=12))
def test_any_text_is_a_port_or_refused(text: str) -> None:
    try:
        port = Port.parse(text)
        assert Port.parse(str(port)) == port
    except Invalid:
        pass


@pytest.mark.parametrize(
    "text", ["", "0", "65536", "-1", "+1", "1_0", "8\u0660", "80/icmp", "80/tcp/udp", "9" * 5000]
)
def test_bad_ports(text: str) -> None:
    with pytest.raises(Invalid):
        Port.parse(text)


@given(st.integers(1, 4_000_000_000_000_000_000))
def test_moments_survive_their_text(moment: int) -> None:
    assert parse_rfc3339(rfc3339(moment)) == moment
    assert parse_rfc3339(rfc3339_fixed(moment)) == moment


def test_gos_zero_time() -> None:
    assert rfc3339(0) == ZERO
    assert parse_rfc3339(ZERO) == 0
    assert rfc3339(1_700_000_000_500_000_000) == "2023-11-14T22:13:20.5Z"
    early = "0001-02-03T04:05:06.5Z"
    assert rfc3339(parse_rfc3339(early)) == early


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2024-02-29T23:30:00-01:00", "2024-03-01T00:30:00Z"),
        ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.5Z"),
        ("2024-01-01T00:00:00.1234567899Z", "2024-01-01T00:00:00.123456789Z"),
    ],
)
def test_times_of_other_zones_and_ages(text: str, same: str) -> None:
    assert rfc3339(parse_rfc3339(text)) == same


@given(st.text(max_size=30) | st.from_regex(r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)\Z"))
def test_any_text_is_a_moment_or_refused(text: str) -> None:
    try:
        parse_rfc3339(text)
    except Invalid:
        pass


def test_chain_ids() -> None:
    one, two = Digest.of(b"1"), Digest.of(b"2")
    assert chain_ids([]) == ()
    assert chain_ids([one, two]) == (one, Digest.of(f"{one} {two}".encode()))


async def test_undo_goes_backwards_and_on() -> None:
    done: list[str] = []

    async def act(key: str) -> str:
        return key

    async def undo(key: str) -> None:
        done.append(key)
        if key == "b":
            raise RuntimeError("cannot")

    with pytest.raises(ValueError, match="half-way") as caught:
        async with Undo() as steps:
            for key in "abc":
                await steps.do(act, key, undo=undo)
            raise ValueError("half-way")
    assert done == ["c", "b", "a"]
    assert any("cannot" in note for note in caught.value.__notes__)


async def test_what_is_kept_is_not_undone() -> None:
    async with Undo() as steps:
        steps.push(asyncio.sleep, 1000)
        steps.keep()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Upper", "invalid reference format: repository name (library/Upper) must be lowercase"),
        ("#Bad:", "invalid reference format: repository name (library/#Bad) must be lowercase"),
        ("host:5000/Upper:x", "invalid reference format: repository name (Upper) must be lowercase"),
        ("a@sha256:12", "invalid reference format"),
        ("a@sha256:" + "1" * 40, "invalid checksum digest length"),
        ("a@md5:" + "1" * 32, "unsupported digest algorithm"),
        ("a@sha256:" + "A" * 64, "invalid checksum digest format"),
    ],
)
def test_what_is_wrong_with_a_reference(text: str, why: str) -> None:
    with pytest.raises(Invalid) as caught:
        Reference.parse(text)
    assert str(caught.value) == why
