"""What every driver of the Snapshotter port must do. A test module calls `check_*` with a fresh driver.

Checks that look through a snapshot's mounts take `look(mounts) -> directory`, a context manager that performs them.
"""

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from knarr.model.digest import Digest
from knarr.model.errors import Invalid
from knarr.model.mount import Mount
from knarr.snapshots.errors import NoSuchLayer, NoSuchSnapshot, SnapshotExists
from knarr.snapshots.port import Snapshotter

Look = Callable[[tuple[Mount, ...]], AbstractContextManager[Path]]
Check = Callable[[Snapshotter], None]
LookingCheck = Callable[[Snapshotter, Look], None]

BASE, MIDDLE, TOP = (Digest.of(name) for name in (b"base", b"middle", b"top"))


def add_layer(driver: Snapshotter, chain_id: Digest, files: dict[str, str]) -> None:
    """A layer with these files."""
    with driver.stage(chain_id) as staged:
        for name, text in files.items():
            path = Path(staged.path) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        driver.commit(staged)


def check_a_layer_exists_once_it_is_committed(driver: Snapshotter) -> None:
    with driver.stage(BASE) as staged:
        assert os.listdir(staged.path) == []
        assert not driver.layer_exists(BASE)
        assert list(driver.layers()) == []
        driver.commit(staged)
    assert driver.layer_exists(BASE)
    assert list(driver.layers()) == [BASE]
    driver.remove_layer(BASE)
    driver.remove_layer(BASE)
    assert not driver.layer_exists(BASE)


def check_what_is_not_committed_is_discarded(driver: Snapshotter) -> None:
    with driver.stage(BASE) as staged:
        Path(staged.path, "file").write_text("x")
    assert not driver.layer_exists(BASE)
    driver.empty_trash()
    assert not Path(staged.path).exists()


