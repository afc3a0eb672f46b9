"""Docker compose, unmodified: a small project with networks, volumes, secrets, configs, health and dependencies."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import host
from tests.support.daemons import Daemon

PROJECT = """\
services:
  web:
    image: busybox
    command: sh -c "mkdir -p /www; echo hi > /www/index.html; exec httpd -f -p 80 -h /www"
    ports: ["127.0.0.1::80"]
    networks: [front, back]
    depends_on:
      store: {condition: service_healthy}
    environment: {NAME: value}
    volumes: ["data:/data", "./conf:/conf:ro"]
    configs: [{source: settings, target: /etc/settings}]
    secrets: [password]
  store:
    image: busybox
    command: sh -c "touch /ready; exec sleep 1000"
    healthcheck: {test: ["CMD", "test", "-e", "/ready"], interval: 200ms, retries: 50}
    networks: {back: {aliases: [database]}}
    volumes: ["data:/var/lib/store"]
networks: {front: {}, back: {internal: true}}
volumes: {data: {}}
configs: {settings: {file: ./settings.txt}}
secrets: {password: {file: ./password.txt}}
"""

Compose = Callable[..., str]


@pytest.fixture
def compose(daemon: Daemon, tmp_path: Path) -> Iterator[Compose]:
    """`docker compose` in the project's directory; it is taken down afterwards."""
    (tmp_path / "compose.yaml").write_text(PROJECT)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "file").write_text("bound\n")
    (tmp_path / "settings.txt").write_text("set\n")
    (tmp_path / "password.txt").write_text("secret\n")

    def run(*words: str) -> str:
        done = subprocess.run(
            ["docker", "compose", "--project-name", "project", *words],
            cwd=tmp_path,
            env=daemon.environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"compose {' '.join(words)}: {done.stdout}\n{done.stderr}"
        return done.stdout

    yield run
    run("down", "--volumes", "--timeout", "0")


def test_a_project(daemon: Daemon, compose: Compose) -> None:
    compose("up", "--detach", "--wait")
    states = [json.loads(line) for line in compose("ps", "--format", "json").splitlines()]
    assert {(each["Service"], each["State"], each["Health"]) for each in states} == {
        ("web", "running", ""),
        ("store", "running", "healthy"),
    }
    inside = compose(
        "exec",
        "-T",
        "web",
        "sh",
        "-c",
        "cat /etc/settings /run/secrets/password /conf/file; echo $NAME; ping -c1 database >/dev/null && echo reached",
    )
    assert inside.split() == ["set", "secret", "bound", "value", "reached"]
    compose("exec", "-T", "store", "sh", "-c", "echo shared > /var/lib/store/file")
    assert compose("exec", "-T", "web", "cat", "/data/file") == "shared\n"
    port = int(compose("port", "web", "80").strip().rpartition(":")[2])
    assert host.fetch("127.0.0.1", port) == "hi\n"


def test_scale_and_one_off(daemon: Daemon, compose: Compose) -> None:
    compose("up", "--detach", "--wait", "--scale", "store=3")
    assert len(compose("ps", "--quiet", "store").split()) == 3
    out = compose("exec", "-T", "web", "nslookup", "-type=a", "store")
    assert len([line for line in out.partition("answer:")[2].splitlines() if "Address" in line]) == 3
    assert compose("run", "--rm", "-T", "--no-deps", "web", "echo", "once") == "once\n"
    compose("up", "--detach", "--wait", "--scale", "store=1")
    assert len(compose("ps", "--quiet", "store").split()) == 1


def test_stop_start_and_what_is_left(daemon: Daemon, compose: Compose) -> None:
    compose("up", "--detach", "--wait")
    compose("stop", "--timeout", "0")
    assert compose("ps", "--quiet") == ""
    compose("start")
    compose("restart", "--timeout", "0", "web")
    compose("pause")
    compose("unpause")
    assert "httpd" in compose("top", "web")
    compose("down", "--volumes", "--timeout", "0")
    assert daemon.docker("ps", "-aq").stdout == ""
    assert "project" not in daemon.docker("network", "ls").stdout + daemon.docker("volume", "ls").stdout
