"""Whether a host has a firewall of its own, read from `list ruleset` as libnftables-json(5) has it. Pure.

It has one where a chain of somebody else's at the input hook can refuse: by its policy, or by a rule of it or of a chain that
it leads to. Chains at the forward hook see what goes to containers in any case. knarr's tables and Docker's chains do not count.
"""

from collections.abc import Iterable, Mapping
from typing import Any

_OWN = "knarr-"
_DOCKERS = "DOCKER"
_FAMILIES = ("ip", "ip6", "inet")
_REFUSING = ("drop", "reject", "queue", "xt")

_Chain = tuple[str, str, str]


def guarded(objects: Iterable[Mapping[str, Any]]) -> bool:
    """Whether anything but knarr and Docker refuses packets."""
    bases: list[_Chain] = []
    rules: dict[_Chain, list[Mapping[str, Any]]] = {}
    for each in objects:
        chain, rule = each.get("chain"), each.get("rule")
        if chain is not None and chain.get("hook") == "input" and _foreign(chain):
            if chain.get("policy") == "drop":
                return True
            bases.append(_name(chain, chain["name"]))
        elif rule is not None and _foreign(rule):
            rules.setdefault(_name(rule, rule["chain"]), []).extend(rule.get("expr", ()))
    return any(_refuses(base, rules) for base in bases)


def _foreign(value: Mapping[str, Any]) -> bool:
    return value["family"] in _FAMILIES and not value["table"].startswith(_OWN)


def _name(value: Mapping[str, Any], chain: str) -> _Chain:
    return value["family"], value["table"], chain


def _refuses(base: _Chain, rules: Mapping[_Chain, list[Mapping[str, Any]]]) -> bool:
    waiting, seen = [base], {base}
    while waiting:
        chain = waiting.pop()
        for expression in rules.get(chain, ()):
            for verb, argument in expression.items():
                if verb in _REFUSING and (verb != "xt" or _refusing_xt(argument)):
                    return True
                if verb in ("jump", "goto") and not argument["target"].startswith(_DOCKERS):
                    target = (*chain[:2], argument["target"])
                    if target not in seen:
                        seen.add(target)
                        waiting.append(target)
                if verb == "vmap" and _any_refusing(argument):
                    return True
    return False


def _refusing_xt(argument: Any) -> bool:
    return (
        isinstance(argument, Mapping)
        and argument.get("type") == "target"
        and argument.get("name") == "REJECT"
    )


def _any_refusing(argument: Any) -> bool:
    """A verdict map that names a refusal, or that is kept elsewhere."""
    data = argument.get("data")
    return isinstance(data, str) or "drop" in str(data)
