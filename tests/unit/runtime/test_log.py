"""The log: Docker's records, whatever pieces the output comes in."""

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from knarr.runtime.shim.log import PIECE, JsonLog
from knarr.wire.jsonlog import decode


def records(path: Path) -> list[tuple[str, str]]:
    lines = path.read_bytes().splitlines(keepends=True)
    assert all(line.endswith(b"\n") for line in lines)
    return [(value["stream"], value["log"]) for value in map(json.loads, lines)]


def test_records(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = JsonLog(str(path))
    log.write(1, b"one\ntw")
    log.write(2, b'err "quoted" \\n\n')
    log.write(1, "o ü\r\nlast".encode())
    log.write(1, b"\xff bad\n")
    log.write(2, b"no end")
    log.finish()
    log.close()
    assert records(path) == [
        ("stdout", "one\n"),
        ("stderr", 'err "quoted" \\n\n'),
        ("stdout", "two ü\r\n"),
        ("stdout", "last\ufffd bad\n"),
        ("stderr", "no end"),
    ]
    assert decode(path.read_bytes().splitlines()[0]).data == b"one\n"


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), max_size=30), st.integers(1, 50)
)
def test_nothing_is_lost(tmp_path_factory: "object", texts: list[str], size: int) -> None:
    path = Path(tmp_path_factory.mktemp("log")) / "log"  # type: ignore[attr-defined]
    data = "".join(texts).encode()
    log = JsonLog(str(path))
    for at in range(0, len(data), size):
        log.write(1, data[at : at + size])
    log.finish()
    log.close()
    assert "".join(text for _, text in records(path)) == "".join(texts)


def test_long_lines_come_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = JsonLog(str(path))
    line = "ä" * 20_000 + "\n"
    for at in range(0, len(line.encode()), 4096):
        log.write(1, line.encode()[at : at + 4096])
    log.write(1, b"x" * 40_000 + b"\nshort\n")
    log.close()
    texts = [text for _, text in records(path)]
    assert "".join(texts) == line + "x" * 40_000 + "\nshort\n"
    assert all(len(text) <= PIECE for text in texts)
    assert "\ufffd" not in "".join(texts)


def test_rotation_keeps_the_newest(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = JsonLog(str(path), max_size=1000, max_file=3)
    for number in range(100):
        log.write(1, b"line %d\n" % number)
    log.close()
    kept = [text for file in ("log.2", "log.1", "log") for _, text in records(tmp_path / file)]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["log", "log.1", "log.2"]
    assert kept == [f"line {number}\n" for number in range(100 - len(kept), 100)]


def test_one_file_is_emptied(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = JsonLog(str(path), max_size=500, max_file=1)
    for number in range(20):
        log.write(1, b"line %d\n" % number)
    log.close()
    assert [file.name for file in tmp_path.iterdir()] == ["log"]
    assert path.stat().st_size <= 500
    assert records(path)[-1] == ("stdout", "line 19\n")


def test_a_log_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for text in (b"first\n", b"second\n"):
        log = JsonLog(str(path), max_size=10_000, max_file=2)
        log.write(1, text)
        log.close()
    assert [text for _, text in records(path)] == ["first\n", "second\n"]


def test_a_full_disk_loses_lines_only(tmp_path: Path) -> None:
    log = JsonLog("/dev/full")
    log.write(1, b"lost\n")
    assert log.lost == 1
    log.close()
