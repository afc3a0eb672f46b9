"""The blob store: whole and verified, or not there."""

import errno
import os
import threading
from pathlib import Path

import pytest

from knarr.content.store import Blobs, CorruptBlob, NoSuchBlob, NoSuchUpload
from knarr.model.digest import Digest

DATA = bytes(range(256)) * 5000
DIGEST = Digest.of(DATA)


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "content")


def parts(tmp_path: Path) -> list[str]:
    return os.listdir(tmp_path / "content" / "ingest")


def test_a_blob_is_there_once_it_is_committed(blobs: Blobs, tmp_path: Path) -> None:
    with blobs.ingest(DIGEST, len(DATA)) as ingest:
        ingest.write(DATA[:1000])
        assert not blobs.has(DIGEST)
        ingest.write(memoryview(DATA)[1000:])
        assert ingest.commit() == DIGEST
    assert blobs.has(DIGEST)
    assert blobs.size(DIGEST) == len(DATA)
    with blobs.open(DIGEST) as file:
        assert file.read() == DATA
    assert blobs.path(DIGEST).name == DIGEST.hex
    assert [blob.digest for blob in blobs.walk()] == [DIGEST]
    assert parts(tmp_path) == []


def test_an_ingest_goes_on_where_it_stopped(blobs: Blobs, tmp_path: Path) -> None:
    with blobs.ingest(DIGEST, len(DATA)) as ingest:
        assert not ingest.resumed
        ingest.write(DATA[:70000])
    with Blobs(tmp_path / "content").ingest(DIGEST, len(DATA)) as again:
        assert again.resumed
        assert again.offset == 70000
        assert b"".join(again.kept()) == DATA[:70000]
        again.write(DATA[70000:])
        assert again.commit() == DIGEST


def test_a_flipped_byte_is_refused_and_not_kept(blobs: Blobs, tmp_path: Path) -> None:
    with blobs.ingest(DIGEST, len(DATA)) as ingest:
        ingest.write(b"X" + DATA[1:])
        with pytest.raises(CorruptBlob, match=str(DIGEST)):
            ingest.commit()
    assert not blobs.has(DIGEST)
    assert parts(tmp_path) == []


def test_too_many_and_too_few_bytes_are_refused(blobs: Blobs, tmp_path: Path) -> None:
    with blobs.ingest(DIGEST, len(DATA)) as ingest:
        with pytest.raises(CorruptBlob, match="longer"):
            ingest.write(DATA + b"more")
    with blobs.ingest(DIGEST, len(DATA)) as ingest:
        ingest.write(DATA[:-1])
        with pytest.raises(CorruptBlob, match="not"):
            ingest.commit()
    assert parts(tmp_path) == []


def test_two_ingests_of_one_digest_do_not_disturb_each_other(blobs: Blobs, tmp_path: Path) -> None:
    first = blobs.ingest(DIGEST, len(DATA))
    second = blobs.ingest(DIGEST, len(DATA))
    first.write(DATA[:500])
    second.write(DATA)
    assert second.commit() == DIGEST
    first.write(DATA[500:])
    assert first.commit() == DIGEST
    assert blobs.path(DIGEST).read_bytes() == DATA
    assert parts(tmp_path) == []


def test_many_threads_ingest_one_digest(blobs: Blobs, tmp_path: Path) -> None:
    found: list[Digest] = []

    def work() -> None:
        with blobs.ingest(DIGEST, len(DATA)) as ingest:
            ingest.write(DATA[ingest.offset :])
            found.append(ingest.commit())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [DIGEST] * 8
    assert blobs.path(DIGEST).read_bytes() == DATA
    assert parts(tmp_path) == []


def test_without_a_digest_the_bytes_name_the_blob(blobs: Blobs, tmp_path: Path) -> None:
    with blobs.ingest(None) as ingest:
        ingest.write(DATA)
        assert ingest.commit() == DIGEST
    with blobs.ingest(None) as ingest:
        ingest.write(b"left")
    assert parts(tmp_path) == []


def test_a_full_disk_leaves_nothing(blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: bytes, offset: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    ingest = blobs.ingest(DIGEST, len(DATA))
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space"):
        ingest.write(DATA)
    assert parts(tmp_path) == []
    assert not blobs.has(DIGEST)


def test_small_blobs(blobs: Blobs) -> None:
    digest = blobs.put(b"{}")
    assert blobs.put(b"{}") == digest
    assert blobs.read(digest) == b"{}"
    blobs.path(digest).write_bytes(b"[]")
    with pytest.raises(CorruptBlob):
        blobs.read(digest)


def test_a_deleted_blob_is_gone(blobs: Blobs) -> None:
    digest = blobs.put(b"abc")
    assert blobs.delete(digest) == 3
    assert blobs.delete(digest) == 0
    for look in (blobs.open, blobs.size, blobs.read):
        with pytest.raises(NoSuchBlob, match=str(digest)):
            look(digest)


def test_sweep_leaves_what_is_held_or_new(blobs: Blobs, tmp_path: Path) -> None:
    other = Digest.of(b"other")
    with blobs.ingest(other) as left:
        left.write(b"oth")
    held = blobs.ingest(DIGEST, len(DATA))
    held.write(DATA[:10])
    assert blobs.sweep(older_than=0) == 0
    assert blobs.sweep(older_than=1 << 62) == 3
    assert parts(tmp_path) == [f"sha256-{DIGEST.hex}.part"]
    held.write(DATA[10:])
    assert held.commit() == DIGEST


def test_an_upload_has_a_name_and_outlives_its_store(tmp_path: Path) -> None:
    first = Blobs(tmp_path).upload("x", new=True)
    first.write(b"abc")
    with pytest.raises(NoSuchUpload):
        Blobs(tmp_path).upload("x", new=False)
    first.close()
    again = Blobs(tmp_path).upload("x", new=False)
    assert again.offset == 3
    again.write(b"def")
    again.expect(Digest.of(b"abcdef"))
    assert again.commit() == Digest.of(b"abcdef")
    with pytest.raises(NoSuchUpload):
        Blobs(tmp_path).upload("x", new=False)
