"""Health checks by the docker CLI: what they report, what they do to `ps`, inspect, events and filters."""

import json
from typing import Any

import pytest

from tests.support import host
from tests.support.daemons import Daemon

QUICK = ("--health-interval", "100ms", "--health-timeout", "20s", "--health-retries", "2")


def _start(daemon: Daemon, command: str, *flags: str) -> str:
    daemon.docker(
        "run", "-d", "--name", "box", "--health-cmd", command, *QUICK, *flags, "busybox", "sleep", "1000"
    )
    return "box"


def _health(daemon: Daemon) -> dict[str, Any]:
    value = json.loads(daemon.docker("inspect", "-f", "{{json .State.Health}}", "box").stdout)
    assert isinstance(value, dict)
    return value


def _becomes(daemon: Daemon, status: str) -> dict[str, Any]:
    host.wait_for(lambda: _health(daemon)["Status"] == status, f"health {status}")
    return _health(daemon)


def test_healthy_then_unhealthy_then_healthy_again(daemon: Daemon) -> None:
    _start(daemon, "echo looked; test -e /sick && exit 1 || exit 0")
    found = _becomes(daemon, "healthy")
    assert found["FailingStreak"] == 0
    assert found["Log"][-1]["ExitCode"] == 0
    assert found["Log"][-1]["Output"] == "looked\n"
    assert "(healthy)" in daemon.docker("ps", "--format", "{{.Status}}").stdout
    daemon.docker("exec", "box", "touch", "/sick")
    found = _becomes(daemon, "unhealthy")
    assert found["FailingStreak"] >= 2
    assert found["Log"][-1]["ExitCode"] == 1
    assert "(unhealthy)" in daemon.docker("ps", "--format", "{{.Status}}").stdout
    daemon.docker("exec", "box", "rm", "/sick")
    _becomes(daemon, "healthy")


def test_filters(daemon: Daemon) -> None:
    _start(daemon, "true")
    _becomes(daemon, "healthy")
    daemon.docker("run", "-d", "--name", "plain", "busybox", "sleep", "1000")
    names = ("ps", "--format", "{{.Names}}", "--filter")
    assert daemon.docker(*names, "health=healthy").stdout == "box\n"
    assert daemon.docker(*names, "health=none").stdout == "plain\n"
    assert daemon.docker(*names, "health=unhealthy").stdout == ""


def test_starting(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "box", "--health-cmd", "true", "busybox", "sleep", "1000")
    assert _health(daemon) == {"Status": "starting", "FailingStreak": 0, "Log": []} | (
        {"Log": None} if _health(daemon)["Log"] is None else {}
    )
    assert "(health: starting)" in daemon.docker("ps", "--format", "{{.Status}}").stdout


def test_the_start_period_forgives(daemon: Daemon) -> None:
    _start(daemon, "exit 1", "--health-start-period", "1h", "--health-start-interval", "50ms")
    host.wait_for(lambda: len(_health(daemon)["Log"] or ()) >= 4, "probes")
    found = _health(daemon)
    assert (found["Status"], found["FailingStreak"]) == ("starting", 0)


def test_a_probe_that_takes_too_long(daemon: Daemon) -> None:
    flags = ("--health-timeout", "300ms", "--health-retries", "1")
    _start(daemon, "echo begun; sleep 777", *flags)
    found = _becomes(daemon, "unhealthy")
    assert found["Log"][-1]["ExitCode"] == -1
    assert found["Log"][-1]["Output"].startswith("Health check exceeded timeout (300ms)")


def test_a_probe_that_cannot_be_run(daemon: Daemon) -> None:
    body = {"Image": "busybox", "Cmd": ["sleep", "1000"]}
    check = {"Test": ["CMD", "nothing-like-that"], "Interval": 100_000_000, "Retries": 1}
    status, _ = daemon.api("POST", "/containers/create?name=box", {**body, "Healthcheck": check})
    assert status == 201
    daemon.docker("start", "box")
    found = _becomes(daemon, "unhealthy")
    assert found["Log"][-1]["ExitCode"] == -1
    assert "nothing-like-that" in found["Log"][-1]["Output"]


def test_much_output_is_cut(daemon: Daemon) -> None:
    _start(daemon, "head -c 10000 /dev/zero | tr '\\0' x")
    found = _becomes(daemon, "healthy")
    assert found["Log"][-1]["Output"] == "x" * 4096 + "..."


def test_what_stops_is_unhealthy(daemon: Daemon) -> None:
    _start(daemon, "true")
    _becomes(daemon, "healthy")
    daemon.docker("kill", "box")
    daemon.docker("wait", "box")
    assert _health(daemon)["Status"] == "unhealthy"
    daemon.docker("start", "box")
    _becomes(daemon, "healthy")


def test_paused_is_not_probed(daemon: Daemon) -> None:
    _start(daemon, "true")
    _becomes(daemon, "healthy")
    daemon.docker("pause", "box")
    assert _health(daemon)["Status"] == "unhealthy"
    daemon.docker("unpause", "box")
    _becomes(daemon, "healthy")


def test_none(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "box", "--no-healthcheck", "busybox", "sleep", "1000")
    assert daemon.docker("inspect", "-f", "{{json .State.Health}}", "box").stdout in ("null\n", "<nil>\n")


def test_events(daemon: Daemon) -> None:
    before = daemon.docker("info", "--format", "{{.SystemTime}}").stdout.strip()
    _start(daemon, "test ! -e /sick")
    _becomes(daemon, "healthy")
    daemon.docker("exec", "box", "touch", "/sick")
    _becomes(daemon, "unhealthy")
    until = daemon.docker("info", "--format", "{{.SystemTime}}").stdout.strip()
    lines = daemon.docker("events", "--since", before, "--until", until, "--format", "{{.Action}}").stdout
    found = [line for line in lines.splitlines() if line.startswith("health_status")]
    assert found == ["health_status: healthy", "health_status: unhealthy"]


def test_it_probes_as_the_containers_user(daemon: Daemon) -> None:
    _start(daemon, "id -u; pwd; echo $A", "-u", "7", "-w", "/tmp", "-e", "A=b")
    assert _becomes(daemon, "healthy")["Log"][-1]["Output"] == "7\n/tmp\nb\n"


@pytest.mark.parametrize("flag", ["--health-interval", "--health-timeout"])
def test_times_below_a_millisecond_are_refused(daemon: Daemon, flag: str) -> None:
    done = daemon.docker("create", "--health-cmd", "true", flag, "1us", "busybox", check=False)
    assert done.returncode == 1
    assert "cannot be less than 1ms" in done.stderr
