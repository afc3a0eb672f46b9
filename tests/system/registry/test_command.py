"""knarr-registry as its own process."""

import signal
import subprocess
import urllib.request
from pathlib import Path

import pytest

from knarr.model.digest import Digest
from tests.support.daemons import BIN

COMMAND = str(BIN / "knarr-registry")


def test_serves_until_it_is_told_to_end(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [COMMAND, "serve", "--root", str(tmp_path / "made"), "-H", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("listening on http://127.0.0.1:")
        address = line.split()[-1]
        with urllib.request.urlopen(f"{address}/v2/", timeout=60) as answer:
            assert answer.status == 200
        second = subprocess.run(
            [COMMAND, "serve", "--root", str(tmp_path / "made"), "-H", "127.0.0.1:0"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert second.returncode == 1
        assert "another registry uses" in second.stderr
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
        process.stdout.close()
    assert code == 0


def test_an_upload_outlives_a_kill(tmp_path: Path) -> None:
    place = ""
    for data in (b"abc", b"def"):
        process = subprocess.Popen(
            [COMMAND, "serve", "--root", str(tmp_path), "-H", "127.0.0.1:0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert process.stdout is not None
            address = process.stdout.readline().split()[-1]
            if not place:
                place = _sent(f"{address}/v2/a/blobs/uploads/", "POST", b"")
            place = _sent(f"{address}{place}", "PATCH", data)
            if data == b"def":
                place = _sent(f"{address}{place}?digest={Digest.of(b'abcdef')}", "PUT", b"")
        finally:
            process.kill()
            process.wait(60)
            assert process.stdout is not None
            process.stdout.close()
    assert (tmp_path / "blobs" / "sha256" / Digest.of(b"abcdef").hex).read_bytes() == b"abcdef"


def _sent(url: str, method: str, data: bytes) -> str:
    request = urllib.request.Request(url, data, {"Content-Type": "application/octet-stream"}, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return str(answer.headers["Location"])


@pytest.mark.parametrize("host", ["nothing", "127.0.0.1:70000", "127.0.0.1:x"])
def test_bad_addresses(tmp_path: Path, host: str) -> None:
    result = subprocess.run(
        [COMMAND, "serve", "--root", str(tmp_path), "-H", host],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 2
    assert "is no HOST:PORT" in result.stderr
