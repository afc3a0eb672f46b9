"""Moments as integer nanoseconds since the epoch, and their RFC 3339 text as Go prints it."""

import re
from datetime import UTC, datetime, timedelta

from knarr.model.errors import Invalid

ZERO = "0001-01-01T00:00:00Z"
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:\d\d)\Z", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BEGINNING = _EPOCH.replace(tzinfo=None)


def rfc3339(moment: int) -> str:
    """Go's time.RFC3339Nano in UTC: trailing zeros of the fraction cut; 0 is Go's zero time."""
    if moment == 0:
        return ZERO
    seconds, nanoseconds = divmod(moment, 1_000_000_000)
    text = (_BEGINNING + timedelta(seconds=seconds)).isoformat()
    fraction = f".{nanoseconds:09d}".rstrip("0").rstrip(".")
    return f"{text}{fraction}Z"


def rfc3339_fixed(moment: int) -> str:
    """With all nine digits, as docker's log lines have it under `--timestamps`."""
    seconds, nanoseconds = divmod(moment, 1_000_000_000)
    text = (_BEGINNING + timedelta(seconds=seconds)).isoformat()
    return f"{text}.{nanoseconds:09d}Z"


def parse_rfc3339(text: str) -> int:
    """Nanoseconds since the epoch; Go's zero time is 0. Raises Invalid."""
    match = _RFC3339.match(text)
    if not match:
        raise Invalid(f"cannot parse {text!r} as a time")
    if text == ZERO:
        return 0
    whole, fraction, zone = match.groups()
    try:
        stamp = datetime.fromisoformat(whole + (zone if zone != "Z" else "+00:00"))
    except ValueError:
        raise Invalid(f"cannot parse {text!r} as a time") from None
    return int((stamp - _EPOCH) / timedelta(seconds=1)) * 1_000_000_000 + int((fraction or "").ljust(9, "0"))
