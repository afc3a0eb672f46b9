"""The reader of json-file logs: tails, rotations, lines cut short. No container, only files."""

from pathlib import Path

import pytest

from knarr.engine import logfiles
from knarr.wire.jsonlog import encode
from knarr.wire.record import Record


def lines(first: int, last: int) -> bytes:
    return b"".join(encode(Record("stdout", n + 1, b"%d\n" % n)) for n in range(first, last))


def everything(reader: "logfiles.LogFiles") -> list[int]:
    found = []
    while records := reader.more():
        found += [int(record.data) for record in records]
    return found


def opened(path: Path, tail: int | None = None) -> "logfiles.LogFiles":
    reader = logfiles.LogFiles(str(path))
    reader.open(tail)
    return reader


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Three files: 0-99, 100-199, 200-249."""
    path = tmp_path / "x-json.log"
    (tmp_path / "x-json.log.2").write_bytes(lines(0, 100))
    (tmp_path / "x-json.log.1").write_bytes(lines(100, 200))
    path.write_bytes(lines(200, 250))
    return path


def test_oldest_first(path: Path) -> None:
    reader = opened(path)
    assert everything(reader) == list(range(250))
    reader.close()


@pytest.mark.parametrize("tail", [0, 1, 49, 50, 51, 149, 150, 151, 249, 250, 251, 9999])
@pytest.mark.parametrize("block", [64, 256 << 10])
def test_tails_reach_into_older_files(
    path: Path, tail: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logfiles, "BLOCK", block)
    reader = opened(path, tail)
    assert everything(reader) == list(range(max(250 - tail, 0), 250))
    reader.close()


def test_what_is_appended_and_rotated_later_is_read_once(path: Path) -> None:
    reader = opened(path, 1)
    assert everything(reader) == [249]
    with path.open("ab") as file:
        file.write(lines(250, 260))
    path.with_name("x-json.log.2").unlink()
    path.with_name("x-json.log.1").rename(path.with_name("x-json.log.2"))
    path.rename(path.with_name("x-json.log.1"))
    path.write_bytes(lines(260, 270))
    assert everything(reader) == list(range(250, 270))
    assert reader.more() == []
    reader.close()


def test_two_rotations_at_once(path: Path) -> None:
    reader = opened(path, 0)
    path.with_name("x-json.log.2").unlink()
    path.with_name("x-json.log.1").unlink()
    path.rename(path.with_name("x-json.log.2"))
    path.with_name("x-json.log.1").write_bytes(lines(250, 255))
    path.write_bytes(lines(255, 260))
    assert everything(reader) == list(range(250, 260))
    reader.close()


def test_half_a_line_waits_for_its_rest_and_garbage_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "x"
    whole = lines(0, 1)
    path.write_bytes(whole[:10])
    reader = opened(path)
    assert reader.more() == []
    with path.open("ab") as file:
        file.write(whole[10:] + b"garbage\n" + lines(1, 2))
    assert everything(reader) == [0, 1]
    reader.close()


def test_a_log_that_appears_later(tmp_path: Path) -> None:
    path = tmp_path / "x"
    reader = opened(path)
    assert reader.more() == []
    path.write_bytes(lines(0, 3))
    assert everything(reader) == [0, 1, 2]
    reader.close()
