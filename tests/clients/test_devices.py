"""`--device`, `--device-cgroup-rule`, `--gpus`, and devices that vendors describe (CDI)."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import host
from tests.support.daemons import Daemon

DIRECTORY = Path("/var/run/cdi")
YAML = """
cdiVersion: "0.6.0"
kind: knarr-test.example/device
containerEdits:
  env:
  - VENDOR=yes
devices:
- name: one
  containerEdits:
    env:
    - DEVICE=one
    deviceNodes:
    - path: /dev/of-vendor
      hostPath: /dev/null
      permissions: rw
    mounts:
    - hostPath: {directory}
      containerPath: /vendor/files
      options: [ro, rbind, rprivate]
    hooks:
    - hookName: createRuntime
      path: /bin/sh
      args: [sh, -c, "echo hook > {directory}/hooked"]
- name: two
  containerEdits:
    env: [SECOND=two]
- name: lost
  containerEdits:
    deviceNodes:
    - path: /dev/none-such
"""


@pytest.fixture
def vendor(daemon: Daemon, tmp_path: Path) -> Iterator[Path]:
    """A file of a vendor, as its tool writes it; and the vendor's directory."""
    made = not DIRECTORY.exists()
    DIRECTORY.mkdir(exist_ok=True)
    (tmp_path / "library").write_text("of the vendor\n")
    path = DIRECTORY / "knarr-test.yaml"
    path.write_text(YAML.format(directory=tmp_path))
    host.wait_for(lambda: "one" in _discovered(daemon), "the daemon sees the vendor's devices")
    yield tmp_path
    path.unlink()
    if made:
        DIRECTORY.rmdir()
    host.wait_for(lambda: not _discovered(daemon), "the daemon has forgotten them")


def _discovered(daemon: Daemon) -> list[str]:
    _, info = daemon.api("GET", "/v1.50/info")
    names = [each["ID"] for each in info.get("DiscoveredDevices") or () if each["Source"] == "cdi"]
    return [name.rpartition("=")[2] for name in names if name.startswith("knarr-test.example/device=")]


def run(daemon: Daemon, flags: list[str], script: str) -> str:
    """What a script prints in a container with these flags."""
    return daemon.docker("run", "--rm", *flags, "busybox", "sh", "-c", script).stdout


def refused(daemon: Daemon, *flags: str) -> str:
    """What the daemon says to a container that cannot be."""
    done = daemon.docker("run", "--rm", *flags, "busybox", "true", check=False)
    assert done.returncode != 0, f"{flags} is not refused"
    return done.stderr


def test_nodes(daemon: Daemon) -> None:
    assert run(daemon, ["--device", "/dev/null:/dev/mine:r"], "ls -l /dev/mine | cut -c1").strip() == "c"
    assert run(daemon, ["--device", "/dev/null:/dev/a/b/c"], "echo x > /dev/a/b/c && echo ok") == "ok\n"
    found = run(daemon, ["--device", "/dev/null:/dev/mine:w"], "echo x > /dev/mine && cat /dev/mine")
    assert found == ""


def test_a_directory_of_nodes(daemon: Daemon, tmp_path: Path) -> None:
    directory = tmp_path / "nodes"
    directory.mkdir()
    for number, name in ((3, "null"), (5, "zero")):
        os.mknod(directory / name, 0o20666, os.makedev(1, number))
    assert run(daemon, ["--device", f"{directory}:/dev/several"], "ls /dev/several") == "null\nzero\n"


def test_what_is_no_device(daemon: Daemon) -> None:
    start = "error gathering device information while adding custom device"
    assert f'{start} "/dev/none-such": no such file or directory' in refused(
        daemon, "--device", "/dev/none-such"
    )
    assert f'{start} "/etc/passwd": not a device node' in refused(daemon, "--device", "/etc/passwd")
    assert "invalid device cgroup" in refused(daemon, "--device-cgroup-rule", "x 1:3 rwm")


def test_rules(daemon: Daemon) -> None:
    script = "mknod /tmp/x c 7 1 && echo made"
    assert run(daemon, ["--device-cgroup-rule", "c 7:* rmw"], script) == "made\n"
    daemon.docker("create", "--name", "box", "--device-cgroup-rule", "c 7:* rmw", "busybox")
    assert daemon.inspect("box")["HostConfig"]["DeviceCgroupRules"] == ["c 7:* rmw"]


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ("all", 'device driver "" with capabilities: [[gpu]]'),
        ("2", 'device driver "" with capabilities: [[gpu]]'),
        ('"device=0,1",capabilities=compute', 'device driver "" with capabilities: [[compute gpu]]'),
        ("driver=foo,count=1", 'device driver "foo" with capabilities: [[gpu]]'),
        ("driver=cdi", "unexpected count in CDI device request"),
    ],
)
def test_gpus_where_there_are_none(daemon: Daemon, wish: str, words: str) -> None:
    assert words in refused(daemon, "--gpus", wish)


def test_a_request_is_kept(daemon: Daemon) -> None:
    daemon.docker("create", "--name", "box", "--gpus", "2", "busybox")
    assert daemon.inspect("box")["HostConfig"]["DeviceRequests"] == [
        {"Driver": "", "Count": 2, "DeviceIDs": None, "Capabilities": [["gpu"]], "Options": {}}
    ]
    done = daemon.docker("start", "box", check=False)
    assert "could not select device driver" in done.stderr


def test_a_device_of_a_vendor(daemon: Daemon, vendor: Path) -> None:
    script = "echo $VENDOR $DEVICE $SECOND; cat /vendor/files/library; echo x > /dev/of-vendor && ls /dev/of-vendor"
    out = run(daemon, ["--device", "knarr-test.example/device=one"], script)
    assert out == "yes one\nof the vendor\n/dev/of-vendor\n"
    assert (vendor / "hooked").read_text() == "hook\n"
    both = [word for name in ("one", "two") for word in ("--device", f"knarr-test.example/device={name}")]
    assert run(daemon, both, "echo $VENDOR $DEVICE $SECOND") == "yes one two\n"


def test_what_a_vendor_has_not(daemon: Daemon, vendor: Path) -> None:
    for name in ("knarr-test.example/device=none", "knarr-test.example/other=one"):
        said = refused(daemon, "--device", name)
        assert f"CDI device injection failed: unresolvable CDI devices {name}" in said
    said = refused(daemon, "--device", "knarr-test.example/device=lost")
    assert 'failed to stat CDI host device "/dev/none-such"' in said
    assert "/var/run/cdi" in json.loads(daemon.docker("info", "-f", "{{json .CDISpecDirs}}").stdout)
