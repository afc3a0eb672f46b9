"""Cgroups of version 2, which a hybrid host has, too."""

import os
from collections.abc import Iterator

import pytest

from knarr.kernel.cgroups.hierarchy import Hierarchy, find
from knarr.kernel.cgroups.v2 import CgroupV2


@pytest.fixture
def unified() -> Iterator[CgroupV2]:
    """A cgroup of version 2, which a hybrid host has without controllers."""
    hierarchy = find()
    if not hierarchy.unified:
        pytest.skip("no cgroup2 mount")
    below = Hierarchy(2, {}, hierarchy.unified)
    parent = f"knarr-test-k-{os.getpid()}"
    group = CgroupV2(f"{parent}/one", below)
    group.create()
    yield group
    CgroupV2(parent, below).remove()
