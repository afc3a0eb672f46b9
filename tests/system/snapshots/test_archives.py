"""Trees through archives: ours to ours, ours to GNU tar, GNU tar to ours."""

import os
import stat
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from knarr.snapshots.errors import NoSuchPath, NotADirectory
from knarr.snapshots.maketar import TarOptions, maketar
from knarr.snapshots.untar import UntarOptions, untar
from tests.suites import trees

PROPERTY = settings(deadline=None, derandomize=True, max_examples=40, suppress_health_check=list(HealthCheck))
GNU = ("tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "--same-owner", "--same-permissions")


@pytest.fixture(autouse=True)
def _stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path, Path]:
    return tmp_path / "one", tmp_path / "archive.tar", tmp_path / "two"


def archive(root: Path, file: Path, path: str = "/", options: TarOptions = TarOptions()) -> None:  # noqa: B008
    with open(file, "wb") as out:
        maketar(out.fileno(), str(root), path, options)


def unpack(file: Path, root: Path, options: UntarOptions = UntarOptions()) -> tuple[int, int]:  # noqa: B008
    root.mkdir(exist_ok=True)
    with open(file, "rb") as stream:
        return untar(stream.fileno(), str(root), options)


@PROPERTY
@given(trees.TREES)
def test_a_tree_survives_both_ways(tree: trees.Tree) -> None:
    with tempfile.TemporaryDirectory() as name:
        one, file, two = (Path(name, part) for part in ("one", "archive.tar", "two"))
        one.mkdir()
        trees.make(tree, one)
        wanted = trees.read(one)
        archive(one, file)
        size, entries = unpack(file, two)
        assert trees.read(two) == wanted
        assert entries == len(wanted)
        assert size == sum(
            len(facts[6]) for path, facts in wanted.items() if facts[0] == 0o100000 and facts[8] == path
        )
        again = Path(name, "again.tar")
        archive(two, again)
        assert again.read_bytes() == file.read_bytes()


@PROPERTY
@given(trees.TREES)
def test_gnu_tar_reads_what_we_write(tree: trees.Tree) -> None:
    with tempfile.TemporaryDirectory() as name:
        one, file, two = (Path(name, part) for part in ("one", "archive.tar", "two"))
        one.mkdir()
        two.mkdir()
        trees.make(tree, one)
        archive(one, file)
        subprocess.run([*GNU, "-xf", file, "-C", two], check=True)
        assert trees.read(two) == trees.read(one)


@PROPERTY
@given(trees.TREES)
def test_we_read_what_gnu_tar_writes(tree: trees.Tree) -> None:
    with tempfile.TemporaryDirectory() as name:
        one, file, two = (Path(name, part) for part in ("one", "archive.tar", "two"))
        one.mkdir()
        trees.make(tree, one)
        subprocess.run([*GNU, "--format=posix", "-cf", file, "-C", one, "."], check=True)
        unpack(file, two)
        assert without_linked_devices(trees.read(two)) == without_linked_devices(trees.read(one))


def without_linked_devices(tree: dict[bytes, tuple[Any, ...]]) -> dict[bytes, tuple[Any, ...]]:
    """GNU tar writes every name of a device or fifo as one of its own."""
    return {path: facts if facts[0] == stat.S_IFREG else facts[:-1] for path, facts in tree.items()}


def test_every_gnu_dialect(places: tuple[Path, Path, Path]) -> None:
    one, file, two = places
    (one / ("d" * 90) / ("e" * 90)).mkdir(parents=True)
    (one / ("d" * 90) / ("e" * 90) / ("f" * 40)).write_text("deep")
    (one / "link").symlink_to("t" * 200)
    for dialect in ("gnu", "oldgnu", "posix"):
        subprocess.run(["tar", f"--format={dialect}", "-cf", file, "-C", one, "."], check=True)
        unpack(file, two)
        assert (two / ("d" * 90) / ("e" * 90) / ("f" * 40)).read_text() == "deep"
        assert os.readlink(two / "link") == "t" * 200


