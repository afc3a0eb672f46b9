"""Docker compose, unmodified: a small project with networks, volumes, secrets, configs, health and dependencies."""

import json
import select
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

MORE = """\
name: more
services:
  web:
    build:
      context: ./web
      additional_contexts: {extra: ./extra, base: "docker-image://busybox:latest"}
      args: {WHO: me}
      secrets: [token]
    configs: [{source: text, target: /etc/text, mode: 0440}, {source: variable, target: /variable}]
    secrets: [token]
    post_start: [{command: ["sh", "-c", "echo hooked > /hooked"]}]
    healthcheck: {test: ["CMD", "test", "-e", "/hooked"], interval: 200ms, retries: 50}
    stop_grace_period: 0s
    develop: {watch: [{path: ./web/src, action: sync, target: /src}]}
  worker:
    image: busybox
    command: sleep 1000
    stop_grace_period: 0s
    depends_on: {web: {condition: service_healthy, restart: true}}
    deploy: {replicas: 2, resources: {limits: {memory: 64M, pids: 50}}}
  tool: {image: busybox, command: echo tooled, profiles: [tools]}
configs: {text: {content: "said ${WORD}"}, variable: {environment: WORD}}
secrets: {token: {environment: TOKEN}}
"""
DOCKERFILE = """\
FROM base
ARG WHO
COPY --from=extra x /x
COPY src /src
RUN --mount=type=secret,id=token cat /run/secrets/token > /token; echo $WHO > /who
CMD ["sleep", "1000"]
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


@pytest.fixture
def more(daemon: Daemon, tmp_path: Path) -> Iterator[Path]:
    """The directory of a project that asks for what came to compose later."""
    for name in ("web/src", "extra"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "compose.yaml").write_text(MORE)
    (tmp_path / "web/Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "web/src/old").write_text("old\n")
    (tmp_path / "extra/x").write_text("x\n")
    yield tmp_path
    _in(daemon, tmp_path, "--profile", "*", "down", "--volumes", "--timeout", "0", "--rmi", "local")


def _in(daemon: Daemon, directory: Path, *words: str) -> str:
    env = {**daemon.environment(), "WORD": "word", "TOKEN": "token"}
    done = subprocess.run(
        ["docker", "compose", *words],
        cwd=directory,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"compose {' '.join(words)}: {done.stdout}\n{done.stderr}"
    return done.stdout


def test_contexts_profiles_contents_and_hooks(daemon: Daemon, more: Path) -> None:
    _in(daemon, more, "up", "--detach", "--wait")
    files = ("/etc/text", "/variable", "/run/secrets/token", "/token", "/who", "/x", "/hooked")
    inside = _in(
        daemon, more, "exec", "-T", "web", "sh", "-c", f"for f in {' '.join(files)}; do cat $f; echo; done"
    )
    assert inside.split() == ["said", "word", "word", "token", "token", "me", "x", "hooked"]
    assert _in(daemon, more, "--profile", "tools", "run", "--rm", "-T", "tool") == "tooled\n"
    _in(daemon, more, "cp", str(more / "extra/x"), "worker:/copied")
    for index in ("1", "2"):
        assert _in(daemon, more, "exec", "-T", "--index", index, "worker", "cat", "/copied") == "x\n"
    workers = _in(daemon, more, "ps", "--quiet", "worker").split()
    limits = {daemon.inspect(each)["HostConfig"][key] for each in workers for key in ("Memory", "PidsLimit")}
    assert limits == {64 << 20, 50}
    events = subprocess.Popen(
        ["docker", "compose", "events", "--json", "worker"],
        cwd=more,
        env={**daemon.environment(), "WORD": "word", "TOKEN": "token"},
        stdout=subprocess.PIPE,
    )
    try:
        assert events.stdout is not None
        while True:
            _in(daemon, more, "pause", "worker")
            _in(daemon, more, "unpause", "worker")
            if select.select([events.stdout], [], [], 0.2)[0]:
                break
        assert json.loads(events.stdout.readline())["action"] in ("pause", "unpause")
    finally:
        events.terminate()
        events.communicate()


def test_a_watch_brings_and_takes_files(daemon: Daemon, more: Path) -> None:
    _in(daemon, more, "up", "--detach", "--wait", "web")
    env = {**daemon.environment(), "WORD": "word", "TOKEN": "token"}
    watch = subprocess.Popen(
        ["docker", "compose", "watch", "--no-up"],
        cwd=more,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        assert watch.stdout is not None
        assert b"Watch enabled" in watch.stdout.readline()

        def seen() -> list[str]:
            return _in(daemon, more, "exec", "-T", "web", "ls", "/src").split()

        (more / "web/src/new").write_text("new\n")
        host.wait_for(lambda: seen() == ["new", "old"], "a new file")
        (more / "web/src/new").unlink()
        host.wait_for(lambda: seen() == ["old"], "a file that is gone")
    finally:
        watch.terminate()
        said = watch.communicate()[0]
    assert b"Error" not in said, said
