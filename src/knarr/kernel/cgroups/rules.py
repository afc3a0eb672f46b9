"""OCI device rules as version 1 can keep them (kernel: admin-guide/cgroup-v1/devices.rst). Pure.

The kernel takes type "a" as everything, whatever its numbers say, and forgets a refusal that would make a hole in a wider
grant. So "a" with numbers is written as "b" and "c", and a hole is an error: version 2's programs have neither limit.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Rule = Mapping[str, Any]
Key = tuple[str, int, int]
_ANY = -1
_EVERYTHING = frozenset("rwm")
_KINDS = ("a", "b", "c", "u")


class CannotExcept(ValueError):
    """A rule that version 1 would forget without a word."""


def device_lines(rules: Sequence[Rule]) -> list[tuple[bool, str]]:
    """(allow, line for devices.allow or devices.deny). Raises CannotExcept."""
    out: list[tuple[bool, str]] = []
    # What the kernel keeps: exceptions from its default. A new cgroup has its parent's, so that only "a" makes them known.
    default: bool | None = None
    exceptions: dict[Key, frozenset[str]] = {}
    for rule in rules:
        allow = bool(rule.get("allow"))
        for key, access in _parts(rule):
            written = [(key, access)]
            if key == ("a", _ANY, _ANY):
                default, exceptions = allow, {}
            elif default == allow:
                written = list(_taken_back(key, access, exceptions, allow=allow))
            else:
                exceptions[key] = exceptions.get(key, frozenset()) | access
            out += [(allow, _line(*each)) for each in written]
    return out


def _parts(rule: Rule) -> Iterator[tuple[Key, frozenset[str]]]:
    kind = rule.get("type") or "a"
    # A letter that is no access means nothing, as in runc.
    major, minor = (_ANY if rule.get(name) is None else max(rule[name], _ANY) for name in ("major", "minor"))
    access = frozenset(rule.get("access") or "rwm") & _EVERYTHING
    if kind not in _KINDS:
        raise ValueError(f"no cgroup has rules for devices of type {kind!r}")
    if not access:
        return
    if kind == "a" and (access != _EVERYTHING or (major, minor) != (_ANY, _ANY)):
        yield ("b", major, minor), access
        yield ("c", major, minor), access
    else:
        yield ("c" if kind == "u" else kind, major, minor), access


def _taken_back(
    key: Key, access: frozenset[str], exceptions: dict[Key, frozenset[str]], *, allow: bool
) -> Iterator[tuple[Key, frozenset[str]]]:
    """The kernel takes an exception back only by its own numbers."""
    for other, granted in list(exceptions.items()):
        common = granted & access
        if not common or not all(
            mine in (theirs, _ANY) or theirs == _ANY for mine, theirs in zip(key, other, strict=True)
        ):
            continue
        if any(mine not in (theirs, _ANY) for mine, theirs in zip(key, other, strict=True)):
            verb = "allow" if allow else "deny"
            raise CannotExcept(
                f"cgroup version 1 cannot {verb} device {_line(key, access)!r} within {_line(other, granted)!r}"
            )
        exceptions[other] = granted - common
        yield other, common


def _line(key: Key, access: frozenset[str]) -> str:
    major, minor = ("*" if number == _ANY else str(number) for number in key[1:])
    return f"{key[0]} {major}:{minor} {''.join(letter for letter in 'rwm' if letter in access)}"
