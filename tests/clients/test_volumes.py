"""Parts of volumes."""

import json
from collections.abc import Iterator

import pytest

from tests.support.daemons import Daemon


@pytest.fixture
def volume(daemon: Daemon) -> Iterator[str]:
    """A volume with a directory, a file and links that lead out."""
    script = "mkdir -p /v/a/b; echo deep > /v/a/b/file; echo top > /v/file; ln -s /etc /v/out; ln -s a /v/in"
    daemon.docker("run", "--rm", "-v", "parts:/v", "busybox", "sh", "-c", script)
    yield "parts"
    daemon.remove_containers()
    daemon.docker("volume", "rm", "parts")


def mount(volume: str, path: str, *words: str) -> str:
    """A --mount of a part."""
    return ",".join(["type=volume", f"source={volume}", "target=/m", f"volume-subpath={path}", *words])


@pytest.mark.parametrize("path", ["a/b", "in/b"])
def test_a_directory_of_a_volume(daemon: Daemon, volume: str, path: str) -> None:
    out = daemon.docker(
        "run", "--rm", "--mount", mount(volume, path), "busybox", "sh", "-c", "ls /m; cat /m/file"
    )
    assert out.stdout == "file\ndeep\n"


def test_a_file_of_a_volume_and_what_inspect_tells(daemon: Daemon, volume: str) -> None:
    daemon.docker(
        "create", "--name", "box", "--mount", mount(volume, "file", "readonly"), "busybox", "cat", "/m"
    )
    assert daemon.docker("start", "-a", "box").stdout == "top\n"
    (asked,) = json.loads(daemon.docker("inspect", "-f", "{{json .HostConfig.Mounts}}", "box").stdout)
    assert asked["VolumeOptions"]["Subpath"] == "file"


@pytest.mark.parametrize("path", ["nothing", "out/passwd"])
def test_a_part_that_is_not_there(daemon: Daemon, volume: str, path: str) -> None:
    """A link is followed inside the volume, so it never leads out."""
    done = daemon.docker("run", "--rm", "--mount", mount(volume, path), "busybox", "true", check=False)
    assert done.returncode in (125, 127)
    assert "no such file or directory" in done.stderr or "escapes the base directory" in done.stderr


@pytest.mark.parametrize("path", ["/a", "../x", "a/../../x"])
def test_a_path_that_cannot_be_a_part(daemon: Daemon, volume: str, path: str) -> None:
    done = daemon.docker("run", "--rm", "--mount", mount(volume, path), "busybox", "true", check=False)
    assert done.returncode == 125
    assert "subpath" in done.stderr.lower()
