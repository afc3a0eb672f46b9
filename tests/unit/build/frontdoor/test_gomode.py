"""Go's FileMode and st_mode."""

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.build.frontdoor.gomode import from_mode, to_mode


@pytest.mark.parametrize(
    ("go", "unix"),
    [
        (0o644, stat.S_IFREG | 0o644),
        (1 << 31 | 0o755, stat.S_IFDIR | 0o755),
        (1 << 27 | 0o777, stat.S_IFLNK | 0o777),
        (1 << 26 | 1 << 21 | 0o600, stat.S_IFCHR | 0o600),
        (1 << 26 | 0o600, stat.S_IFBLK | 0o600),
        (1 << 31 | 1 << 20 | 0o777, stat.S_IFDIR | stat.S_ISVTX | 0o777),
        (1 << 23 | 1 << 22 | 0o755, stat.S_IFREG | stat.S_ISUID | stat.S_ISGID | 0o755),
    ],
)
def test_known_modes(go: int, unix: int) -> None:
    assert to_mode(go) == unix
    assert from_mode(unix) == go


@given(st.integers(0, 2**32 - 1))
def test_any_number_is_some_mode(go: int) -> None:
    assert to_mode(from_mode(to_mode(go))) == to_mode(go)
