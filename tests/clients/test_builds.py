"""The unmodified docker CLI with buildx builds each case; what comes out is what dockerd's BuildKit made of it.

`--peer --record-builds` writes dockerd's answers anew; `--peer` alone holds dockerd against what is recorded.
"""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.clients.builds import cases_config, cases_errors, cases_files, cases_run, cases_stages
from tests.clients.builds.case import Case, judged
from tests.support.daemons import Daemon

pytestmark = pytest.mark.timeout(900)
GOLDEN = Path(__file__).parent / "builds/golden.json"
CASES: tuple[Case, ...] = (
    *cases_files.CASES,
    *cases_run.CASES,
    *cases_config.CASES,
    *cases_stages.CASES,
    *cases_errors.CASES,
)

Results = Mapping[str, "Future[dict[str, Any]]"]


@pytest.fixture(scope="module")
def results(running_daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Results]:
    """All cases, four at a time: most of a build's time is its client's."""
    root = tmp_path_factory.mktemp("builds")
    with ThreadPoolExecutor(4) as pool:
        yield {case.name: pool.submit(judged, running_daemon, case, root) for case in CASES}
        pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="module")
def golden(results: Results, peer: bool, request: pytest.FixtureRequest) -> Mapping[str, Any]:
    """dockerd's answers."""
    if peer and request.config.getoption("--record-builds"):
        found = {name: result.result() for name, result in sorted(results.items())}
        GOLDEN.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    value: Mapping[str, Any] = json.loads(GOLDEN.read_text())
    return value


@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_it_builds_as_dockerd_does(name: str, results: Results, golden: Mapping[str, Any]) -> None:
    assert results[name].result() == golden[name]


def test_each_case_has_an_answer(golden: Mapping[str, Any]) -> None:
    names = [case.name for case in CASES]
    assert sorted(names) == sorted(golden)
    assert len(set(names)) == len(names)
