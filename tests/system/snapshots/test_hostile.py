"""Archives that mean harm: nothing outside the root is touched, and the error says what was wrong."""

import io
import os
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knarr.snapshots import header, tree
from knarr.snapshots.errors import BadArchive
from knarr.snapshots.header import Header
from knarr.snapshots.untar import UntarOptions, untar
from tests.suites import trees

LAYER = UntarOptions(whiteouts=True)


@pytest.fixture(autouse=True)
def _stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A root beside a directory that must not change; removed here, because pytest cannot remove what is very deep."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("secret")
    (tmp_path / "root").mkdir()
    yield tmp_path / "root"
    tree.remove_tree(str(tmp_path / "root"))


def feed(root: Path, data: bytes, options: UntarOptions = LAYER) -> None:
    with open(root.parent / "stream", "w+b") as stream:
        stream.write(data)
        stream.seek(0)
        before = trees.read(root.parent / "outside")
        try:
            untar(stream.fileno(), str(root), options)
        finally:
            assert trees.read(root.parent / "outside") == before
            assert sorted(os.listdir(root.parent)) == ["outside", "root", "stream"]


def members(*found: Header) -> bytes:
    return b"".join(
        header.encode(member) + bytes(member.size + -member.size % 512) for member in found
    ) + bytes(1024)


def link(name: bytes, target: bytes) -> Header:
    return Header(name, header.SYMLINK, 0o777, link=target)


@pytest.mark.parametrize(
    "name", [b"../outside/secret", b"a/../../outside/x", b"..", b"/../outside/x", b"./.."]
)
@pytest.mark.parametrize("kind", [header.REGULAR, header.DIRECTORY, header.SYMLINK, header.FIFO])
def test_dots_are_refused(root: Path, name: bytes, kind: bytes) -> None:
    with pytest.raises(BadArchive, match=r"'\.\.' in its name"):
        feed(root, members(Header(name, kind, link=b"x")))


def test_an_absolute_name_begins_at_the_root(root: Path) -> None:
    feed(root, members(Header(b"/etc/passwd", size=3), Header(b"//./tmp//x", size=1)))
    assert (root / "etc/passwd").stat().st_size == 3
    assert (root / "tmp/x").stat().st_size == 1


@pytest.mark.parametrize("depth", [1, 30])
def test_a_link_in_the_way_ends_inside(root: Path, depth: int) -> None:
    target = b"../" * depth + b"outside"
    with pytest.raises(BadArchive, match=r"File exists|Not a directory|No such file"):
        feed(root, members(link(b"x", target), Header(b"x/secret", size=2)))
    assert not (root / "outside").exists()
    (root / "outside").mkdir()
    feed(root, members(link(b"x", target), Header(b"x/secret", size=2)))
    assert (root / "outside/secret").stat().st_size == 2


def test_an_absolute_link_ends_inside(root: Path) -> None:
    outside = os.fsencode(root.parent / "outside")
    (root / os.fsdecode(outside).lstrip("/")).mkdir(parents=True)
    feed(root, members(link(b"x", outside), Header(b"x/secret", size=2), Header(b"x/.wh.gone")))
    inside = root / os.fsdecode(outside).lstrip("/")
    assert sorted(os.listdir(inside)) == ["gone", "secret"]


def test_a_file_replaces_a_link_instead_of_writing_through_it(root: Path) -> None:
    secret = os.fsencode(root.parent / "outside/secret")
    feed(
        root,
        members(
            link(b"x", secret),
            Header(b"x", size=2),
            link(b"d", b"../outside"),
            Header(b"d", header.DIRECTORY),
        ),
    )
    assert (root / "x").stat().st_size == 2
    assert (root / "d").is_dir()
    assert not (root / "d").is_symlink()


@pytest.mark.parametrize("target", [b"../outside/secret", b"x/secret", b"/nowhere", b"", b"d"])
def test_a_hard_link_cannot_reach_out(root: Path, target: bytes) -> None:
    made = (link(b"x", b"../outside"), Header(b"d", header.DIRECTORY))
    with pytest.raises(BadArchive):
        feed(root, members(*made, Header(b"stolen", header.LINK, link=target)))
    assert not (root / "stolen").exists()


def test_a_hard_link_to_a_link_is_the_link(root: Path) -> None:
    feed(root, members(link(b"x", b"../outside/secret"), Header(b"y", header.LINK, link=b"x")))
    assert os.readlink(root / "y") == "../outside/secret"


def test_overlay_attributes_are_not_taken_from_an_archive(root: Path) -> None:
    pairs = {"trusted.overlay.redirect": b"/outside", "trusted.overlay.opaque": b"y", "user.fine": b"1"}
    feed(root, members(Header(b"d", header.DIRECTORY, 0o755, xattrs=pairs), Header(b"f", xattrs=pairs)))
    assert os.listxattr(root / "d") == os.listxattr(root / "f") == ["user.fine"]


def test_names_that_are_too_long(root: Path) -> None:
    for name in (b"n" * 256, b"/".join([b"d" * 200] * 30), b"a/" * 3000 + b"x"):
        with pytest.raises(BadArchive, match="File name too long"):
            feed(root, members(Header(name)))
    with pytest.raises(BadArchive, match="extension of"):
        feed(root, members(Header(b"n" * (2 << 20))))
    with pytest.raises(BadArchive, match=r"File name too long|Invalid"):
        feed(root, members(link(b"l", b"t" * 5000)))


