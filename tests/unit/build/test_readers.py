"""Each small reader of the language takes any text: what it gives, or its own error, and soon."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.build.dockerfile import directives, flags, ignore, mounts, options, platforms, ports, remotes
from knarr.build.dockerfile.errors import DockerfileError
from knarr.build.dockerfile.platforms import normalise
from knarr.model.errors import Invalid
from knarr.model.platform import Platform

HERE = Platform("linux", "amd64")
MOUNTS = st.lists(
    st.sampled_from(
        [
            "type=",
            "bind",
            "cache",
            "tmpfs",
            "secret",
            "ssh",
            "volume",
            "target=",
            "source=",
            "from=",
            "id=",
            "sharing=",
            "locked",
            "some",
            "size=",
            "1m",
            "mode=",
            "0700",
            "uid=",
            "5",
            "-1",
            "env=",
            "required",
            "required=",
            "true",
            "maybe",
            "readonly",
            "readwrite",
            "ro=",
            ",",
            ",",
            ",",
            ",",
            "=",
            "/",
            "a",
            '"',
            "'",
            "$A",
            "ü",
        ]
    ),
    max_size=14,
).map("".join)
URLS = st.lists(
    st.sampled_from(
        [
            "https://",
            "http://",
            "git@",
            "git://",
            "ssh://",
            "file://",
            "github.com",
            "/",
            ":",
            "#",
            "?",
            "@",
            "user",
            ":80",
            "repo",
            ".git",
            "main",
            "v1",
            "sub",
            "..",
            "%2f",
            "%zz",
            "=",
            "&",
            "branch=",
            "tag=",
            "subdir=",
            "checksum=",
            "keep-git-dir=",
            "1",
            "[::1]",
            "ü",
        ]
    ),
    max_size=12,
).map("".join)
PATTERNS = st.text(alphabet="a*?[]^-!\\/.# \r\n\ufeffé", max_size=40)
ATTRIBUTES = st.dictionaries(
    st.sampled_from(
        [
            "filename",
            "target",
            "platform",
            "no-cache",
            "image-resolve-mode",
            "add-hosts",
            "cgroup-parent",
            "force-network-mode",
            "hostname",
            "shm-size",
            "ulimit",
            "multi-platform",
            "context",
            "contextkey",
            "dockerfilekey",
            "build-arg:A",
            "build-arg:SOURCE_DATE_EPOCH",
            "label:x",
            "context:a",
            "context:a::linux/arm64",
            "requestid",
            "cmdline",
            "source",
            "linter-exclude-rules",
        ]
    ),
    st.one_of(
        st.text(max_size=12),
        st.sampled_from(["1", "-1", "64m", "host", "linux/amd64,linux/arm64", "a=1:2", ""]),
    ),
    max_size=6,
)


@given(MOUNTS)
def test_mounts(text: str) -> None:
    with suppress(DockerfileError):
        assert mounts.parse_mount(text, str).type in mounts.TYPES


@given(st.text(alphabet="a./=, 1", max_size=20))
def test_devices(text: str) -> None:
    with suppress(DockerfileError):
        mounts.parse_device(text)


@given(URLS)
def test_repositories_and_addresses(text: str) -> None:
    with suppress(DockerfileError):
        reference = remotes.parse_git(text)
        if reference is not None:
            assert remotes.git_source(reference).identifier.startswith("git://")
    remotes.is_git(text)
    if remotes.is_http(text):
        assert "/" not in remotes.http_filename(text)


@given(st.text(max_size=80))
def test_checksums(text: str) -> None:
    with suppress(DockerfileError):
        assert remotes.check_digest(text) == text


@given(st.text(alphabet="linuxamd64/v7arm*.()", max_size=20))
def test_platforms(text: str) -> None:
    with suppress(DockerfileError):
        found = platforms.parse(text, HERE)
        assert normalise(found) == normalise(normalise(found))


@given(st.text(alphabet="0123456789-/:tcpUDP[]. ", max_size=20))
def test_ports(text: str) -> None:
    told: list[str] = []
    with suppress(DockerfileError):
        for port in ports.parse_port(text, told.append, told.append):
            number, _, protocol = port.partition("/")
            assert 0 <= int(number) <= 65535
            assert protocol == protocol.lower()


@given(st.text(alphabet='abc,"= \t\n\r', max_size=30))
def test_comma_separated_values(text: str) -> None:
    with suppress(Invalid):
        assert all(isinstance(field, str) for field in flags.fields(text))


@given(
    st.lists(
        st.text(alphabet="ab= ", min_size=1, max_size=5).map(str.strip).filter(bool), min_size=1, max_size=4
    )
)
def test_plain_fields_come_through(words: list[str]) -> None:
    assert flags.fields(",".join(words)) == words


@given(st.text(alphabet="0123456789. kKmMgGtTiIbB-+e", max_size=10))
def test_sizes(text: str) -> None:
    found = flags.parse_size(text)
    assert found is None or isinstance(found, int)


@given(st.text(max_size=60), st.sampled_from(["syntax", "escape", "check"]))
def test_directives(text: str, name: str) -> None:
    for line in (text, f"# {name}={text}", f"#{name} = {text}\n", f'{{"{name}": "{text}"}}'):
        directives.directive(name, line)
        directives.syntax(line)


@given(PATTERNS)
def test_ignore_files(text: str) -> None:
    with suppress(DockerfileError):
        matcher = ignore.Matcher(ignore.read(text.encode()))
        assert matcher.excludes("a/b") in (True, False)


@given(ATTRIBUTES)
def test_options(attributes: dict[str, str]) -> None:
    with suppress(DockerfileError):
        options.parse(attributes, HERE, "session")


@pytest.mark.parametrize("text", ["2" * 5000, "8000-" + "9" * 5000, "1-65535/tcp"])
def test_huge_ports_end_soon(text: str) -> None:
    told: list[str] = []
    with suppress(DockerfileError):
        assert len(ports.parse_port(text, told.append, told.append)) <= 65535
