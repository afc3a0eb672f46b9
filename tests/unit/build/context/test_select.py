"""Which files a copy takes."""

from stat import S_IFDIR, S_IFLNK, S_IFREG

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.build.context.entries import Entry, Index
from knarr.build.context.select import Match, NothingThere, resolve, select
from knarr.build.errors import BuildFailed
from knarr.build.operations import Copy


def tree(*paths: str, **links: str) -> Index:
    """An index: names with a trailing slash are directories, `links` (with __ for /) are symbolic links."""
    found = {}
    for path in paths:
        name = path.rstrip("/")
        mode = S_IFDIR | 0o755 if path.endswith("/") else S_IFREG | 0o644
        found[name] = Entry(path=name, mode=mode, digest="" if path.endswith("/") else f"content of {name}")
    for name, target in links.items():
        path = name.replace("__", "/")
        found[path] = Entry(path=path, mode=S_IFLNK | 0o777, link=target)
    return dict(sorted(found.items()))


def names(matches: list[Match]) -> list[tuple[str, list[str]]]:
    return [(match.path, [path for path, _ in match.members]) for match in matches]


def chosen(index: Index, source: str, *, wildcard: bool = True, empty: bool = False) -> list[Match]:
    return select(index, Copy(source, "/", wildcard=wildcard, empty_wildcard=empty, follow_symlink=True))


CONTEXT = tree("a.txt", "b.txt", "sub/", "sub/c.txt", "sub/deep/", "sub/deep/d", "e")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a.txt", [("a.txt", [])]),
        ("/a.txt", [("a.txt", [])]),
        ("./sub/../a.txt", [("a.txt", [])]),
        ("../../a.txt", [("a.txt", [])]),
        ("*.txt", [("a.txt", []), ("b.txt", [])]),
        ("?", [("e", [])]),
        ("[a-b].txt", [("a.txt", []), ("b.txt", [])]),
        ("[^a].txt", [("b.txt", [])]),
        ("sub", [("sub", ["c.txt", "deep", "deep/d"])]),
        ("sub/*", [("sub/c.txt", []), ("sub/deep", ["d"])]),
        ("/", [("", ["a.txt", "b.txt", "e", "sub", "sub/c.txt", "sub/deep", "sub/deep/d"])]),
        (".", [("", ["a.txt", "b.txt", "e", "sub", "sub/c.txt", "sub/deep", "sub/deep/d"])]),
    ],
)
def test_sources(source: str, expected: list[tuple[str, list[str]]]) -> None:
    assert names(chosen(CONTEXT, source)) == expected


def test_what_is_not_there() -> None:
    with pytest.raises(NothingThere, match=r'^"/nothing": not found$'):
        chosen(CONTEXT, "nothing")
    with pytest.raises(NothingThere, match=r'^"/\*\.c": not found$'):
        chosen(CONTEXT, "*.c")
    assert chosen(CONTEXT, "*.c", empty=True) == []


def test_a_wildcard_is_a_name_where_none_is_allowed() -> None:
    assert names(chosen(tree("a*"), "a*", wildcard=False)) == [("a*", [])]


def test_links_are_followed_inside_the_top() -> None:
    index = tree("d/", "d/f", "g", l="d", m="/g", n="../../g", d__up="../g", o="l")
    assert resolve(index, "l/f", last=True) == "d/f"
    assert resolve(index, "m", last=True) == "g"
    assert resolve(index, "m", last=False) == "m"
    assert resolve(index, "n", last=True) == "g"
    assert resolve(index, "d/up", last=True) == "g"
    assert resolve(index, "o", last=True) == "d"
    assert resolve(index, "o/f", last=True) == "d/f"


def test_a_link_to_itself_ends() -> None:
    with pytest.raises(BuildFailed, match="too many links"):
        resolve(tree(a="b", b="a"), "a", last=True)


def test_a_pattern_that_is_malformed() -> None:
    with pytest.raises(BuildFailed, match="syntax error in pattern"):
        chosen(CONTEXT, "[a")


@given(st.text(alphabet="ab/*?[]^-\\.", max_size=12))
def test_no_pattern_breaks_it(pattern: str) -> None:
    try:
        for match in chosen(CONTEXT, pattern):
            assert match.path == "" or match.path in CONTEXT
    except BuildFailed:
        pass


def test_patterns_choose_below_a_directory() -> None:
    def members(include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> list[str]:
        (match,) = select(CONTEXT, Copy("/", "/", include=include, exclude=exclude))
        return [path for path, _ in match.members]

    assert members(exclude=("*.txt",)) == ["e", "sub", "sub/c.txt", "sub/deep", "sub/deep/d"]
    assert members(exclude=("**/*.txt",)) == ["e", "sub", "sub/deep", "sub/deep/d"]
    assert members(exclude=("sub", "!sub/deep")) == ["a.txt", "b.txt", "e", "sub", "sub/deep", "sub/deep/d"]
    assert members(include=("sub/deep",)) == ["sub", "sub/deep", "sub/deep/d"]
    assert members(include=("sub",), exclude=("**/d",)) == ["sub", "sub/c.txt", "sub/deep"]


def test_what_is_required_must_be_there() -> None:
    with pytest.raises(NothingThere, match=r'^"/sub/x": not found$'):
        select(CONTEXT, Copy("/", "/", include=("sub/x",), required=("/sub/x",)))
