"""Sizes and spans of time as docker words them."""

import time


def human_size(size: float, digits: int = 3) -> str:
    """Units of 1000: 1.23MB."""
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if size < 1000 or unit == "PB":
            return f"{size:.{digits}g}{unit}"
        size /= 1000
    raise AssertionError


def binary_size(size: float) -> str:
    """Units of 1024, four digits: 1.5MiB."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if size < 1024 or unit == "PiB":
            return f"{size:.4g}{unit}"
        size /= 1024
    raise AssertionError


def human_span(seconds: float) -> str:
    """ "About a minute", "3 hours" (go-units, HumanDuration)."""
    if seconds < 1:
        return "Less than a second"
    if seconds < 2:
        return "1 second"
    if seconds < 60:
        return f"{int(seconds)} seconds"
    minutes = int(seconds / 60)
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = int(seconds / 3600 + 0.5)
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    for span, word, most in (
        (24, "days", 24 * 14),
        (24 * 7, "weeks", 24 * 60),
        (24 * 30, "months", 24 * 365 * 2),
    ):
        if hours < most:
            return f"{int(hours / span)} {word}"
    return f"{int(hours / 24 / 365)} years"


def ago(seconds: float, now: float | None = None) -> str:
    """How long since a moment in seconds since the epoch."""
    return human_span((time.time() if now is None else now) - seconds) + " ago"
