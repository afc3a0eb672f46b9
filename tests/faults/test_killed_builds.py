"""Clients that go in the middle of a build: its steps end at once, nothing of it is left, and the cache stays right.

KNARR_BUILD_KILLS says how many builds are killed.
"""

import os
import random
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support import host
from tests.support.daemons import Knarrd
from tests.support.remains import remains

KILLS = int(os.environ.get("KNARR_BUILD_KILLS", "10"))
LINES = 26

DOCKERFILE = """\
FROM busybox AS first
ARG N
COPY files /files
RUN --mount=type=cache,target=/cache echo $N >>/cache/all; for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.05; done; echo first $N >/first
FROM busybox AS second
ARG N
RUN --mount=type=bind,from=first,source=/files,target=/files dd if=/dev/zero of=/zeros bs=1M count=4 && cat /files/* | sha256sum >/second
FROM busybox
COPY --from=first /first /first
COPY --from=second /second /zeros /
RUN echo last; cat /first /second
"""


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A context of some files."""
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "files").mkdir()
    for number in range(50):
        (tmp_path / "files" / str(number)).write_text(f"{number}\n" * 1000)
    return tmp_path


def left(daemon: Knarrd) -> dict[str, set[str]]:
    """What a build must not leave: the host's things, and temporary files of its own."""
    found = remains(daemon)
    build = daemon.data_root / "build"
    names = {f"{place}/{name}" for place in ("mounts", "aside") for name in _listed(build / place)}
    return found | ({"temporary": names} if names else {})


def _listed(directory: Path) -> Sequence[str]:
    return os.listdir(directory) if directory.exists() else ()


def killed(daemon: Knarrd, context: Path, number: int, chance: random.Random) -> None:
    """A build whose client is ended after some lines of its progress, by Ctrl-C or for good."""
    lines = chance.randrange(LINES)
    ending = chance.choice([signal.SIGINT, signal.SIGKILL])
    client = subprocess.Popen(
        ["docker", "build", "--progress=plain", "--build-arg", f"N={number}", str(context)],
        env=daemon.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert client.stderr is not None
        for _ in range(lines):
            if not client.stderr.readline():
                break
        os.killpg(client.pid, ending)
        client.communicate(timeout=60)
    finally:
        if client.poll() is None:
            os.killpg(client.pid, signal.SIGKILL)
            client.wait()


def test_killed_builds_leave_nothing(daemon: Knarrd, context: Path) -> None:
    """And what was cached of them is what they would have made."""
    chance, shims = random.Random(7), host.shims()
    for number in range(KILLS):
        killed(daemon, context, number % 5, chance)
        host.settle(lambda: left(daemon))
    for number in range(min(KILLS, 5)):
        argument = f"N={number}"
        daemon.docker("build", "-q", "-t", "built", "--build-arg", argument, str(context))
        daemon.docker("build", "-q", "-t", "fresh", "--no-cache", "--build-arg", argument, str(context))
        first, second = (
            daemon.docker("run", "--rm", name, "sh", "-c", "cat /first /second; sha256sum /zeros").stdout
            for name in ("built", "fresh")
        )
        assert first == second
        assert f"first {number}\n" in first
    host.settle(lambda: left(daemon))
    host.settle(lambda: host.shims() - shims)


def test_a_cancelled_step_ends_at_once(daemon: Knarrd, tmp_path: Path) -> None:
    """A step that would sleep for a day."""
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN echo started; sleep 86400\n")
    client = subprocess.Popen(
        ["docker", "build", "--progress=plain", str(tmp_path)],
        env=daemon.environment(),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert client.stderr is not None
        assert any("started" in line and "RUN" not in line for line in client.stderr)
        assert "processes" in left(daemon)
        os.killpg(client.pid, signal.SIGINT)
        _, told = client.communicate(timeout=60)
        assert "cancel" in told
        assert client.returncode != 0
    finally:
        if client.poll() is None:
            os.killpg(client.pid, signal.SIGKILL)
            client.wait()
    host.settle(lambda: left(daemon))
