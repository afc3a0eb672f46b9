"""`docker build --check`, `--call` and an ordinary build's warnings: told as dockerd's BuildKit tells them.

`--peer --record-builds` writes dockerd's answers anew, as in test_builds.
"""

import json
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from knarr.build.dockerfile.checks import RULES
from tests.clients.builds import checks, judging, web
from tests.clients.builds.baking import BUILDX
from tests.clients.builds.checks import CALLS, PAIRS, Call
from tests.support.daemons import Daemon

pytestmark = pytest.mark.timeout(300)
GOLDEN = Path(__file__).parent / "builds/checks.json"
TWINS = {
    f"{name}/{kind}": text
    for name, pair in PAIRS.items()
    for kind, text in (("bad", pair.bad), ("good", pair.good))
}

Answer = dict[str, Any]


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of all."""
    root = tmp_path_factory.mktemp("checked")
    for name, text in checks.FILES.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture(scope="module")
def answers(
    running_daemon: Daemon, context: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Callable[[], Answer]]]:
    """What is told of each."""
    calls = tmp_path_factory.mktemp("calls")
    with (
        web.serving(tmp_path_factory.mktemp("web")) as address,
        ThreadPoolExecutor(4) as pool,
    ):
        baked = pool.submit(checked, running_daemon, context, address)
        yield {
            **{name: lambda name=name: baked.result()[name] for name in TWINS},  # type: ignore[misc]
            **{call.name: pool.submit(asked, running_daemon, calls, call).result for call in CALLS},
        }
        pool.shutdown(cancel_futures=True)


def checked(daemon: Daemon, context: Path, address: str) -> Mapping[str, Answer]:
    """The checks of all twins, by one client."""
    targets = {}
    for number, text in enumerate(TWINS.values()):
        path = context / f"{number}.Dockerfile"
        path.write_text(text.replace("{web}", address))
        targets[str(number)] = {"context": str(context), "dockerfile": str(path)}
    file = context / "bake.json"
    file.write_text(json.dumps({"target": targets, "group": {"default": {"targets": list(targets)}}}))
    words = ["--allow", "fs=*", "--call=check,format=json", "--progress=quiet", "-f", str(file)]
    done = subprocess.run(
        [BUILDX, "bake", *words], env=daemon.environment(), capture_output=True, timeout=200, check=False
    )
    assert done.returncode == 1, done.stderr
    text = done.stdout.decode().replace(address, "WEB").replace(str(context), "ROOT")
    told = json.loads(text)["target"]
    return {name: _document(told[str(number)]["check"]) for number, name in enumerate(TWINS)}


def asked(daemon: Daemon, root: Path, call: Call) -> Answer:
    """What one command tells: its answer, and of its progress the warnings and the error."""
    where = root / call.name.replace("/", "-")
    where.mkdir()
    (where / "Dockerfile").write_text(call.dockerfile)
    done = subprocess.run(
        [*([] if call.argv[0] == "docker" else [BUILDX]), *call.argv, "--progress", "plain", "."],
        env=daemon.environment(),
        capture_output=True,
        timeout=100,
        check=False,
        cwd=where,
    )
    answer, told = done.stdout.decode(), done.stderr.decode()
    found: Answer = {"exit": done.returncode, "answer": answer.splitlines()}
    if answer.startswith("{"):
        found["answer"] = _document(json.loads(answer))
    lines = told.splitlines()
    # What is told among the steps is told in time or not, by chance; here all are, in any order.
    found["warned"] = sorted(
        line.removeprefix("\x1b[0m") for line in lines if re.search(r"^(\x1b\[0m)? - ", line)
    )
    found["counted"] = [line.partition("m")[2] for line in lines if re.search(r"\d warnings? found", line)]
    return {**found, "error": [_in_order(line) for line in judging.error(told)]}


def _in_order(line: str) -> str:
    """Which of several rules dockerd names first is chance."""
    start, among, rules = line.partition("found for rules: ")
    return start + among + ", ".join(sorted(rules.split(", ")))


def _document(value: Answer) -> Answer:
    """Without the operation that read the file: it names a session."""
    for source in value.get("sources") or ():
        if isinstance(source, dict):
            del source["data"]
            source.pop("definition", None)
    return value


@pytest.fixture(scope="module")
def golden(
    request: pytest.FixtureRequest, answers: Mapping[str, Callable[[], Answer]], peer: bool
) -> Mapping[str, Answer]:
    """What dockerd tells."""
    if request.config.getoption("--record-builds"):
        assert peer, "these answers are dockerd's"
        told = {name: answer() for name, answer in answers.items()}
        GOLDEN.write_text(json.dumps(told, indent=1, sort_keys=True) + "\n")
    found: Mapping[str, Answer] = json.loads(GOLDEN.read_text())
    return found


@pytest.mark.parametrize("name", [*TWINS, *(call.name for call in CALLS)])
def test_it_is_told_as_by_dockerd(
    name: str, answers: Mapping[str, Callable[[], Answer]], golden: Mapping[str, Answer]
) -> None:
    told = answers[name]()
    assert told == golden[name], json.dumps(told, indent=1)


@pytest.mark.parametrize("rule", [rule.name for rule in RULES])
def test_each_rule_is_broken_and_kept(rule: str, golden: Mapping[str, Answer]) -> None:
    """What is recorded: the rule is named of one twin, and nothing of the other."""
    names = [name for name in PAIRS if name.partition("/")[0] == rule]
    assert names
    for name in names:
        assert {each["ruleName"] for each in golden[f"{name}/bad"]["warnings"]} == {rule}
        assert not golden[f"{name}/good"]["warnings"]
        assert "buildError" not in golden[f"{name}/good"]
