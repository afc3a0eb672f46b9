"""Why steps ran: asked for by a build argument, so that every client can, and told as a warning of the step."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.daemons import Daemon

DOCKERFILE = (
    "FROM busybox\nARG WHO=nobody\nCOPY app /app\nRUN echo hi $WHO > /hi\nCOPY --chmod=600 late /late\n"
)


@pytest.fixture(scope="module", autouse=True)
def only_knarr(peer: bool) -> None:
    if peer:
        pytest.skip("dockerd does not know why")


@pytest.fixture
def context(daemon: Daemon, tmp_path: Path) -> Path:
    (tmp_path / "app").mkdir()
    (tmp_path / "app/main.py").write_text("one")
    (tmp_path / "late").write_text("late")
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    daemon.api("POST", "/build/prune?all=1")
    explained(daemon, tmp_path)
    return tmp_path


def explained(daemon: Daemon, context: Path, *words: str, buildkit: str = "1") -> dict[str, str]:
    """The reason of each step that ran."""
    done = subprocess.run(
        ["docker", "build", *words, "--build-arg", "KNARR_EXPLAIN_CACHE=1", str(context)],
        env={**daemon.environment(), "DOCKER_BUILDKIT": buildkit, "BUILDKIT_PROGRESS": "plain"},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    told = re.findall(r"cache: \[(.*)\] (\w+).*?: (.*)", done.stderr + done.stdout)
    return {f"{word} {place}": why for place, word, why in told}


def test_a_file_an_argument_and_what_follows_from_them(daemon: Daemon, context: Path) -> None:
    assert explained(daemon, context) == {}
    (context / "late").chmod(0o600)
    assert explained(daemon, context) == {"COPY 4/4": "late has the mode 0600, had 0644"}
    (context / "app/new.py").write_text("new")
    assert explained(daemon, context) == {
        "COPY 2/4": "app/new.py was added",
        "RUN 3/4": "it is built on other contents of `[2/4] COPY app /app`",
        "COPY 4/4": "it is built on other contents of `[3/4] RUN echo hi nobody > /hi`",
    }
    told = explained(daemon, context, "--build-arg", "WHO=me")
    assert told["RUN 3/4"] == 'ARG or ENV WHO is "me", was "nobody"'
    assert "COPY 2/4" not in told


def test_no_cache_and_a_cache_that_was_pruned(daemon: Daemon, context: Path) -> None:
    told = explained(daemon, context, "--no-cache")
    assert set(told.values()) == {"the cache was not asked (--no-cache)"}
    daemon.api("POST", "/build/prune?all=1")
    told = explained(daemon, context)
    assert len(told) == 3
    assert set(told.values()) == {"built before, and pruned from the cache since"}


def test_the_classic_api_tells_too(daemon: Daemon, context: Path) -> None:
    (context / "app/main.py").write_text("two")
    told = explained(daemon, context, buildkit="0")
    assert told["COPY 2/4"] == "app/main.py has other contents"
