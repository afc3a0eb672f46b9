"""Every case of tests/data/dockerfiles, as BuildKit answers it: syntax tree, operations, image, checks, errors, subrequests."""

import json
from typing import Any

import pytest

from knarr.build.dockerfile import checks, frontend, parser, requests
from knarr.build.dockerfile.errors import DockerfileError
from knarr.build.graph import walk
from knarr.model.errors import KnarrError
from tests.unit.build.support import Case, cases

BUILT = [case for case in cases() if "results" in case.buildkit]
REFUSED = [case for case in cases() if "error" in case.buildkit]
ASKED = [(case, name) for case in cases() for name in ("lint", "outline", "targets") if name in case.buildkit]


def name_of(value: object) -> str:
    """Of a case or a word."""
    return value.name if isinstance(value, Case) else str(value)


def test_there_are_enough() -> None:
    assert len(BUILT) > 150
    assert len(REFUSED) > 150
    found = {w["ruleName"] for case in cases() for w in _document(case).get("warnings") or []}
    assert found == {rule.name for rule in checks.RULES}
    assert len(checks.RULES) == 22


def _document(case: Case) -> dict[str, Any]:
    found: dict[str, Any] = case.buildkit.get("lint", {}).get("document", {})
    return found


@pytest.mark.parametrize("case", cases(), ids=name_of)
def test_syntax_tree(case: Case) -> None:
    wanted = case.buildkit["tree"]
    if isinstance(wanted, str):
        assert parser.parse(case.text).dump() == wanted
    else:
        with pytest.raises(DockerfileError) as caught:
            parser.parse(case.text)
        assert str(caught.value) == wanted["error"]


@pytest.mark.parametrize("case", BUILT, ids=name_of)
def test_build(case: Case) -> None:
    built = frontend.drive(frontend.build(case.definition, case.options()), case.answer)
    results = [
        {
            "vertices": [[v.digest, v.about.name, sorted(v.about.lines)] for v in walk(result.output)],
            "image": result.image,
        }
        for result in built.results
    ]
    assert results == case.buildkit["results"]
    assert sorted([w.short, list(w.lines)] for w in built.warnings) == case.buildkit["warnings"]


@pytest.mark.parametrize("case", REFUSED, ids=name_of)
def test_refusal(case: Case) -> None:
    with pytest.raises(DockerfileError) as caught:
        frontend.drive(frontend.build(case.definition, case.options()), case.answer)
    assert str(caught.value) == case.buildkit["error"]
    assert caught.value.excerpts("Dockerfile", case.text) == case.buildkit["excerpts"]


@pytest.mark.parametrize(("case", "request_id"), ASKED, ids=name_of)
def test_subrequest(case: Case, request_id: str) -> None:
    wanted = case.buildkit[request_id]
    if "error" in wanted:
        with pytest.raises(KnarrError) as caught:
            _asked(case, request_id)
        assert str(caught.value) == wanted["error"]
        return
    answer = _asked(case, request_id)
    document = json.loads(answer["result.json"])
    document.pop("sources")
    if document.get("warnings"):
        document["warnings"].sort(key=json.dumps)
    assert document == wanted["document"]
    assert sorted(answer["result.txt"].decode().split("\nWARNING")) == sorted(
        wanted["text"].split("\nWARNING")
    )
    assert answer.get("result.statuscode", b"").decode() == wanted.get("status", "")


def _asked(case: Case, request_id: str) -> requests.Metadata:
    options = case.options(requestid=f"frontend.{request_id}")
    return frontend.drive(requests.subrequest(case.definition, options), case.answer)
