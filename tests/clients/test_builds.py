"""The unmodified buildx builds each case; what comes out is what dockerd's BuildKit made of it.

`--peer --record-builds` writes dockerd's answers anew; `--peer` alone holds dockerd against what is recorded. What is newer
than dockerd's language is held against knarr's own answers, which `--record-builds` alone writes.
"""

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.clients.builds import baking, cases, web
from tests.clients.builds.baking import Found, World
from tests.clients.builds.case import Case
from tests.support.daemons import Daemon

pytestmark = pytest.mark.timeout(900)
GOLDEN = Path(__file__).parent / "builds/golden.json"
NEWER = Path(__file__).parent / "builds/newer.json"
CASES = cases.ALL
OVEN = 40

Result = Callable[[], Found]


@pytest.fixture(scope="module")
def world(running_daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """What cases are built in."""
    root = tmp_path_factory.mktemp("builds")
    (root / "alone").mkdir()
    key = root / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    with web.serving(tmp_path_factory.mktemp("web")) as address:
        yield World(running_daemon, root, address, str(key))


@pytest.fixture(scope="module")
def recording(request: pytest.FixtureRequest) -> bool:
    """Whether the answers become what is recorded."""
    return bool(request.config.getoption("--record-builds"))


@pytest.fixture(scope="module")
def results(world: World, peer: bool, recording: bool) -> Iterator[Mapping[str, Result]]:
    """What dockerd can build is baked; the rest is built four at a time: most of a build's time is its client's."""
    known: Mapping[str, Any] = {**json.loads(GOLDEN.read_text()), **json.loads(NEWER.read_text())}
    every = CASES if peer else (*CASES, *cases.NEWER)
    good = [case for case in every if not recording and _goes_well(known, case) and baking.can_be_baked(case)]
    rest = [case for case in every if case not in good]
    with ThreadPoolExecutor(4) as pool:
        found: dict[str, Result] = {}
        for at in range(0, len(good), OVEN):
            tray = good[at : at + OVEN]
            baked = pool.submit(baking.together, world, tray)
            found |= {case.name: _one_of(baked, case.name) for case in tray}
        yield found | {case.name: pool.submit(baking.alone, world, case).result for case in rest}
        pool.shutdown(cancel_futures=True)


def _goes_well(known: Mapping[str, Any], case: Case) -> bool:
    return case.name in known and known[case.name]["exit"] == 0


def _one_of(baked: Future[Mapping[str, Found]], name: str) -> Result:
    return lambda: baked.result()[name]


@pytest.fixture(scope="module")
def golden(results: Mapping[str, Result], peer: bool, recording: bool) -> Mapping[str, Any]:
    """What is right."""
    if recording:
        path, wanted = (GOLDEN, CASES) if peer else (NEWER, cases.NEWER)
        found = {case.name: results[case.name]() for case in wanted}
        path.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    return {**json.loads(GOLDEN.read_text()), **json.loads(NEWER.read_text())}


@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_it_builds_as_dockerd_does(
    name: str, results: Mapping[str, Result], golden: Mapping[str, Any]
) -> None:
    made = results[name]()
    assert made == golden[name], json.dumps(made, indent=1)


@pytest.mark.parametrize("name", [case.name for case in cases.NEWER])
def test_it_builds_what_dockerd_cannot(
    name: str, peer: bool, results: Mapping[str, Result], golden: Mapping[str, Any]
) -> None:
    if peer:
        pytest.skip("dockerd's language is older")
    assert results[name]() == golden[name]


def test_each_case_has_an_answer(golden: Mapping[str, Any]) -> None:
    names = [case.name for case in (*CASES, *cases.NEWER)]
    assert sorted(names) == sorted(golden)
    assert len(set(names)) == len(names)
