"""Durations as Go writes and reads them ("1h30m", "1.5s"), as integer nanoseconds. Pure."""

from knarr.model.errors import Invalid

_UNITS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_DIGITS = "0123456789."


def parse_duration(text: str) -> int:
    """Go's time.ParseDuration without signs. Raises Invalid in its words."""
    if text == "0":
        return 0
    total, rest = 0.0, text
    while rest:
        number = rest[: len(rest) - len(rest.lstrip(_DIGITS))]
        unit = _before_digits(rest[len(number) :])
        if not number.strip(".") or number.count(".") > 1:
            raise Invalid(f'time: invalid duration "{text}"')
        if unit not in _UNITS:
            word = f'unknown unit "{unit}" in' if unit else "missing unit in"
            raise Invalid(f'time: {word} duration "{text}"')
        total += float(number) * _UNITS[unit]
        rest = rest[len(number) + len(unit) :]
    if not text:
        raise Invalid('time: invalid duration ""')
    return int(total)


def _before_digits(text: str) -> str:
    """What of a text comes before the next number, as Go takes a unit."""
    return text[: next((index for index, character in enumerate(text) if character in _DIGITS), len(text))]


def format_duration(nanoseconds: int) -> str:
    """Go's Duration.String: "1m30s", "1.5s", "200ms"."""
    if nanoseconds < 10**9:
        for unit, size in (("ms", 10**6), ("µs", 1_000), ("ns", 1)):
            if nanoseconds >= size:
                return f"{_decimal(nanoseconds, size)}{unit}"
        return "0s"
    minutes, rest = divmod(nanoseconds, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}h" if hours else ""
    if minutes or hours:
        text += f"{minutes}m"
    return f"{text}{_decimal(rest, 10**9)}s"


def _decimal(value: int, size: int) -> str:
    whole, rest = divmod(value, size)
    digits = f"{rest:0{len(str(size)) - 1}d}".rstrip("0") if rest else ""
    return f"{whole}.{digits}" if digits else str(whole)
