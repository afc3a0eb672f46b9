"""What daemon.json says of builds, and what host-gateway stands for in them; a daemon of its own with that file."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemons import Daemon, Dockerd, Knarrd

OWN = "ktbuildset0", "10.231.72.0/24"
BUILDER = {
    "Entitlements": {"network-host": False, "security-insecure": True},
    "gc": {
        "enabled": True,
        "policy": [
            {"keepStorage": "10GB", "filter": ["unused-for=2200h", "type=regular"]},
            {"all": True, "maxUsedSpace": "5g"},
        ],
    },
}


@pytest.fixture(scope="module")
def settled(peer: bool, busybox: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """The daemon that is told so."""
    path = tmp_path_factory.mktemp("settings") / "daemon.json"
    path.write_text(json.dumps({"builder": BUILDER}))
    daemon: Daemon = _Told(*OWN, options=["--config-file", str(path)])
    if not peer:
        daemon = Knarrd(*OWN, options=["--config-file", str(path)])
    try:
        daemon.start()
        daemon.give_busybox(busybox)
        yield daemon
    finally:
        daemon.close()


class _Told(Dockerd):
    """With no other file."""

    def commands(self) -> list[tuple[list[str], dict[str, str]]]:
        containerd, (argv, env) = super().commands()
        at = argv.index("--config-file")
        return [containerd, ([*argv[:at], *argv[at + 2 :]], env)]


def build(daemon: Daemon, text: str, *arguments: str) -> str:
    """A Dockerfile from standard input; what the client printed."""
    done = daemon.docker("build", "--progress=plain", *arguments, "-", data=text.encode(), check=False)
    return done.stdout + done.stderr


def test_the_hosts_gateway(daemon: Daemon) -> None:
    text = "FROM busybox\nRUN grep here.test /etc/hosts\n"
    told = build(daemon, text, "--add-host=here.test:host-gateway", "--no-cache")
    assert f"{daemon.gateway}\there.test" in told
    done = daemon.docker("buildx", "inspect")
    assert f"moby.host-gateway-ip: {daemon.gateway}" in " ".join(done.stdout.split())


def test_the_hosts_gateway_by_the_classic_api(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN grep here.test /etc/hosts\n")
    words = ["docker", "build", "--no-cache", "--add-host=here.test:host-gateway", str(tmp_path)]
    classic = {**daemon.environment(), "DOCKER_BUILDKIT": "0"}
    done = subprocess.run(words, env=classic, check=True, capture_output=True, text=True, timeout=100)
    assert f"{daemon.gateway}\there.test" in done.stdout


def test_a_step_without_a_sandbox(settled: Daemon, peer: bool) -> None:
    if peer:
        pytest.skip("dockerd 28.5 knows --security in docker/dockerfile:labs only, which it fetches")
    text = "FROM busybox\nRUN --security=insecure mkdir /m && mount -t tmpfs x /m && grep -E 'CapEff|Seccomp:' /proc/self/status\n"
    assert "security.insecure is not allowed" in build(settled, text)
    told = build(settled, text, "--allow=security.insecure").split()
    full = int(Path("/proc/self/status").read_text().partition("CapBnd:")[2].split()[0], 16)
    assert int(told[told.index("CapEff:") + 1], 16) == full
    assert told[told.index("Seccomp:") + 1] == "0"


def test_an_entitlement_that_is_not_allowed(settled: Daemon) -> None:
    told = build(settled, "FROM busybox\nRUN true\n", "--allow=network.host", "--network=host")
    assert "granting entitlement network.host is not allowed by build daemon configuration" in told


def test_an_entitlement_that_is_not_allowed_by_default(daemon: Daemon) -> None:
    told = build(daemon, "FROM busybox\nRUN true\n", "--allow=security.insecure")
    assert "granting entitlement security.insecure is not allowed by build daemon configuration" in told


def test_the_rules_are_told(settled: Daemon) -> None:
    told = settled.docker("buildx", "inspect").stdout.partition("GC Policy rule#0:")[2].split()
    words = " ".join(told)
    assert "All: false Filters: type==regular Keep Duration: 2200h0m0" in words
    assert "Reserved Space: 10GiB GC Policy rule#1: All: true" in words
    assert "Max Used Space: 5GiB" in words