def test_docker_cp_names_the_top_entry(places: tuple[Path, Path, Path]) -> None:
    one, file, _ = places
    (one / "etc/conf.d").mkdir(parents=True)
    (one / "etc/conf.d/a").write_text("a")
    (one / "etc/short").symlink_to("/etc/conf.d/a")
    (one / "etc/dir").symlink_to("conf.d")

    def names(path: str, options: TarOptions) -> list[str]:
        archive(one, file, path, options)
        marks = {tarfile.DIRTYPE: "/", tarfile.SYMTYPE: "@", tarfile.REGTYPE: ""}
        with tarfile.open(file) as found:
            return [member.name + marks[member.type] for member in found]

    assert names("/etc/conf.d", TarOptions(name="conf.d")) == ["conf.d/", "conf.d/a"]
    assert names("/etc/conf.d", TarOptions(name="other")) == ["other/", "other/a"]
    assert names("/etc/conf.d", TarOptions()) == ["a"]
    assert names("/etc/conf.d/a", TarOptions(name="b")) == ["b"]
    assert names("/etc/short", TarOptions(name="short")) == ["short@"]
    assert names("/etc/short", TarOptions(name="short", follow=True)) == ["short"]
    assert names("/etc/dir", TarOptions(name="dir")) == ["dir@"]
    assert names("/etc/dir/", TarOptions(name="dir")) == ["dir/", "dir/a"]
    assert names("/etc/dir/.", TarOptions(name="dir")) == ["dir/", "dir/a"]
    assert names("/etc/dir", TarOptions(name="dir", follow=True)) == ["dir/", "dir/a"]
    assert names("/", TarOptions(name="/"))[:2] == ["./", "./etc/"]


def test_paths_that_are_not_there(places: tuple[Path, Path, Path]) -> None:
    one, file, _ = places
    one.mkdir()
    (one / "file").write_text("x")
    (one / "loop").symlink_to("loop")
    (one / "dangling").symlink_to("nowhere")
    for path in ("/nothing", "/nothing/at/all", "/dangling/"):
        with pytest.raises(NoSuchPath):
            archive(one, file, path, TarOptions(name="x"))
    for path in ("/file/", "/file/below"):
        with pytest.raises(NotADirectory):
            archive(one, file, path, TarOptions(name="x"))
    with pytest.raises(NoSuchPath):
        archive(one, file, "/dangling", TarOptions(name="x", follow=True))
    with pytest.raises(OSError, match="symbolic links"):
        archive(one, file, "/loop", TarOptions(name="x", follow=True))


def test_a_link_out_of_the_root_ends_inside(places: tuple[Path, Path, Path]) -> None:
    one, file, two = places
    (one / "etc").mkdir(parents=True)
    (one / "etc/hostname").write_text("inside")
    (one / "abs").symlink_to("/etc/hostname")
    (one / "up").symlink_to("../../../../../../etc")
    for path, name in (("/abs", "abs"), ("/up/hostname", "hostname")):
        archive(one, file, path, TarOptions(name="found", follow=True))
        unpack(file, two)
        assert (two / "found").read_text() == "inside", name


def test_owner_is_mapped(places: tuple[Path, Path, Path]) -> None:
    one, file, two = places
    (one / "d").mkdir(parents=True)
    (one / "d/f").write_text("x")
    (one / "l").symlink_to("d")
    os.chown(one / "d/f", 5, 6)
    archive(one, file)
    unpack(file, two, UntarOptions(owner=(1234, 5678)))
    for path in ("d", "d/f", "l"):
        facts = os.lstat(two / path)
        assert (facts.st_uid, facts.st_gid) == (1234, 5678), path


