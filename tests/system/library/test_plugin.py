"""The pytest plugin, from outside: projects whose tests use its fixtures, on a real engine."""

import os
from pathlib import Path

import pytest

from tests.support.daemons import Daemon

TESTS = """
import asyncio, urllib.request
import pytest
from knarr import Engine

@pytest.fixture(scope="session", autouse=True)
def busybox(knarr_engine):
    if not knarr_engine.images.list(wanted={"reference": "busybox"}):
        knarr_engine.images.import_root(%r, "busybox", changes=['CMD ["sh"]', "ENV PATH=/bin:/usr/bin"])

SERVE = "sh -c 'echo up; echo hello > /index.html; exec httpd -f -p 80 -h /'"

@pytest.mark.parametrize("number", range(3))
def test_ready(knarr_container, number):
    one = knarr_container("busybox", SERVE, wait_port=80, wait_log="up")
    two = knarr_container("busybox", "sleep 1000")
    with urllib.request.urlopen(f"http://{one.address(80)}/") as answer:
        assert answer.read() == b"hello\\n"
    assert two.status == "running"

def test_asynchronous(knarr_host, knarr_container):
    one = knarr_container("busybox", "sleep 1000")
    async def look():
        async with Engine.connect(knarr_host) as engine:
            return (await engine.containers.get(one.id)).name
    assert asyncio.run(look()) == one.name

def test_fails(knarr_container):
    one = knarr_container("busybox", "sh -c 'echo last words; sleep 1000'", wait_log="last", name="the-culprit")
    assert one.status == "gone"

def test_never_ready(knarr_container):
    knarr_container("busybox", "sh -c 'echo no luck; exit 3'", wait_log="up")
"""


def project(
    pytester: pytest.Pytester, busybox: Path, monkeypatch: pytest.MonkeyPatch, address: str = ""
) -> None:
    for name in ("KNARR_HOST", "DOCKER_HOST", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    if address:
        monkeypatch.setenv("KNARR_HOST", address)
    pytester.makepyfile(TESTS % os.fspath(busybox))


def check(result: pytest.RunResult) -> None:
    result.assert_outcomes(passed=4, failed=2)
    result.stdout.fnmatch_lines_random(
        ["*- Log of container the-culprit -*", "last words", "no luck", "*ended without having logged 'up'"]
    )


def test_an_engine_of_its_own(
    pytester: pytest.Pytester, busybox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(pytester, busybox, monkeypatch)
    check(pytester.runpytest_subprocess("-p", "no:cacheprovider"))


def test_workers(pytester: pytest.Pytester, busybox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project(pytester, busybox, monkeypatch)
    check(pytester.runpytest_subprocess("-p", "no:cacheprovider", "-n", "2"))


def test_a_daemon(
    pytester: pytest.Pytester, busybox: Path, monkeypatch: pytest.MonkeyPatch, daemon: Daemon
) -> None:
    project(pytester, busybox, monkeypatch, f"unix://{daemon.socket}")
    check(pytester.runpytest_subprocess("-p", "no:cacheprovider"))
    assert daemon.docker("ps", "-aq").stdout == ""
