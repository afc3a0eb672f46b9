"""Walking, measuring and deleting trees: order, depth, links, and what moves meanwhile."""

import os
from pathlib import Path

import pytest

from knarr.snapshots import tree


def opened(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY)


def walked(path: Path) -> list[bytes]:
    top = opened(path)
    try:
        return [node.path for node in tree.walk(top)]
    finally:
        os.close(top)


def make_deep(top: Path, depth: int) -> None:
    """Deeper than a path can name."""
    current = opened(top)
    for _ in range(depth):
        os.mkdir("d", dir_fd=current)
        os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=current))
        inner = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=current)
        os.close(current)
        current = inner
    os.close(current)


def test_parents_first_in_byte_order(tmp_path: Path) -> None:
    for name in ("b/y", "b/x", "a", "b.c", "é", "b/z/deep"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert walked(tmp_path) == [b"a", b"b", b"b/x", b"b/y", b"b/z", b"b/z/deep", b"b.c", "é".encode()]


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/up").symlink_to("..")
    (tmp_path / "loop").symlink_to(".")
    assert walked(tmp_path) == [b"d", b"d/up", b"loop"]


def test_three_thousand_levels(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    make_deep(top, 3000)
    before = len(os.listdir("/proc/self/fd"))
    paths = walked(top)
    assert len(paths) == 6000
    assert paths[-1] == b"f"
    assert tree.measure(str(top)).inodes == 6001
    tree.remove_tree(str(top))
    assert not top.exists()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_directory_that_is_moved_while_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "top").mkdir()
    make_deep(tmp_path / "top", 100)
    top = opened(tmp_path / "top")
    moved = "/".join(["d"] * 90)

    def read() -> None:
        for node in tree.walk(top):
            if node.path.count(b"/") == 95 and (tmp_path / "top" / moved).exists():
                (tmp_path / "top" / moved).rename(tmp_path / "moved")

    with pytest.raises(OSError, match="moved"):
        read()
    os.close(top)


def test_hard_links_are_measured_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 50_000)
    once = tree.measure(str(tmp_path))
    os.link(tmp_path / "a", tmp_path / "b")
    assert tree.measure(str(tmp_path)) == once


def test_removal_of_anything(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    (tmp_path / "d/e").mkdir(parents=True)
    (tmp_path / "d/e/link").symlink_to(outside)
    (tmp_path / "d/link").symlink_to(outside)
    (tmp_path / "d/e/f").touch()
    (tmp_path / "link").symlink_to(outside)
    for name in ("d", "link", "missing"):
        tree.remove_tree(str(tmp_path / name))
    assert os.listdir(tmp_path) == ["outside"]
    assert os.listdir(outside) == ["kept"]
