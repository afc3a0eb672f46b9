"""`.dockerignore`: how it is read, what its patterns match, and that no pattern is slow."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.build.dockerfile.errors import DockerfileError
from knarr.build.dockerfile.ignore import Matcher, read

PIECES = ["a", "b", "/", "*", "**", "?", "[ab]", "!", ".", "\\", "["]
PATTERNS = st.lists(st.lists(st.sampled_from(PIECES), max_size=8).map("".join), max_size=4)
NAMES = st.sampled_from(["a", "b", "ab", "ba", "a.b", ".a"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


def test_reading() -> None:
    data = b"\xef\xbb\xbf# comment\n\n /abs/ \n! /neg\n./a/../b\n #kept\r\n**/x\n/\n!\n"
    assert read(data) == ["abs", "!neg", "b", "#kept", "**/x", "/", "!"]


@pytest.mark.parametrize(
    ("patterns", "path", "wanted"),
    [
        ("*.log", "a.log", True),
        ("*.log", "d/a.log", False),
        ("**/*.log", "d/e/a.log", True),
        ("**/*.log", "a.log", True),
        ("**/node_modules", "a/node_modules/b/c", True),
        ("**/node_modules", "node_modulesx", False),
        ("docs", "docs/a/b", True),
        ("docs", "docsx", False),
        ("docs/**", "docs/a", True),
        ("docs/**", "docs", False),
        ("a/*/c", "a/b/c/d", True),
        ("a/*/c", "a/b/b/c", False),
        ("a/**/c", "a/c", True),
        ("a/**/c", "a/b/b/c", True),
        ("a**c", "abbc", False),
        ("a**/c", "ax/y/c", True),
        ("?.txt", "é.txt", True),
        ("[a-c].txt", "b.txt", True),
        ("[^a-c].txt", "b.txt", False),
        ("\\*.txt", "*.txt", True),
        ("\\*.txt", "a.txt", False),
        ("a.b+c", "a.b+c", True),
        ("a.b", "axb", False),
        ("**", "anything/at/all", True),
        ("*\n!keep", "keep", False),
        ("*\n!keep/file", "keep/other", True),
        ("*\n!keep/file", "keep/file", False),
        ("*.md\n!README*.md\nREADME-secret.md", "README-secret.md", True),
        ("a/**/b/**/c/**/d*e", "a/x/b/y/c/dze", True),
        ("a/**/b/**/c/**/d*e", "a/x/b/y/c/dz", False),
        ("*a*b*c", "xaybzc", True),
        ("*a*b*c", "xa/bzc", False),
    ],
)
def test_matching(patterns: str, path: str, wanted: bool) -> None:
    assert Matcher(read(patterns.encode())).excludes(path) is wanted


@given(PATTERNS, PATHS)
def test_a_walk_decides_as_a_single_look(patterns: list[str], path: str) -> None:
    try:
        matcher = Matcher(patterns)
        matcher.step("a")
        wanted = matcher.excludes(path)
    except DockerfileError:
        return
    parts, excluded = path.split("/"), False
    parent: tuple[bool, ...] = ()
    for index in range(len(parts)):
        excluded, parent = matcher.step("/".join(parts[: index + 1]), parent)
    assert excluded == wanted


@pytest.mark.parametrize("pattern", ["[", "a[", "[]a]", "[^]", "a[b-]", "a\\", "!", "[-a]"])
def test_malformed_patterns(pattern: str) -> None:
    with pytest.raises(DockerfileError):
        Matcher([pattern])


@pytest.mark.parametrize("pattern", ["\\q", "\\é", "[b-a]"])
def test_what_is_no_expression_is_refused_with_the_first_path(pattern: str) -> None:
    matcher = Matcher([pattern])
    with pytest.raises(DockerfileError, match="syntax error in pattern"):
        matcher.excludes("a")


@pytest.mark.parametrize(
    "pattern", ["*a" * 30 + "b", "**/a" * 30, "a/**/" * 20 + "*b", "?*" * 40 + "x", "*?" * 40 + "/x"]
)
def test_nasty_patterns_end_soon(pattern: str) -> None:
    assert not Matcher([pattern]).excludes("a" * 2000)


def test_everything_at_the_top() -> None:
    assert Matcher(["**/*"]).excludes_everything()
    assert not Matcher(["!*", "a*"]).excludes_everything()
    assert Matcher(["a", "!b"]).takes_back
