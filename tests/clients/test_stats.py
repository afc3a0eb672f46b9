"""`docker stats` and its API."""

import json
import subprocess
from typing import Any

import pytest

from tests.support.daemons import Daemon

BUSY = ("sh", "-c", "while :; do :; done")


@pytest.fixture
def busy(daemon: Daemon) -> str:
    """A container that uses a processor, with limits."""
    daemon.docker("run", "-d", "--name", "busy", "-m", "64m", "--pids-limit", "50", "busybox", *BUSY)
    return "busy"


def _once(daemon: Daemon, path: str) -> dict[str, Any]:
    status, value = daemon.api("GET", path)
    assert status == 200
    assert isinstance(value, dict)
    return value


def test_the_table(daemon: Daemon, busy: str) -> None:
    lines = daemon.docker("stats", "--no-stream", busy).stdout.splitlines()
    assert lines[0].split()[:3] == ["CONTAINER", "ID", "NAME"]
    assert "busy" in lines[1]
    assert " / 64MiB" in lines[1]
    row = json.loads(daemon.docker("stats", "--no-stream", "--format", "json", busy).stdout)
    assert float(row["CPUPerc"].rstrip("%")) > 1
    assert (row["Name"], row["PIDs"]) == ("busy", "1")


def test_one_answer(daemon: Daemon, busy: str) -> None:
    value = _once(daemon, f"/v1.51/containers/{busy}/stats?stream=false")
    assert value["name"] == "/busy"
    assert value["read"] > value["preread"] > "2000"
    assert value["pids_stats"] == {"current": 1, "limit": 50}
    cpu, before = value["cpu_stats"], value["precpu_stats"]
    assert cpu["cpu_usage"]["total_usage"] > before["cpu_usage"]["total_usage"] > 0
    assert cpu["system_cpu_usage"] > before["system_cpu_usage"] > 0
    assert cpu["online_cpus"] >= 1
    assert value["memory_stats"]["limit"] == 64 << 20
    assert 0 < value["memory_stats"]["usage"] < 64 << 20
    assert "pgfault" in value["memory_stats"]["stats"]
    assert set(value["networks"]["eth0"]) == {
        f"{way}_{what}" for way in ("rx", "tx") for what in ("bytes", "packets", "errors", "dropped")
    }


def test_at_once(daemon: Daemon, busy: str) -> None:
    value = _once(daemon, f"/v1.51/containers/{busy}/stats?stream=false&one-shot=true")
    assert value["preread"] == "0001-01-01T00:00:00Z"
    assert value["precpu_stats"]["cpu_usage"]["total_usage"] == 0
    assert value["cpu_stats"]["cpu_usage"]["total_usage"] > 0


def test_a_stream_goes_on_until_the_container_is_removed(daemon: Daemon, busy: str) -> None:
    url = f"http://localhost/v1.51/containers/{busy}/stats"
    argv = ["curl", "--silent", "--no-buffer", "--max-time", "120", "--unix-socket", str(daemon.socket), url]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        samples = [json.loads(process.stdout.readline()) for _ in range(3)]
        daemon.docker("rm", "-f", busy)
        process.stdout.read()
        assert process.wait(60) == 0
    assert samples[1]["precpu_stats"]["cpu_usage"]["total_usage"] > 0
    assert samples[0]["read"] < samples[1]["read"] < samples[2]["read"]


def test_of_what_does_not_run(daemon: Daemon) -> None:
    daemon.docker("create", "--name", "idle", "busybox", "true")
    value = _once(daemon, "/v1.51/containers/idle/stats?stream=false")
    assert value["read"] == "0001-01-01T00:00:00Z"
    assert value["memory_stats"] == {}
    assert value["cpu_stats"]["cpu_usage"]["total_usage"] == 0
    assert "idle" in daemon.docker("stats", "--no-stream", "idle").stdout


def test_several_at_once(daemon: Daemon, busy: str) -> None:
    daemon.docker("run", "-d", "--name", "lazy", "busybox", "sleep", "1000")
    out = daemon.docker("stats", "--no-stream", "--format", "{{.Name}}").stdout
    assert set(out.split()) == {"busy", "lazy"}


def test_traffic_and_the_hosts_network(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "box", "busybox", "sleep", "1000")
    before = _once(daemon, "/v1.51/containers/box/stats?stream=false&one-shot=true")["networks"]["eth0"]
    daemon.docker("exec", "box", "ping", "-c", "3", "-i", "0.2", daemon.gateway)
    after = _once(daemon, "/v1.51/containers/box/stats?stream=false&one-shot=true")["networks"]["eth0"]
    assert after["tx_packets"] >= before["tx_packets"] + 3
    daemon.docker("run", "-d", "--name", "open", "--network", "host", "busybox", "sleep", "1000")
    assert not _once(daemon, "/v1.51/containers/open/stats?stream=false&one-shot=true").get("networks")


def test_an_unknown_container(daemon: Daemon) -> None:
    done = daemon.docker("stats", "--no-stream", "nothing-like-that", check=False)
    assert done.returncode == 1
    assert "No such container: nothing-like-that" in done.stderr
