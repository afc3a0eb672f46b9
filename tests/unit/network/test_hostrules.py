"""Which rulesets are a firewall of the host's own."""

from typing import Any

import pytest

from knarr.network.hostrules import guarded


def chain(name: str, hook: str = "", policy: str = "accept", table: str = "filter") -> dict[str, Any]:
    value = {"family": "inet", "table": table, "name": name}
    return {"chain": {**value, **({"hook": hook, "policy": policy} if hook else {})}}


def rule(where: str, *expressions: dict[str, Any], table: str = "filter") -> dict[str, Any]:
    return {"rule": {"family": "inet", "table": table, "chain": where, "expr": list(expressions)}}


@pytest.mark.parametrize(
    ("objects", "answer"),
    [
        ([], False),
        ([chain("in", "input")], False),
        ([chain("in", "input", "drop")], True),
        ([chain("fw", "forward", "drop")], False),
        ([chain("in", "input", "drop", "knarr-x")], False),
        ([chain("in", "input"), rule("in", {"match": {}}, {"accept": None})], False),
        ([chain("in", "input"), rule("in", {"match": {}}, {"drop": None})], True),
        ([chain("in", "input"), rule("other", {"drop": None})], False),
        ([chain("in", "input"), rule("in", {"jump": {"target": "a"}}), rule("a", {"reject": None})], True),
        ([chain("in", "input"), rule("in", {"goto": {"target": "in"}})], False),
        ([chain("in", "input"), rule("in", {"xt": {"type": "target", "name": "REJECT"}})], True),
        ([chain("in", "input"), rule("in", {"xt": {"type": "match", "name": "limit"}})], False),
        (
            [
                chain("in", "input"),
                rule("in", {"vmap": {"key": {}, "data": {"set": [["tcp", {"drop": None}]]}}}),
            ],
            True,
        ),
        (
            [
                chain("in", "input"),
                rule("in", {"jump": {"target": "DOCKER-X"}}),
                rule("DOCKER-X", {"drop": None}),
            ],
            False,
        ),
    ],
)
def test_what_refuses(objects: list[dict[str, Any]], answer: bool) -> None:
    assert guarded(objects) is answer
