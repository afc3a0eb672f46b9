"""Docker's list filters: which exist, and what they match. Pure.

Values of one filter are alternatives, except `label`, of which each must match; different filters must all match.
"""

import contextlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from knarr.model.durations import parse_duration
from knarr.model.errors import Invalid
from knarr.model.moments import parse_rfc3339

Filters = Mapping[str, Sequence[str]]


def check(filters: Filters, known: Collection[str]) -> None:
    """Raises Invalid for a filter that the noun does not have."""
    for name in filters:
        if name not in known:
            raise Invalid(f"invalid filter '{name}'")


def boolean(filters: Filters, name: str) -> bool | None:
    """A filter such as dangling=true; None if it is absent. Raises Invalid."""
    values = filters.get(name)
    if not values:
        return None
    words = {"1": True, "true": True, "0": False, "false": False}
    try:
        (answer,) = {words[value.lower()] for value in values}
    except (KeyError, ValueError):
        raise Invalid(f"invalid filter '{name}=[{' '.join(values)}]'") from None
    return answer


def labels(filters: Filters, present: Mapping[str, str], name: str = "label") -> bool:
    """Each `key` or `key=value` is among the labels."""
    for value in filters.get(name, ()):
        key, equals, wanted = value.partition("=")
        if key not in present or (equals and present[key] != wanted):
            return False
    return True


def not_labels(filters: Filters, present: Mapping[str, str]) -> bool:
    """None of `label!` is among the labels."""
    return not any(labels({"label": [value]}, present) for value in filters.get("label!", ()))


def names(filters: Filters, candidates: Iterable[str], name: str = "name") -> bool:
    """One of the values is a regular expression, or a part, of one of the candidates."""
    wanted = filters.get(name)
    if not wanted:
        return True
    texts = list(candidates)
    return any(_finds(pattern, text) for pattern in wanted for text in texts)


def _finds(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return pattern in text


def prefixes(filters: Filters, text: str, name: str = "id") -> bool:
    """One of the values begins `text`."""
    wanted = filters.get(name)
    return not wanted or any(text.startswith(value) for value in wanted)


def one_of(filters: Filters, name: str, candidates: Collection[str]) -> bool:
    """One of the values is among the candidates."""
    wanted = filters.get(name)
    return not wanted or any(value in candidates for value in wanted)


def until(filters: Filters, now: int) -> list[int]:
    """The moment of the filter `until`, if there is one. Raises Invalid."""
    texts = filters.get("until", ())
    if len(texts) > 1:
        raise Invalid("more than one until filter specified")
    return [moment(text, now) for text in texts]


def moment(text: str, now: int) -> int:
    """A time as filters have it: seconds since the epoch, RFC 3339, or a duration before now. Raises Invalid."""
    if re.fullmatch(r"\d+(?:\.\d{1,9})?", text):
        seconds, _, fraction = text.partition(".")
        return int(seconds) * 1_000_000_000 + int(fraction.ljust(9, "0") or 0)
    with contextlib.suppress(Invalid):
        return now - parse_duration(text)
    for suffix in ("", "Z", ":00Z", "T00:00:00Z"):
        try:
            return parse_rfc3339(text + suffix)
        except Invalid:
            continue
    raise Invalid(f'failed to parse value as time or duration: "{text}"')
