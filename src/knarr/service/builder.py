"""The "builder" of daemon.json: what builds may be granted, how their cache is kept small, how many records stay. Pure.

Names are Docker's, in any case of letters, the older ones too. A name that is not known is an error.
"""

from collections.abc import Callable, Mapping
from typing import Any

from knarr.engine.checks import size
from knarr.engine.settings import BuilderSettings, CacheRule
from knarr.model.durations import parse_duration
from knarr.model.errors import Invalid

_FIELDS = ("id", "parent", "type", "description", "inuse", "shared", "private")
_AMOUNTS = {
    "reservedspace": "reserved",
    "keepstorage": "reserved",
    "maxusedspace": "max_used",
    "minfreespace": "min_free",
}
Reader = Callable[[str, Any], Any]


def builder(value: Mapping[str, Any]) -> BuilderSettings:
    """Raises Invalid."""
    readers = {"gc": _gc, "entitlements": _entitlements, "history": _history}
    found: dict[str, Any] = {}
    for _, table in _each("builder", value, readers):
        found |= table
    return BuilderSettings(**found)


def _each(where: str, value: Any, readers: Mapping[str, Reader]) -> list[tuple[str, Any]]:
    """Each setting that is there and not null, read."""
    if not isinstance(value, dict):
        raise Invalid(f"invalid JSON: cannot read {where}: it is to be of type object")
    found = []
    for key, given in value.items():
        name = key.lower()
        if name not in readers:
            raise Invalid(f"knarrd has no {where}.{key}: this setting is not supported")
        if given is not None:
            found.append((name, readers[name](f"{where}.{key}", given)))
    return found


def _bool(where: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise Invalid(f"invalid JSON: cannot read {where}: it is to be of type bool")
    return value


def _amount(where: str, value: Any) -> int:
    if not isinstance(value, str):
        raise Invalid(f"invalid JSON: cannot read {where}: it is to be of type string")
    try:
        return size(value) if value else 0
    except Invalid as error:
        raise Invalid(f"failed to parse {where}: {error}") from None


def _entitlements(where: str, value: Any) -> dict[str, Any]:
    names = {"network-host": "network_host", "security-insecure": "insecure"}
    return {names[name]: given for name, given in _each(where, value, dict.fromkeys(names, _bool))}


def _history(where: str, value: Any) -> dict[str, Any]:
    names = {"maxage": "age", "maxentries": "most"}
    found = _each(where, value, {"maxage": _age, "maxentries": _count})
    return {"age": 0, "most": 0, **{names[name]: given for name, given in found}}


def _count(where: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise Invalid(f"invalid JSON: cannot read {where}: it is to be a number")
    return value


def _age(where: str, value: Any) -> int:
    """A duration, or seconds."""
    text = str(value)
    try:
        return int(text) * 10**9 if text.isdigit() else parse_duration(text)
    except Invalid:
        raise Invalid(f"invalid duration {text} in {where}") from None


def _gc(where: str, value: Any) -> dict[str, Any]:
    defaults = {f"default{name}": _amount for name in _AMOUNTS}
    table = dict(_each(where, value, {"enabled": _bool, "policy": _policy, **defaults}))
    amounts = {name.removeprefix("default"): given for name, given in table.items() if name in defaults}
    found: dict[str, Any] = {
        "collect": table.get("enabled", True),
        "default": _sized(CacheRule(), amounts),
    }
    return found | ({"rules": table["policy"]} if "policy" in table else {})


def _sized(rule: CacheRule, table: Mapping[str, Any]) -> CacheRule:
    """With its amounts; a newer name counts before an older one."""
    found: dict[str, Any] = {}
    for name, ours in _AMOUNTS.items():
        if table.get(name):
            found.setdefault(ours, table[name])
    return rule._replace(**found)


def _policy(where: str, value: Any) -> tuple[CacheRule, ...]:
    if not isinstance(value, list):
        raise Invalid(f"invalid JSON: cannot read {where}: it is to be of type array")
    return tuple(_rule(f"{where}[{number}]", each) for number, each in enumerate(value))


def _rule(where: str, value: Any) -> CacheRule:
    amounts = dict.fromkeys(_AMOUNTS, _amount)
    table = dict(_each(where, value, {"all": _bool, "filter": _filter, **amounts}))
    terms, unused = table.get("filter", ((), 0))
    rule = CacheRule(all=table.get("all", False), filters=terms, unused=unused)
    return _sized(rule, table)


def _filter(where: str, value: Any) -> tuple[tuple[str, ...], int]:
    """BuildKit's filter, all of Docker's in one, and for how long (nanoseconds) a record must have been unused."""
    terms, unused, ages = [], 0, 0
    for name, text in _pairs(where, value):
        if name in ("until", "unused-for"):
            unused, ages = _duration(where, name, text), ages + 1
        elif name in _FIELDS:
            terms.append(f"{name}{'~=' if name == 'id' else '=='}{text}" if text else name)
        else:
            raise Invalid(f"invalid filter {name!r} in {where}")
    if ages > 1 or len({term.partition("=")[0] for term in terms}) < len(terms):
        raise Invalid(f"filters expect only one value: {where}")
    return (",".join(terms),) if terms else (), unused


def _duration(where: str, name: str, text: str) -> int:
    try:
        return parse_duration(text)
    except Invalid as error:
        raise Invalid(f"\"{name}\" filter expects a duration (e.g., '24h') in {where}: {error}") from None


def _pairs(where: str, value: Any) -> list[tuple[str, str]]:
    """`["key=value"]`, or the older `{"key": {"value": true}}`."""
    if isinstance(value, dict) and all(isinstance(each, dict) for each in value.values()):
        return [(name, text) for name, texts in value.items() for text in texts]
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise Invalid(f"invalid JSON: cannot read {where}: it is to be an array of KEY=VALUE")
    found = [each.partition("=") for each in value]
    return [(name.strip().lower(), text.strip()) for name, _, text in found]
