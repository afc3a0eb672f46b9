"""The classic way to build: `knarr build` without buildx, and the docker CLI with DOCKER_BUILDKIT=0."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.daemons import BIN, Daemon, Knarrd

DOCKERFILE = "FROM busybox\nARG WHO=nobody\nLABEL for=$WHO\nCOPY . /ctx/\nRUN echo hi $WHO > /hi && cat /hi\n"


@pytest.fixture
def context(tmp_path: Path) -> Path:
    root = tmp_path / "ctx"
    (root / "sub/deep").mkdir(parents=True)
    (root / "Dockerfile").write_text(DOCKERFILE)
    (root / "a.txt").write_text("a")
    (root / "sub/b.md").write_text("b")
    (root / "sub/deep/c.md").write_text("c")
    (root / "link").symlink_to("a.txt")
    (root / ".dockerignore").write_text("**/*.md\n!sub/deep/*.md\nDockerfile\n")
    return root


def build(daemon: Daemon, *words: str, data: bytes | None = None) -> subprocess.CompletedProcess[str]:
    """`knarr build` where dockerd is not under test, `DOCKER_BUILDKIT=0 docker build` where it is."""
    program = [str(BIN / "knarr")] if isinstance(daemon, Knarrd) else ["docker"]
    done = subprocess.run(
        [*program, "build", *words],
        env={**daemon.environment(), "DOCKER_BUILDKIT": "0"},
        input=data,
        capture_output=True,
        timeout=100,
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def files(daemon: Daemon, image: str) -> list[str]:
    return daemon.docker("run", "--rm", image, "find", "/ctx").stdout.split()


def test_the_context_is_what_is_not_ignored(daemon: Daemon, context: Path) -> None:
    done = build(daemon, "-t", "classic", "--build-arg", "WHO=me", "--label", "x=y", str(context))
    assert done.returncode == 0, done.stderr
    assert " : RUN echo hi $WHO > /hi && cat /hi\n" in done.stdout
    assert "hi me\n" in done.stdout
    assert "Successfully tagged classic:latest\n" in done.stdout
    assert daemon.inspect("classic")["Config"]["Labels"] == {"for": "me", "x": "y"}
    assert sorted(files(daemon, "classic")) == [
        "/ctx",
        "/ctx/.dockerignore",
        "/ctx/a.txt",
        "/ctx/link",
        "/ctx/sub",
        "/ctx/sub/deep",
        "/ctx/sub/deep/c.md",
    ]


def test_again_it_comes_from_the_cache(daemon: Daemon, context: Path) -> None:
    build(daemon, "-t", "classic", str(context))
    os.utime(context / "a.txt", (1, 1))
    done = build(daemon, "-t", "classic", str(context))
    assert done.stdout.count(" ---> Using cache\n") == 4


def test_quiet_is_the_id_alone(daemon: Daemon, context: Path) -> None:
    done = build(daemon, "-q", "-t", "classic", str(context))
    assert done.stdout.strip() == daemon.inspect("classic")["Id"]


def test_a_command_that_fails_gives_its_code(daemon: Daemon, tmp_path: Path) -> None:
    done = build(daemon, "-", data=b"FROM busybox\nRUN echo out; exit 7\n")
    assert done.returncode == 7
    assert "out\n" in done.stdout
    assert "The command '/bin/sh -c echo out; exit 7' returned a non-zero code: 7" in done.stderr


def test_a_dockerfile_outside_and_one_by_another_name(daemon: Daemon, context: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("FROM busybox\nENV A=outside\n")
    (context / "other").write_text("FROM busybox\nENV A=other\n")
    for file, expected in ((tmp_path / "outside", "outside"), (context / "other", "other")):
        done = build(daemon, "-t", "classic", "-f", str(file), str(context))
        assert done.returncode == 0, done.stderr
        assert f"A={expected}" in daemon.inspect("classic")["Config"]["Env"]


def test_what_is_wrong_with_the_dockerfile_is_said(daemon: Daemon, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM busybox\nRUNN x\n")
    done = build(daemon, str(context))
    assert done.returncode == 1
    assert "unknown instruction: RUNN" in done.stderr
    (context / "Dockerfile").unlink()
    done = build(daemon, str(context))
    assert done.returncode == 1
    assert "unable to evaluate symlinks in Dockerfile path" in done.stderr


def test_iidfile(daemon: Daemon, context: Path, tmp_path: Path) -> None:
    build(daemon, "-t", "classic", "--iidfile", str(tmp_path / "id"), str(context))
    assert (tmp_path / "id").read_text() == daemon.inspect("classic")["Id"]


def test_building_twice_gives_one_image(daemon: Daemon, context: Path, peer: bool) -> None:
    """The second build has no cache to take from; dockerd's images have the time of their making."""
    if peer:
        pytest.skip("only knarr's builds are reproducible without being told a date")
    ids = set()
    for _ in range(2):
        build(daemon, "--no-cache", "-t", "twice", str(context))
        ids.add(daemon.inspect("twice")["Id"])
    assert len(ids) == 1


def test_steps_join_the_network_that_was_asked_for(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN wget -qO /got http://page:8000/etc/passwd\n")
    daemon.docker("network", "create", "near")
    serve = ("busybox", "httpd", "-f", "-p", "8000", "-h", "/")
    daemon.docker("run", "-d", "--name", "server", "--network", "near", "--network-alias", "page", *serve)
    try:
        env = {**daemon.environment(), "DOCKER_BUILDKIT": "0"}
        words = ["docker", "build", "--network", "near", "-t", "classic", str(tmp_path)]
        done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, done.stderr
        words[3] = "nowhere"
        done = subprocess.run(
            [*words, "--no-cache"], env=env, capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == 1
        assert "network nowhere not found" in done.stderr
    finally:
        daemon.remove_containers()
        daemon.docker("network", "rm", "near")
