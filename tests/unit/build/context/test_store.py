"""The store of contents: by digest, once, swept by what is named."""

import hashlib
import os
from pathlib import Path
from stat import S_IFREG

import pytest

from knarr.build.context import packs
from knarr.build.context.entries import Entry
from knarr.build.context.store import Files


@pytest.fixture
def files(tmp_path: Path) -> Files:
    store = Files(tmp_path)
    store.open()
    return store


def put(files: Files, *contents: bytes) -> list[str]:
    with files.packing() as packing:
        digests = [packing.keep(content) for content in contents]
        packing.finish()
    return digests


def entry(path: str, digest: str) -> Entry:
    return Entry(path=path, mode=S_IFREG | 0o644, digest=digest)


def test_contents_are_named_by_their_digest(files: Files) -> None:
    (digest,) = put(files, b"hello")
    assert digest == hashlib.sha256(b"hello").hexdigest()
    assert files.opened(digest).read() == b"hello"
    with files.writing() as writing:
        writing.write(b"hel")
        writing.write(b"lo")
        assert writing.finish() == digest


def test_what_is_not_finished_is_dropped(files: Files, tmp_path: Path) -> None:
    with files.writing() as writing:
        writing.write(b"half")
    assert list((tmp_path / "aside").iterdir()) == []
    assert list((tmp_path / "files").iterdir()) == []
    with files.packing() as packing:
        packing.write([("half", b"half")])
    assert list((tmp_path / "packs").iterdir()) == []
    assert list((tmp_path / "aside").iterdir()) == []


def test_leftovers_of_a_crash_go_at_the_start(files: Files, tmp_path: Path) -> None:
    (tmp_path / "aside" / "left").write_bytes(b"x")
    Files(tmp_path).open()
    assert list((tmp_path / "aside").iterdir()) == []


def test_an_index_is_remembered_and_a_broken_one_is_none(files: Files, tmp_path: Path) -> None:
    files.remember("key", {"a": entry("a", "aa")})
    assert files.remembered("key") == {"a": entry("a", "aa")}
    assert files.remembered("other") == {}
    (path,) = (tmp_path / "contexts").iterdir()
    path.write_bytes(b"\xff nonsense")
    assert files.remembered("key") == {}


def test_a_small_index_is_at_hand_until_the_store_rests(files: Files) -> None:
    index = {"a": entry("a", "aa")}
    assert files.recent("key") is None
    files.remember("key", index)
    assert files.recent("key") is index
    files.rest()
    assert files.recent("key") is None
    found = files.remembered("key")
    assert files.recent("key") is found


def test_an_index_that_was_pruned_is_remembered_anew(files: Files, tmp_path: Path) -> None:
    index = {"a": entry("a", "aa")}
    files.remember_again("key", index)
    files.rest()
    assert files.remembered("key") == index
    (path,) = (tmp_path / "contexts").iterdir()
    os.utime(path, (0, 0))
    files.remember_again("key", index)
    assert path.stat().st_mtime > 0


def test_a_sweep_keeps_what_is_named_or_held(files: Files) -> None:
    named, held, lost = put(files, b"named", b"held", b"lost")
    files.remember("key", {"a": entry("a", named)})
    assert files.sweep([held]) == len(b"lost")
    assert files.has(named, 5)
    assert files.has(held, 4)
    assert not files.has(lost, 4)
    assert files.sweep([], forget=True) == len(b"named") + len(b"held")
    assert files.remembered("key") == {}


def test_a_pack_that_was_cut_short_is_none_and_its_contents_are_written_again(
    files: Files, tmp_path: Path
) -> None:
    (digest,) = put(files, b"whole")
    (pack,) = (tmp_path / "packs").iterdir()
    for cut in (pack.read_bytes()[:-1], b"", b"\xff" * 64):
        pack.write_bytes(cut)
        files.rest()
        assert not files.has(digest, 5)
        assert not pack.exists()
    assert put(files, b"whole") == [digest]
    assert files.opened(digest).read() == b"whole"


def test_a_large_content_that_was_cut_short_is_not_there(files: Files, tmp_path: Path) -> None:
    with files.writing() as writing:
        writing.write(b"whole")
        digest = writing.finish()
    (path,) = (tmp_path / "files").glob("*/*")
    path.write_bytes(b"who")
    assert not files.has(digest, 5)
    with pytest.raises(OSError, match="Input/output error"), files.reader() as reader:
        reader.read(digest, 5)


def test_what_is_there_is_not_written_again(files: Files, tmp_path: Path) -> None:
    put(files, b"one", b"two")
    put(files, b"two", b"one")
    assert len(list((tmp_path / "packs").iterdir())) == 1
    put(files, b"two", b"three")
    packs = list((tmp_path / "packs").iterdir())
    assert len(packs) == 2
    assert sum(pack.read_bytes().count(b"two") for pack in packs) == 1


def test_packs_are_of_bounded_size(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "LIMIT", 1000)
    monkeypatch.setattr(packs, "BATCH", 300)
    contents = [bytes([number]) * 100 for number in range(40)]
    digests = put(files, *contents)
    assert len(list((tmp_path / "packs").iterdir())) == 4
    files.rest()
    with files.reader() as reader:
        assert [reader.read(digest, 100) for digest in digests] == contents
    assert files.sizes() == dict.fromkeys(digests, 100)


def test_a_swept_pack_has_the_rest_of_its_contents(files: Files, tmp_path: Path) -> None:
    contents = [bytes([number]) * 1000 for number in range(10)]
    digests = put(files, *contents)
    assert files.sweep(digests) == 0
    assert files.sweep(digests[::2]) == 5000
    (pack,) = (tmp_path / "packs").iterdir()
    assert pack.stat().st_size < 6000
    with files.reader() as reader:
        assert [reader.read(digest, 1000) for digest in digests[::2]] == contents[::2]
        with pytest.raises(FileNotFoundError):
            reader.read(digests[1], 1000)
    assert list((tmp_path / "aside").iterdir()) == []


def test_what_two_builds_stored_at_once_is_swept_once(files: Files, tmp_path: Path) -> None:
    with files.packing() as first, files.packing() as second:
        digest = first.keep(b"same")
        assert second.keep(b"same") == digest
        first.finish()
        second.finish()
    assert len(list((tmp_path / "packs").iterdir())) == 2
    assert files.sweep([digest]) == 4
    assert len(list((tmp_path / "packs").iterdir())) == 1
    assert files.opened(digest).read() == b"same"
