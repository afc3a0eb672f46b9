"""Durations as Go words them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.model.durations import format_duration, parse_duration
from knarr.model.errors import Invalid


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("1s", 10**9),
        ("1h30m", 5400 * 10**9),
        ("1.5s", 1_500_000_000),
        ("200ms", 200_000_000),
        ("3us", 3_000),
        ("7ns", 7),
    ],
)
def test_reads(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "1", "s", "1x", "1.2.3s", "-1s", "1s2", ".s", "1 s"])
def test_refuses(text: str) -> None:
    with pytest.raises(Invalid, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1_500, "1.5µs"),
        (200_000_000, "200ms"),
        (10**9, "1s"),
        (1_500_000_000, "1.5s"),
        (90 * 10**9, "1m30s"),
        (3600 * 10**9, "1h0m0s"),
    ],
)
def test_writes(nanoseconds: int, text: str) -> None:
    assert format_duration(nanoseconds) == text


@given(st.integers(0, 10**15))
def test_what_is_written_can_be_read(nanoseconds: int) -> None:
    assert abs(parse_duration(format_duration(nanoseconds)) - nanoseconds) <= 1


@given(st.text(alphabet="0123456789.hmsnuµx ", max_size=8))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        assert parse_duration(text) >= 0
    except Invalid:
        pass
