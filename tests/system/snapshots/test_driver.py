"""Which driver a daemon gets."""

import os
from pathlib import Path

import pytest

from knarr.model.errors import Invalid, Unsupported
from knarr.snapshots import driver
from knarr.snapshots.copy import Copy
from knarr.snapshots.overlay import Overlay
from tests.suites import trees


def test_overlay_where_it_works(tmp_path: Path) -> None:
    for name in ("", "overlay2", "overlayfs"):
        assert isinstance(driver.open_driver(tmp_path / "root", name), Overlay)
    assert os.listdir(tmp_path / "root") == ["overlay2"]
    assert isinstance(driver.open_driver(tmp_path / "root", "vfs"), Copy)


def test_copies_where_it_does_not(tmp_path: Path) -> None:
    made = Overlay(tmp_path / "lower")
    with trees.look(made.prepare("c", [])) as root:
        assert driver.overlay_refused(root) != ""
        assert isinstance(driver.open_driver(root), Copy)
        with pytest.raises(Unsupported, match="cannot use overlayfs"):
            driver.open_driver(root, "overlay2")


def test_an_unknown_driver(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="driver not supported: zfs"):
        driver.open_driver(tmp_path, "zfs")


def test_a_root_that_overlayfs_cannot_name(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="takes no"):
        Overlay(tmp_path / "a:b")
