"""The in-memory twin keeps the port's promises."""

from pathlib import Path

import pytest

from knarr.snapshots.memory import Memory
from tests.suites import snapshotter


@pytest.mark.parametrize("check", snapshotter.PLAIN, ids=lambda check: check.__name__)
def test_suite(check: snapshotter.Check, tmp_path: Path) -> None:
    check(Memory(tmp_path / "snapshots"))
