"""knarr-registry as its own process."""

import signal
import subprocess
import urllib.request
from pathlib import Path

import pytest

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
