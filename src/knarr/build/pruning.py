"""What of the build cache is let go: records in, the ones to remove out. Pure.

The least recently used goes first, and a record only after everything that was built on it. Filters are BuildKit's:
`field==value`, `field!=value`, `field~=pattern` or a bare `field`, joined by commas; one of several must match.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from knarr.model.errors import Invalid

_HOUR = 3600 * 10**9
_TERM = re.compile(r'(!?)([a-z]+)(?:(==|!=|~=)("(?:[^"\\]|\\.)*"|[^,]*))?(?:,|$)')
_MOVING_SHARE = 0.138
MOVING = ("source.local", "exec.cachemount", "source.git.checkout")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One thing that the cache keeps. `kind` is BuildKit's; times are nanoseconds; `shared`: images keep it as well."""

    id: str
    kind: str = "regular"
    description: str = ""
    parents: tuple[str, ...] = ()
    created: int = 0
    used: int = 0
    uses: int = 0
    size: int = 0
    mutable: bool = False
    in_use: bool = False
    shared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruning:
    """What shall go. `all`: also what images share; `unused`: only what nobody used for so long (nanoseconds). The three
    amounts are bytes; without any of them nothing is kept."""

    all: bool = False
    filters: tuple[str, ...] = ()
    unused: int = 0
    reserved: int = 0
    max_used: int = 0
    min_free: int = 0


def policy(disk: int, *, reserved: int = 0, max_used: int = 0, min_free: int = 0) -> tuple[Pruning, ...]:
    """The rules by which the cache is kept small on a file system of `disk` bytes, in turn; without amounts, to a tenth of it."""
    moving = tuple(f"type=={kind}" for kind in MOVING)
    if not (reserved or max_used or min_free):
        max_used = max(disk // 10, 1)
    most = Pruning(reserved=reserved, max_used=max_used, min_free=min_free)
    return (
        Pruning(filters=moving, unused=48 * _HOUR, max_used=max(512 * 10**6, int(reserved * _MOVING_SHARE))),
        replace(most, unused=60 * 24 * _HOUR),
        most,
        replace(most, all=True),
    )


def matching(records: Iterable[Record], filters: Sequence[str]) -> list[Record]:
    """Those that one of the filters matches; all if there is none. Raises Invalid."""
    parsed = [_parsed(each) for each in filters if each]
    return [record for record in records if not parsed or any(_matches(record, terms) for terms in parsed)]


def chosen(records: Sequence[Record], wish: Pruning, *, now: int, free: int = 0) -> list[Record]:
    """What goes, in that order. `free`: bytes that the file system has left."""
    total = sum(each.size for each in records if not each.shared or wish.all)
    keep = _kept(total, wish, free)
    wanted = {each.id for each in matching(records, wish.filters)}
    children = _children(records)
    gone: dict[str, Record] = {}
    for record in _latest_users(records):
        if total <= keep and (wish.reserved or wish.max_used or wish.min_free):
            break
        if (
            record.id in wanted
            and not record.in_use
            and (wish.all or not record.shared)
            and not (wish.unused and now - record.used < wish.unused)
            and all(child in gone for child in children.get(record.id, ()))
        ):
            gone[record.id] = record
            total -= record.size
    return list(gone.values())


def _kept(total: int, wish: Pruning, free: int) -> int:
    keep = wish.max_used
    excess = wish.min_free - free
    if excess > 0:
        keep = min(keep, total - excess) if keep else total - excess
    elif wish.min_free and not keep and not wish.reserved:
        return total
    return max(keep, wish.reserved, 0)


def _children(records: Iterable[Record]) -> Mapping[str, list[str]]:
    children: dict[str, list[str]] = {}
    for each in records:
        for parent in each.parents:
            children.setdefault(parent, []).append(each.id)
    return children


def _latest_users(records: Sequence[Record]) -> list[Record]:
    """Oldest use first; what something stands on counts as used with it, and comes after it."""
    known = {each.id: each for each in records}
    used = {each.id: each.used for each in records}
    depth = {each.id: _depth(each, known) for each in records}
    for each in sorted(records, key=lambda record: -depth[record.id]):
        for parent in each.parents:
            if parent in used:
                used[parent] = max(used[parent], used[each.id])
    ordered = sorted(records, key=lambda record: (used[record.id], -depth[record.id], record.id))
    return [replace(each, used=used[each.id]) for each in ordered]


def _depth(record: Record, known: Mapping[str, Record]) -> int:
    depth = 0
    while record.parents and record.parents[0] in known:
        record = known[record.parents[0]]
        depth += 1
    return depth


def _parsed(text: str) -> list[tuple[str, str, str]]:
    terms, position = [], 0
    while position < len(text):
        found = _TERM.match(text, position)
        if found is None:
            raise Invalid(f"invalid filter: {text}")
        operator = found[3] or ("absent" if found[1] else "present")
        terms.append((found[2], operator, (found[4] or "").strip('"')))
        position = found.end()
    return terms


def _matches(record: Record, terms: Iterable[tuple[str, str, str]]) -> bool:
    return all(_holds(_field(record, name), operator, value) for name, operator, value in terms)


def _field(record: Record, name: str) -> str | bool | None:
    values: Mapping[str, str | bool] = {
        "id": record.id,
        "parents": ";".join(record.parents),
        "description": record.description,
        "type": record.kind,
        "inuse": record.in_use,
        "mutable": record.mutable,
        "immutable": not record.mutable,
        "shared": record.shared,
        "private": not record.shared,
    }
    return values.get(name)


def _holds(found: str | bool | None, operator: str, value: str) -> bool:
    if operator in ("present", "absent"):
        return bool(found) == (operator == "present")
    text = "" if found is None else str(found).lower() if isinstance(found, bool) else found
    if operator == "~=":
        try:
            return re.search(value, text) is not None
        except re.error as error:
            raise Invalid(f"invalid filter: {value}: {error}") from None
    if isinstance(found, bool):
        value = {"1": "true", "0": "false"}.get(value, value.lower())
    return (text == value) == (operator == "==")
