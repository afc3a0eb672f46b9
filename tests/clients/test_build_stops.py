"""A build whose client goes: its steps' processes end at once, and nothing of them stays, not even in the cache."""

import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.test_classic_api import archive
from tests.support import host
from tests.support.daemons import Daemon

# A step that is begun, has a child, heeds no signal that can be heeded, and never ends.
STEP = "trap '' INT TERM HUP; (sleep 100000; : {mark}) & mkdir /left-over; echo begun; wait; : {mark}"


@pytest.fixture
def mark() -> Iterator[str]:
    """What the step's processes have in their command lines; none has it afterwards."""
    text = f"step-{os.getpid()}-{time.monotonic_ns()}"
    yield text
    assert not _processes(text)


def _processes(mark: str) -> list[int]:
    """Of containers alone: a client and a builder have the mark in their arguments, too."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if words[:2] == [b"/bin/sh", b"-c"] and mark.encode() in words[2]:
            found.append(int(entry.name))
    return found


@pytest.fixture
def context(tmp_path: Path, mark: str) -> Path:
    """A step that never ends, another beside it, and one that waits for both."""
    step = STEP.format(mark=mark)
    (tmp_path / "Dockerfile").write_text(
        f"FROM busybox AS one\nRUN {step}\n"
        f"FROM busybox AS two\nRUN --mount=type=cache,target=/c --mount=type=tmpfs,target=/t {step}\n"
        "FROM busybox\nCOPY --from=one /x /x\nCOPY --from=two /x /y\n"
    )
    return tmp_path


def _gone(daemon: Daemon, mark: str, before: set[str]) -> None:
    """The processes first, then what they were in."""
    host.wait_for(lambda: not _processes(mark), "the step's processes are there")
    host.settle(lambda: _left(daemon) - before)


def _left(daemon: Daemon) -> set[str]:
    return {f"mount {point}" for point in host.mounts([str(daemon.root)])}


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_a_signal_to_buildx(daemon: Daemon, context: Path, mark: str, name: str) -> None:
    """What is told is docker's own; the daemon stops both steps."""
    before = _left(daemon)
    client = daemon.open("build", "--progress=plain", str(context), stdin=subprocess.DEVNULL)
    host.wait_for(lambda: len(_processes(mark)) == 4, "the steps do not begin")
    client.send_signal(getattr(signal, name))
    _, told = client.communicate(timeout=60)
    _gone(daemon, mark, before)
    if name == "SIGINT":
        assert client.returncode == 130, told
        assert (
            told.decode()
            .rstrip()
            .endswith("ERROR: failed to build: failed to solve: Canceled: context canceled")
        )
    # The step was not done: it is not in the cache.
    (context / "Dockerfile").write_text("FROM busybox\nRUN test ! -e /left-over\n")
    daemon.docker("build", "-q", str(context))


@pytest.mark.parametrize("name", ["SIGINT", "SIGKILL"])
def test_a_signal_to_a_classic_client(daemon: Daemon, context: Path, mark: str, name: str) -> None:
    before = _left(daemon)
    client = subprocess.Popen(
        ["docker", "build", str(context)],
        env={**daemon.environment(), "DOCKER_BUILDKIT": "0"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    host.wait_for(lambda: _processes(mark), "the step does not begin")
    client.send_signal(getattr(signal, name))
    client.communicate(timeout=60)
    _gone(daemon, mark, before)


@pytest.mark.parametrize("read", [True, False])
def test_a_connection_that_closes(daemon: Daemon, context: Path, mark: str, read: bool) -> None:
    """Whether its client has read the answer or not."""
    before = _left(daemon)
    connection = http.client.HTTPConnection("localhost", timeout=60)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(daemon.socket))
    files = archive(Dockerfile=(context / "Dockerfile").read_text())
    connection.request("POST", "/v1.45/build?rm=1&forcerm=1", files, {"Content-Type": "application/x-tar"})
    if read:
        answer = connection.getresponse()
        while b"begun" not in answer.readline():
            pass
    host.wait_for(lambda: _processes(mark), "the step does not begin")
    connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()
    _gone(daemon, mark, before)
    assert daemon.docker("ps", "-aq").stdout == ""
