"""The store of contents: by digest, once, swept by what is named."""

import hashlib
from pathlib import Path
from stat import S_IFREG

import pytest

from knarr.build.context.entries import Entry
from knarr.build.context.store import Files


@pytest.fixture
def files(tmp_path: Path) -> Files:
    store = Files(tmp_path)
    store.open()
    return store


def entry(path: str, digest: str) -> Entry:
    return Entry(path=path, mode=S_IFREG | 0o644, digest=digest)


def test_contents_are_named_by_their_digest(files: Files) -> None:
    (digest,) = files.put([b"hello"])
    assert digest == hashlib.sha256(b"hello").hexdigest()
    assert Path(files.path(digest)).read_bytes() == b"hello"
    with files.writing() as writing:
        writing.write(b"hel")
        writing.write(b"lo")
        assert writing.finish() == digest


def test_what_is_not_finished_is_dropped(files: Files, tmp_path: Path) -> None:
    with files.writing() as writing:
        writing.write(b"half")
    assert list((tmp_path / "aside").iterdir()) == []
    assert list((tmp_path / "files").iterdir()) == []


def test_leftovers_of_a_crash_go_at_the_start(files: Files, tmp_path: Path) -> None:
    (tmp_path / "aside" / "left").write_bytes(b"x")
    Files(tmp_path).open()
    assert list((tmp_path / "aside").iterdir()) == []


def test_an_index_is_remembered_and_a_broken_one_is_none(files: Files, tmp_path: Path) -> None:
    files.remember("key", [entry("a", "aa")])
    assert files.remembered("key") == {"a": entry("a", "aa")}
    assert files.remembered("other") == {}
    (path,) = (tmp_path / "contexts").iterdir()
    path.write_bytes(b"\xff nonsense")
    assert files.remembered("key") == {}


def test_a_sweep_keeps_what_is_named_or_held(files: Files) -> None:
    named, held, lost = files.put([b"named", b"held", b"lost"])
    files.remember("key", [entry("a", named)])
    assert files.sweep([held]) == len(b"lost")
    assert files.has(named, 5)
    assert files.has(held, 4)
    assert not files.has(lost, 4)
    assert files.sweep([], forget=True) == len(b"named") + len(b"held")
    assert files.remembered("key") == {}


def test_a_content_that_was_cut_short_is_not_there_and_is_written_again(files: Files) -> None:
    (digest,) = files.put([b"whole"])
    Path(files.path(digest)).write_bytes(b"who")
    assert not files.has(digest, 5)
    assert files.put([b"whole"]) == [digest]
    assert Path(files.path(digest)).read_bytes() == b"whole"
