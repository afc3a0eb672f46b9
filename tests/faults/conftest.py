"""Daemons that tests may kill: each test has its own, with one image."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemons import Knarrd, busybox_tar

BRIDGE, SUBNET = "ktfault0", "10.233.64.0/24"


@pytest.fixture(scope="session", autouse=True)
def root() -> None:
    """These tests make mounts, namespaces and daemons."""
    if os.geteuid() != 0:
        pytest.skip("needs root")


@pytest.fixture(scope="session")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tar of a busybox root."""
    return busybox_tar(tmp_path_factory.mktemp("busybox"))


@contextlib.contextmanager
def knarrd_on(bridge: str, subnet: str, busybox: Path) -> Iterator[Knarrd]:
    """A running knarrd with `busybox:latest`."""
    knarrd = Knarrd(bridge, subnet)
    try:
        knarrd.start()
        knarrd.give_busybox(busybox)
        yield knarrd
    finally:
        knarrd.close()


@pytest.fixture
def daemon(busybox: Path) -> Iterator[Knarrd]:
    """The daemon that a test may kill."""
    with knarrd_on(BRIDGE, SUBNET, busybox) as knarrd:
        yield knarrd
