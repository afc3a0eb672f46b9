"""daemon.json: what a daemon starts with, refuses to start with, and takes over on SIGHUP; how it ends."""

import json
import os
import resource
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support import host
from tests.support.daemons import Knarrd
from tests.system.service.conftest import Make


def outcome(daemon: Knarrd) -> tuple[int, str]:
    """Of a daemon that ends by itself."""
    [(argv, env)] = daemon.commands()
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr


def info(daemon: Knarrd) -> dict[str, Any]:
    """What it tells of itself."""
    value: dict[str, Any] = json.loads(daemon.docker("info", "--format", "{{json .}}").stdout)
    return value


@pytest.mark.parametrize(
    ("config", "options", "words"),
    [
        ('{"debug": true}', ["--debug"], "specified both as a flag and in the configuration file: debug: (from flag: true, from file: true)"),
        ('{"colour": 1}', [], "the following directives don't match any configuration option: colour"),
        ("{", [], "invalid JSON"),
        ('{"log-driver": "smoke"}', [], "error looking up logging plugin smoke"),
        ('{"runtimes": {"x": {"path": "/x"}}}', [], "knarrd has no runtimes"),
    ],
)  # fmt: skip
def test_what_it_refuses(make: Make, config: str, options: list[str], words: str) -> None:
    code, said = outcome(make("--validate", *options, config=config))
    assert (code, words in said) == (1, True), said


def test_validate_says_so_and_ends(make: Make) -> None:
    daemon = make("--validate", config='{"labels": ["a=b"]}')
    assert outcome(daemon) == (0, "configuration OK\n")
    assert not daemon.data_root.exists()


def test_a_reload(make: Make) -> None:
    first = {"labels": ["a=1"], "log-format": "json", "log-driver": "local", "log-opts": {"max-size": "1m"}}
    daemon = make("--shutdown-timeout", "7", "--pidfile", "", config=json.dumps(first))
    daemon.options = (*daemon.options[:-2], "--pidfile", str(daemon.root / "its.pid"))
    daemon.start()
    assert (daemon.root / "its.pid").read_text() == str(daemon.process.pid)
    found = info(daemon)
    assert (found["Labels"], found["Debug"], found["LoggingDriver"]) == (["a=1"], False, "local")
    assert all(json.loads(line)["level"] for line in daemon.log.read_text().splitlines())

    path = Path(daemon.options[1])
    second = {**first, "labels": ["a=2", "b=3"], "debug": True, "registry-mirrors": ["https://mirror.example"],
              "insecure-registries": ["10.9.0.0/16"], "log-driver": "none", "max-concurrent-downloads": 9}  # fmt: skip
    path.write_text(json.dumps(second))
    os.kill(daemon.process.pid, signal.SIGHUP)
    host.wait_for(lambda: info(daemon)["Labels"] == ["a=2", "b=3"], "a reload")
    found = info(daemon)
    assert (found["Debug"], found["LoggingDriver"]) == (True, "local")
    assert found["RegistryConfig"]["Mirrors"] == ["https://mirror.example"]
    assert "10.9.0.0/16" in found["RegistryConfig"]["InsecureRegistryCIDRs"]
    words = (
        "events",
        "--since",
        "0",
        "--until",
        found["SystemTime"],
        "--filter",
        "type=daemon",
        "--format",
        "{{json .}}",
    )
    events = [json.loads(line) for line in daemon.docker(*words).stdout.splitlines()]
    assert [event["Action"] for event in events] == ["reload"]
    told = events[0]["Actor"]
    assert told["ID"] == found["ID"]
    assert told["Attributes"]["labels"] == '["a=2","b=3"]'
    assert told["Attributes"]["max-concurrent-downloads"] == "9"
    assert told["Attributes"]["shutdown-timeout"] == "7"

    path.write_text(json.dumps({**second, "labels": ["c=4"], "shutdown-timeout": 3}))
    os.kill(daemon.process.pid, signal.SIGHUP)
    host.wait_for(lambda: "cannot reload the configuration" in daemon.log.read_text(), "a refusal")
    assert info(daemon)["Labels"] == ["a=2", "b=3"]
    daemon.stop()
    assert not (daemon.root / "its.pid").exists()