def test_directories_are_kept_and_files_replaced(places: tuple[Path, Path, Path]) -> None:
    one, file, two = places
    (one / "d").mkdir(parents=True)
    (one / "d/f").write_text("new")
    archive(one, file)
    (two / "d").mkdir(parents=True)
    (two / "d/other").write_text("stays")
    (two / "d/f").write_text("old")
    os.link(two / "d/f", two / "linked")
    unpack(file, two)
    assert (two / "d/other").read_text() == "stays"
    assert (two / "d/f").read_text() == "new"
    assert (two / "linked").read_text() == "old"


def test_below_a_directory_of_the_root(places: tuple[Path, Path, Path]) -> None:
    one, file, two = places
    one.mkdir()
    (one / "f").write_text("x")
    os.link(one / "f", one / "g")
    os.chmod(one, 0o700)
    archive(one, file, "/", TarOptions(name="."))
    (two / "real").mkdir(parents=True)
    (two / "short").symlink_to("/real")
    os.chmod(two / "real", 0o711)
    unpack(file, two, UntarOptions(directory="/short", keep_root=True))
    assert sorted(os.listdir(two / "real")) == ["f", "g"]
    assert (two / "real").stat().st_mode & 0o7777 == 0o711
    unpack(file, two, UntarOptions(directory="/short"))
    assert (two / "real").stat().st_mode & 0o7777 == 0o700
    with pytest.raises(NoSuchPath):
        unpack(file, two, UntarOptions(directory="/missing"))
    with pytest.raises(NotADirectory):
        unpack(file, two, UntarOptions(directory="/real/f"))


@pytest.mark.parametrize("link", ["/etc", "/none/yet", "etc", "../../etc"])
def test_enclosed_in_a_directory(places: tuple[Path, Path, Path], link: str) -> None:
    """Links in the archive and links that were there end in the directory, and a way that is missing is made there."""
    _, file, root = places
    (root / "x").mkdir(parents=True)
    (root / "etc").mkdir()
    (root / "x/there").symlink_to("/etc")
    with tarfile.open(file, "w") as out:
        for name, target in (("etc", None), ("l", link), ("l/f", ""), ("there/g", "")):
            member = tarfile.TarInfo(name)
            member.type = (
                tarfile.DIRTYPE if target is None else tarfile.SYMTYPE if target else tarfile.REGTYPE
            )
            member.linkname, member.mode = target or "", 0o755
            out.addfile(member)
    unpack(file, root, UntarOptions(directory="/x", enclosed=True))
    assert list((root / "etc").iterdir()) == []
    assert (root / "x/etc/g").is_file()
    assert (root / ("x/none/yet/f" if "none" in link else "x/etc/f")).is_file()
    assert os.readlink(root / "x/l") == link
    assert sorted(path.name for path in root.iterdir()) == ["etc", "x"]


def test_a_growing_and_a_shrinking_file_keep_the_archive_whole(
    places: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, file, two = places
    one.mkdir()
    (one / "big").write_bytes(b"x" * 600_000)
    (one / "next").write_text("next")
    real = os.sendfile

    def shrink(out: int, source: int, offset: None, count: int) -> int:
        os.truncate(one / "big", 1000)
        return real(out, source, offset, count)

    monkeypatch.setattr(os, "sendfile", shrink)
    archive(one, file)
    unpack(file, two)
    assert (two / "big").read_bytes() == b"x" * 1000 + bytes(599_000)
    assert (two / "next").read_text() == "next"


def test_in_a_chroot_over_a_pipe(places: tuple[Path, Path, Path]) -> None:
    one, file, two = places
    (one / "a/b").mkdir(parents=True)
    (one / "a/b/c").write_bytes(os.urandom(3_000_000))
    (one / "a/l").symlink_to("/etc/passwd")
    archive(one, file)
    two.mkdir()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(writer)
            os.chroot(two)
            os.chdir("/")
            code = 0 if untar(reader, "/").entries == 4 else 2
        finally:
            os._exit(code)
    os.close(reader)
    with open(writer, "wb") as out:
        out.write(file.read_bytes() + bytes(300_000))
    assert os.waitpid(child, 0)[1] == 0
    assert trees.read(two) == trees.read(one)
