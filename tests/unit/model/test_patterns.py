"""Go's filepath.Match; the table is of Go's own documentation's cases."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.model.patterns import is_pattern, match

CASES = [
    ("abc", "abc", True),
    ("*", "abc", True),
    ("*c", "abc", True),
    ("a*", "a", True),
    ("a*", "ab/c", False),
    ("a*/b", "abc/b", True),
    ("a*/b", "a/c/b", False),
    ("a*b*c*d*e*/f", "axbxcxdxe/f", True),
    ("a*b?c*x", "abxbbxdbxebxczzx", True),
    ("a*b?c*x", "abxbbxdbxebxczzy", False),
    ("ab[c]", "abc", True),
    ("ab[b-d]", "abc", True),
    ("ab[e-g]", "abc", False),
    ("ab[^c]", "abc", False),
    ("ab[^e-g]", "abc", True),
    ("a\\*b", "a*b", True),
    ("a\\*b", "ab", False),
    ("a?b", "aäb", True),
    ("a[^a]b", "aäb", True),
    ("[a-я]*", "ж", True),
    ("a?b", "a/b", False),
    ("a*b", "a/b", False),
    ("[\\]a]", "]", True),
    ("[\\-x]", "-", True),
    ("[x\\-]", "z", False),
    ("*x", "xxx", True),
]


@pytest.mark.parametrize(("pattern", "name", "expected"), CASES)
def test_go_s_cases(pattern: str, name: str, expected: bool) -> None:
    assert match(pattern, name) is expected


@pytest.mark.parametrize(
    "pattern", ["[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[", "[^", "[^bc", "a[", "a\\"]
)
def test_malformed_ones(pattern: str) -> None:
    with pytest.raises(ValueError, match="syntax error in pattern"):
        match(pattern, "a")


@given(st.text(alphabet="ab*?[]^-\\/", max_size=20), st.text(alphabet="ab/", max_size=20))
def test_it_matches_or_not_or_is_malformed(pattern: str, name: str) -> None:
    try:
        found = match(pattern, name)
    except ValueError:
        with pytest.raises(ValueError, match="syntax error in pattern"):
            match(pattern, "")
    else:
        assert found is match(pattern, name)


@given(st.text(alphabet="ab/c", max_size=20))
def test_a_plain_text_matches_itself(text: str) -> None:
    assert not is_pattern(text)
    assert match(text, text)


def test_many_stars_take_no_time() -> None:
    assert not match("*a" * 200 + "b", "a" * 2000)