def check_the_loser_of_a_race_is_discarded(driver: Snapshotter) -> None:
    first, second = driver.stage(BASE), driver.stage(BASE)
    for number, staged in enumerate((first, second)):
        Path(staged.path, "winner").write_text(str(number))
    barrier = threading.Barrier(2)

    def commit(index: int) -> None:
        barrier.wait()
        driver.commit((first, second)[index])

    threads = [threading.Thread(target=commit, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(driver.layers()) == [BASE]
    first.discard()
    second.discard()
    assert driver.layer_exists(BASE)
    driver.prepare("a", [BASE])
    assert Path(driver.delta("a").lowers[0], "winner").read_text() in {"0", "1"}


def check_snapshots_have_their_key(driver: Snapshotter) -> None:
    add_layer(driver, BASE, {"file": "base"})
    mounts = driver.prepare("a", [BASE])
    assert driver.mounts("a") == mounts
    with pytest.raises(SnapshotExists, match="a"):
        driver.prepare("a", [BASE])
    assert driver.prepare("b", [BASE]) != mounts
    driver.remove("a")
    driver.remove("a")
    with pytest.raises(NoSuchSnapshot, match="a"):
        driver.mounts("a")
    with pytest.raises(NoSuchSnapshot):
        driver.delta("a")
    with pytest.raises(NoSuchSnapshot):
        driver.usage("a")
    driver.prepare("a", [BASE])


def check_a_missing_layer_is_named(driver: Snapshotter) -> None:
    add_layer(driver, BASE, {})
    with pytest.raises(NoSuchLayer, match=str(TOP)):
        driver.prepare("a", [BASE, TOP])
    with pytest.raises(NoSuchLayer, match=str(TOP)):
        driver.usage(TOP)
    with pytest.raises(NoSuchSnapshot):
        driver.mounts("a")


def check_keys_are_names(driver: Snapshotter) -> None:
    for key in ("", "..", "a/b", "-x", "a\n"):
        with pytest.raises(Invalid):
            driver.prepare(key, [])


def check_sweep_removes_what_is_not_known(driver: Snapshotter) -> None:
    add_layer(driver, BASE, {"file": "base"})
    driver.prepare("kept", [BASE])
    driver.prepare("lost", [BASE])
    left = driver.stage(TOP)
    driver.sweep({"kept"})
    driver.mounts("kept")
    with pytest.raises(NoSuchSnapshot):
        driver.mounts("lost")
    assert driver.layer_exists(BASE)
    assert driver.empty_trash() == 2
    assert driver.empty_trash() == 0
    assert not Path(left.path).exists()


def check_usage_counts_blocks_and_hard_links_once(driver: Snapshotter) -> None:
    with driver.stage(BASE) as staged:
        Path(staged.path, "a").write_bytes(b"x" * 100_000)
        os.link(f"{staged.path}/a", f"{staged.path}/b")
        os.mkdir(f"{staged.path}/d")
        driver.commit(staged)
    usage = driver.usage(BASE)
    assert usage.inodes == 3
    assert 100_000 <= usage.size < 200_000


def check_layers_stack(driver: Snapshotter, look: Look) -> None:
    add_layer(driver, BASE, {"etc/a": "base", "etc/b": "base", "gone/x": "x"})
    add_layer(driver, MIDDLE, {"etc/b": "middle"})
    with driver.stage(TOP) as staged:
        os.mkdir(f"{staged.path}/etc")
        os.mknod(f"{staged.path}/etc/a", 0o020000, os.makedev(0, 0))
        os.mkdir(f"{staged.path}/gone")
        os.setxattr(f"{staged.path}/gone", "trusted.overlay.opaque", b"y")
        driver.commit(staged)
    with look(driver.prepare("lower", [BASE, MIDDLE])) as root:
        assert (root / "etc/a").read_text() == "base"
        assert (root / "etc/b").read_text() == "middle"
        assert (root / "gone/x").exists()
    with look(driver.prepare("upper", [BASE, MIDDLE, TOP])) as root:
        assert sorted(os.listdir(root)) == ["etc", "gone"]
        assert os.listdir(root / "etc") == ["b"]
        assert os.listdir(root / "gone") == []


def check_snapshots_are_writable_and_apart(driver: Snapshotter, look: Look) -> None:
    add_layer(driver, BASE, {"etc/a": "base"})
    driver.prepare("one", [BASE])
    driver.prepare("two", [BASE])
    with look(driver.mounts("one")) as root:
        (root / "etc/a").write_text("one")
        (root / "new").write_text("one")
    with look(driver.mounts("two")) as root:
        assert (root / "etc/a").read_text() == "base"
        assert os.listdir(root) == ["etc"]
    with look(driver.mounts("one")) as root:
        assert (root / "etc/a").read_text() == "one"
    driver.remove("one")
    driver.empty_trash()
    assert Path(driver.delta("two").lowers[0], "etc/a").read_text() == "base"


def check_a_volatile_snapshot_can_be_mounted_again(driver: Snapshotter, look: Look) -> None:
    add_layer(driver, BASE, {"etc/a": "base"})
    with look(driver.prepare("one", [BASE], volatile=True)) as root:
        (root / "etc/a").write_text("one")
    for _ in range(2):
        with look(driver.mounts("one")) as root:
            assert (root / "etc/a").read_text() == "one"


def check_an_empty_chain_is_an_empty_root(driver: Snapshotter, look: Look) -> None:
    with look(driver.prepare("scratch", [])) as root:
        assert os.listdir(root) == []
        (root / "file").write_text("x")
    with look(driver.mounts("scratch")) as root:
        assert os.listdir(root) == ["file"]


PLAIN: tuple[Check, ...] = (
    check_a_layer_exists_once_it_is_committed,
    check_what_is_not_committed_is_discarded,
    check_the_loser_of_a_race_is_discarded,
    check_snapshots_have_their_key,
    check_a_missing_layer_is_named,
    check_keys_are_names,
    check_sweep_removes_what_is_not_known,
    check_usage_counts_blocks_and_hard_links_once,
)
LOOKING: tuple[LookingCheck, ...] = (
    check_layers_stack,
    check_snapshots_are_writable_and_apart,
    check_a_volatile_snapshot_can_be_mounted_again,
    check_an_empty_chain_is_an_empty_root,
)