def test_containers_end_with_a_daemon_that_does_not_restore_them(make: Make, busybox: Path) -> None:
    daemon = make("--live-restore=false", "--shutdown-timeout", "20")
    daemon.start()
    daemon.give_busybox(busybox)
    trap = "trap 'exit 4' TERM; while :; do sleep 0.05; done"
    for policy in ("no", "always", "unless-stopped"):
        daemon.docker("run", "-d", "--name", policy, "--restart", policy, "busybox", "sh", "-c", trap)
    daemon.docker(
        "run", "-d", "--name", "stopped", "--restart", "unless-stopped", "busybox", "sh", "-c", trap
    )
    daemon.docker("stop", "stopped")
    pids = [daemon.inspect(name)["State"]["Pid"] for name in ("no", "always")]
    daemon.stop()
    assert not any(Path(f"/proc/{pid}/status").exists() for pid in pids)
    daemon.start()
    for name in ("always", "unless-stopped"):
        host.wait_for(lambda name=name: daemon.inspect(name)["State"]["Running"], name)  # type: ignore[misc]
    state = daemon.inspect("no")["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 4)
    assert daemon.inspect("stopped")["State"]["Status"] == "exited"
    daemon.remove_containers()


def test_policies_across_a_restart_of_the_daemon(make: Make, busybox: Path) -> None:
    """Containers live on; what was stopped by hand begins again only with `always`; what died meanwhile begins again."""
    daemon = make()
    daemon.start()
    daemon.give_busybox(busybox)
    for name, policy in (
        ("lives", "no"),
        ("always", "always"),
        ("unless", "unless-stopped"),
        ("died", "unless-stopped"),
    ):
        daemon.docker("run", "-d", "--name", name, "--restart", policy, "busybox", "sleep", "100000")
    daemon.docker("stop", "-t", "0", "always", "unless")
    before = {name: daemon.inspect(name)["State"]["Pid"] for name in ("lives", "died")}
    daemon.stop()
    os.kill(before["died"], signal.SIGKILL)
    daemon.start()
    assert daemon.inspect("lives")["State"]["Pid"] == before["lives"]
    words = ("--filter", "container=lives", "--until", info(daemon)["SystemTime"], "--format", "{{.Action}}")
    assert daemon.docker("events", "--since", "0", *words).stdout.split() == ["create", "start"]
    host.wait_for(lambda: daemon.inspect("always")["State"]["Running"], "always")
    host.wait_for(lambda: daemon.inspect("died")["State"]["Running"], "died")
    assert daemon.inspect("died")["State"]["Pid"] != before["died"]
    assert daemon.inspect("unless")["State"]["Status"] == "exited"
    daemon.remove_containers()


def test_defaults_of_containers(make: Make, busybox: Path) -> None:
    config = {"init": True, "default-shm-size": "32m", "default-ulimits": {"nofile": {"Name": "nofile", "Hard": 600, "Soft": 500}},
              "dns": ["10.1.1.1"], "no-new-privileges": True, "default-stop-timeout": 1, "host-gateway-ips": ["10.2.2.2"]}  # fmt: skip
    daemon = make(config=json.dumps(config))
    daemon.start()
    daemon.give_busybox(busybox)
    script = "cat /proc/1/comm; ulimit -n; grep -c 10.1.1.1 /etc/resolv.conf; grep NoNewPrivs /proc/self/status; grep gw /etc/hosts; df -k /dev/shm | tail -1"
    lines = daemon.docker(
        "run", "--rm", "--add-host", "gw:host-gateway", "busybox", "sh", "-c", script
    ).stdout.splitlines()
    assert lines[0] != "sh"
    assert lines[1:5] == ["500", "1", "NoNewPrivs:\t1", "10.2.2.2\tgw"]
    assert lines[5].split()[1] == "32768"


def test_descriptors_for_many_containers(make: Make, busybox: Path) -> None:
    """It takes what it may have; containers have the limits that it was started with."""
    daemon = make()
    soft, hard = 400, 5000
    [(argv, env)] = daemon.commands()
    daemon.commands = lambda: [(["prlimit", f"--nofile={soft}:{hard}", *argv], env)]  # type: ignore[method-assign]
    daemon.start()
    daemon.give_busybox(busybox)
    found = resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE)
    assert found == (hard, hard)
    words = ("run", "--rm", "busybox", "sh", "-c", "ulimit -Sn; ulimit -Hn")
    assert daemon.docker(*words).stdout.split() == [str(soft), str(hard)]
