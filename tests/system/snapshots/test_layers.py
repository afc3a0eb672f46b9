"""Image layers: whiteouts in and out, and what overlayfs makes of them."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from knarr.content.store import Blobs
from knarr.model.digest import Digest
from knarr.snapshots import header
from knarr.snapshots.changes import Change, changes
from knarr.snapshots.copy import Copy
from knarr.snapshots.errors import NoSuchSnapshot
from knarr.snapshots.header import Header
from knarr.snapshots.maketar import TarOptions, maketar
from knarr.snapshots.overlay import Overlay
from knarr.snapshots.port import Snapshotter
from knarr.snapshots.untar import UntarOptions, untar
from tests.suites import snapshotter, trees
from tests.suites.snapshotter import BASE, MIDDLE, TOP, Look

LAYER = UntarOptions(whiteouts=True)


@pytest.fixture(autouse=True)
def _stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(params=[Overlay, Copy], ids=["overlay", "copy"])
def driver(request: pytest.FixtureRequest, tmp_path: Path) -> Snapshotter:
    made: Snapshotter = request.param(tmp_path / "snapshots")
    return made


@pytest.mark.parametrize("check", snapshotter.PLAIN, ids=lambda check: check.__name__)
def test_suite(driver: Snapshotter, check: snapshotter.Check) -> None:
    check(driver)


@pytest.mark.parametrize("check", snapshotter.LOOKING, ids=lambda check: check.__name__)
def test_looking_suite(driver: Snapshotter, check: snapshotter.LookingCheck) -> None:
    look: Look = trees.look
    check(driver, look)


def layer(driver: Snapshotter, chain_id: Digest, *found: Header) -> None:
    data = b"".join(header.encode(one) + bytes(one.size + -one.size % 512) for one in found)
    with driver.stage(chain_id) as staged:
        with open(Path(staged.path).parent.parent.parent / "stream", "w+b") as stream:
            stream.write(data)
            stream.seek(0)
            untar(stream.fileno(), staged.path, LAYER)
        driver.commit(staged)


def files(*names: str) -> list[Header]:
    return [Header(name.encode(), size=1) for name in names]


def directory(name: str, mode: int = 0o755) -> Header:
    return Header(f"{name}/".encode(), header.DIRECTORY, mode)


def tree(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def test_whiteouts_delete(driver: Snapshotter) -> None:
    layer(driver, BASE, directory("d"), *files("d/a", "d/b", "f", "o/x", "o/y", "gone/deep/z"))
    layer(
        driver,
        MIDDLE,
        *files("d/.wh.a", ".wh.f", "o/.wh..wh..opq", "o/new", ".wh.gone", ".wh..wh.plnk", ".wh.never"),
    )
    with trees.look(driver.prepare("c", [BASE, MIDDLE])) as root:
        assert tree(root) == ["d", "d/b", "o", "o/new"]


def test_a_layer_that_replaces_what_it_deletes(driver: Snapshotter) -> None:
    layer(driver, BASE, *files("a/old", "b/old", "c/old", "d/old", "f"))
    layer(
        driver,
        MIDDLE,
        *files(".wh.a"),
        directory("a"),
        *files("a/new"),
        directory("b"),
        *files("b/new", ".wh.b", ".wh.c", "c/new", "d/new", "d/.wh..wh..opq", ".wh.f", "f"),
    )
    with trees.look(driver.prepare("c", [BASE, MIDDLE])) as root:
        assert tree(root) == ["a", "a/new", "b", "b/new", "c", "c/new", "d", "d/new", "f"]


def test_a_file_over_a_directory_and_back(driver: Snapshotter) -> None:
    layer(driver, BASE, *files("a/x", "b"))
    layer(driver, MIDDLE, *files("a", "b/y"))
    layer(driver, TOP, directory("a"), *files("a/z"))
    with trees.look(driver.prepare("c", [BASE, MIDDLE, TOP])) as root:
        assert tree(root) == ["a", "a/z", "b", "b/y"]


def test_the_root_has_the_topmost_layers_mode(driver: Snapshotter) -> None:
    layer(driver, BASE, directory(".", 0o711))
    with trees.look(driver.prepare("c", [BASE])) as root:
        assert stat.S_IMODE(root.stat().st_mode) == 0o711


def change(root: Path) -> None:
    (root / "d/a").unlink()
    (root / "d/b").write_text("changed")
    (root / "e/new").write_text("new")
    for name in ("x", "y"):
        (root / "o" / name).unlink()
    (root / "o").rmdir()
    (root / "o").mkdir()
    (root / "o/n").write_text("n")
    (root / "top").symlink_to("d/b")


WANTED = [
    Change(0, "/d"),
    Change(2, "/d/a"),
    Change(0, "/d/b"),
    Change(0, "/e"),
    Change(1, "/e/new"),
    Change(0, "/o"),
    Change(1, "/o/n"),
    Change(2, "/o/x"),
    Change(2, "/o/y"),
    Change(1, "/top"),
]


def test_changes(driver: Snapshotter) -> None:
    layer(driver, BASE, *files("d/a", "d/b", "e/f", "o/x", "o/y", "z"))
    with trees.look(driver.prepare("c", [BASE])) as root:
        assert changes(driver.delta("c")) == []
        change(root)
    assert changes(driver.delta("c")) == WANTED


def test_the_difference_is_a_layer(tmp_path: Path) -> None:
    driver = Overlay(tmp_path / "snapshots")
    layer(driver, BASE, *files("d/a", "d/b", "e/f", "o/x", "o/y", "z"))
    with trees.look(driver.prepare("c", [BASE])) as root:
        change(root)
        wanted = trees.read(root)
    with open(tmp_path / "diff.tar", "w+b") as file:
        maketar(file.fileno(), driver.delta("c").upper, "/", TarOptions(whiteouts=True))
        file.seek(0)
        with driver.stage(MIDDLE) as staged:
            untar(file.fileno(), staged.path, LAYER)
            driver.commit(staged)
    with trees.look(driver.prepare("again", [BASE, MIDDLE])) as root:
        assert trees.read(root) == wanted


def test_a_hundred_and_fifty_layers(tmp_path: Path) -> None:
    driver = Overlay(tmp_path / "snapshots")
    chain = [Digest.of(b"%d" % number) for number in range(150)]
    for number, chain_id in enumerate(chain):
        snapshotter.add_layer(driver, chain_id, {f"f{number}": "", "last": str(number)})
    with trees.look(driver.prepare("c", chain)) as root:
        assert len(os.listdir(root)) == 151
        assert (root / "last").read_text() == "149"


def test_layers_are_once_on_disk(tmp_path: Path) -> None:
    driver = Overlay(tmp_path / "snapshots")
    with driver.stage(BASE) as staged:
        Path(staged.path, "big").write_bytes(os.urandom(2_000_000))
        driver.commit(staged)
    for number in range(20):
        driver.prepare(f"c{number}", [BASE])
        assert driver.usage(f"c{number}").size < 10_000


@pytest.mark.parametrize("kind", [Overlay, Copy], ids=["overlay", "copy"])
def test_a_full_disk_leaves_nothing(kind: type[Overlay] | type[Copy], tmp_path: Path) -> None:
    with trees.attached("tmpfs", [("size", "4m"), ("nr_inodes", "60")]) as disk:
        driver: Snapshotter = kind(disk / "snapshots")
        snapshotter.add_layer(driver, BASE, {f"file{number}": "x" for number in range(20)})

        def fill() -> None:
            for number in range(60):
                driver.prepare(f"c{number}", [BASE])

        with pytest.raises(OSError, match="No space"):
            fill()
        assert sorted(os.listdir(disk / "snapshots/snapshots")) == sorted(prepared(driver))
        assert os.listdir(disk / "snapshots/staging") == []
        driver.empty_trash()
        assert os.listdir(disk / "snapshots/trash") == []


def prepared(driver: Snapshotter) -> Iterator[str]:
    """The keys that have mounts."""
    for number in range(60):
        with suppress(NoSuchSnapshot):
            driver.mounts(f"c{number}")
            yield f"c{number}"


def test_a_layer_on_a_full_disk(tmp_path: Path) -> None:
    with trees.attached("tmpfs", [("size", "1m")]) as disk:
        driver = Overlay(disk / "snapshots")
        with open(tmp_path / "stream", "w+b") as stream:
            stream.write(header.encode(Header(b"big", size=2_000_000)) + bytes(2_000_384))
            stream.seek(0)
            with driver.stage(BASE) as staged, pytest.raises(OSError, match="No space") as caught:
                untar(stream.fileno(), staged.path, LAYER)
        assert caught.value.errno == errno.ENOSPC
        driver.empty_trash()
        assert os.listdir(disk / "snapshots/staging") == []
        assert not driver.layer_exists(BASE)


def test_a_blob_on_a_full_disk() -> None:
    with trees.attached("tmpfs", [("size", "1m")]) as disk:
        blobs = Blobs(disk / "content")
        with blobs.ingest(Digest.of(b"x"), 10 << 20) as ingest, pytest.raises(OSError, match="No space"):
            ingest.write(bytes(10 << 20))
        assert os.listdir(disk / "content/ingest") == []


def test_what_a_killed_daemon_left_is_swept(driver: Snapshotter, tmp_path: Path) -> None:
    layer(driver, BASE, *files("f"))
    driver.prepare("kept", [BASE])
    root = tmp_path / "snapshots"
    (root / "layers" / TOP.hex).mkdir()
    (root / "layers" / "scrap").mkdir()
    (root / "staging" / "half" / "diff").mkdir(parents=True)
    (root / "trash" / "old").mkdir()
    driver.sweep({"kept"})
    assert list(driver.layers()) == [BASE]
    assert driver.empty_trash() == 4
    assert os.listdir(root / "staging") == os.listdir(root / "trash") == []
    with trees.look(driver.mounts("kept")) as view:
        assert tree(view) == ["f"]