def test_deep_directories(root: Path) -> None:
    feed(root, members(Header(b"a/" * 1500 + b"x", size=1)))


@pytest.mark.parametrize("name", [b".wh.", b".wh..", b".wh...", b"d/.wh..."])
def test_whiteouts_of_no_name(root: Path, name: bytes) -> None:
    with pytest.raises(BadArchive, match="deletes no name"):
        feed(root, members(Header(b"d", header.DIRECTORY), Header(name)))


def test_odd_members(root: Path) -> None:
    with pytest.raises(BadArchive, match="unknown type"):
        feed(root, members(Header(b"x", b"Z")))
    with pytest.raises(BadArchive, match="has no name"):
        feed(root, members(Header(b"./", header.SYMLINK, link=b"x")))
    with pytest.raises(BadArchive, match="sparse"):
        feed(root, members(Header(b"x", header.SPARSE)))
    with pytest.raises(BadArchive, match=r"zero byte|invalid tar header"):
        feed(root, members(Header(b"x" * 150 + b"\0" + b"y" * 150)))
    with pytest.raises(BadArchive):
        feed(root, members(Header(b"x", uid=1 << 40)))
    with pytest.raises(BadArchive):
        feed(root, members(Header(b"x", mtime=1 << 100)))
    feed(root, members(Header(b"label", header.LABEL), Header(b"fine")))
    assert "label" not in os.listdir(root)


def test_every_truncation_inside_a_member_is_an_error(root: Path) -> None:
    data = members(Header(b"a" * 200, size=1000))[:-1024]
    for length in range(1, len(data), 100):
        if length % 512 == 0 and length == len(data):
            continue
        with pytest.raises(BadArchive, match="unexpected end"):
            feed(root, data[:length])
    feed(root, data)
    feed(root, b"")


def test_a_flipped_header_bit(root: Path) -> None:
    data = bytearray(members(Header(b"a", size=10), Header(b"b")))
    data[1024 + 3] ^= 4
    with pytest.raises(BadArchive, match="checksum"):
        feed(root, bytes(data))
    with pytest.raises(BadArchive, match="invalid tar header"):
        feed(root, os.urandom(64) + b"x" * 2000)


def test_docker_cp_refuses_to_swap_files_and_directories(root: Path) -> None:
    strict = UntarOptions(no_overwrite_dir_non_dir=True)
    (root / "d").mkdir()
    (root / "f").write_text("f")
    with pytest.raises(BadArchive, match='cannot overwrite directory "d" with non-directory'):
        feed(root, members(Header(b"d")), strict)
    with pytest.raises(BadArchive, match='cannot overwrite non-directory "f" with directory'):
        feed(root, members(Header(b"f/", header.DIRECTORY)), strict)
    feed(root, members(Header(b"d/", header.DIRECTORY, 0o755), Header(b"f", size=1)), strict)
    feed(root, members(Header(b"d"), Header(b"f/", header.DIRECTORY)), UntarOptions())
    assert (root / "d").is_file()
    assert (root / "f").is_dir()


SOUP_NAMES = st.sampled_from(
    [
        b"a",
        b"a/b",
        b"a/b/c",
        b"b",
        b"b/a",
        b"../outside/x",
        b"a/..",
        b".wh.a",
        b"a/.wh..wh..opq",
        b"a/.wh.b",
        b"./",
        b"c/",
    ]
)
SOUP = st.lists(
    st.builds(
        Header,
        name=SOUP_NAMES,
        kind=st.sampled_from([b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7"]),
        mode=st.integers(0, 0o7777),
        uid=st.integers(0, 70000),
        gid=st.just(0),
        size=st.just(0),
        mtime=st.integers(0, 10**18),
        link=st.one_of(
            SOUP_NAMES, st.sampled_from([b"../outside", b"../outside/secret", b"/", b".", b"a/b"])
        ),
        device=st.tuples(st.integers(0, 5), st.integers(0, 5)),
        xattrs=st.just({}),
        atime=st.none(),
    ),
    max_size=12,
)


@settings(deadline=None, derandomize=True, max_examples=150, suppress_health_check=list(HealthCheck))
@given(SOUP)
def test_no_mixture_of_members_reaches_out(
    tmp_path_factory: pytest.TempPathFactory, soup: list[Header]
) -> None:
    base = tmp_path_factory.mktemp("soup")
    (base / "outside").mkdir()
    (base / "outside/secret").write_text("secret")
    (base / "root").mkdir()
    with suppress(BadArchive):
        feed(base / "root", members(*soup))


@settings(deadline=None, derandomize=True, max_examples=100, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 5000), st.integers(0, 255))
def test_no_flipped_byte_reaches_out(
    tmp_path_factory: pytest.TempPathFactory, place: int, value: int
) -> None:
    base = tmp_path_factory.mktemp("flip")
    (base / "outside").mkdir()
    (base / "root").mkdir()
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("a", "dir/" + "n" * 120, "ü"):
            info = tarfile.TarInfo(name)
            info.size = 100
            archive.addfile(info, io.BytesIO(bytes(100)))
    data = bytearray(made.getvalue())
    data[place % len(data)] = value
    with suppress(BadArchive):
        feed(base / "root", bytes(data))
