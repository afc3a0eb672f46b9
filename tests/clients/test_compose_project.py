"""Docker compose, unmodified, runs a real project: nginx before a Python web application that uses PostgreSQL and Redis.

It goes up once for all of these tests; each leaves it as it found it.
"""

import http.client
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import host
from tests.support.daemons import Daemon
from tests.support.stack import PROJECT

pytestmark = pytest.mark.timeout(300)  # nearly half a gigabyte of images is loaded first
Compose = Callable[..., str]
SERVICES = {"proxy", "web", "db", "cache"}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's own copy, because what it mounts belongs to it."""
    target: Path = tmp_path_factory.mktemp("shop") / "shop"
    shutil.copytree(PROJECT, target)
    return target


@pytest.fixture(scope="module")
def compose(running_daemon: Daemon, stack: None, directory: Path) -> Iterator[Compose]:
    """`docker compose` in the directory of the project, which is up; afterwards it must be gone, with its networks and volumes."""

    def run(*words: str, environment: dict[str, str] | None = None) -> str:
        done = subprocess.run(
            ["docker", "compose", *words],
            cwd=directory,
            env={**running_daemon.environment(), **(environment or {})},
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, f"compose {' '.join(words)}: {done.stdout}\n{done.stderr}"
        return done.stdout

    running_daemon.remove_containers()
    try:
        run("up", "--detach", "--wait")
        yield run
    finally:
        run("--profile", "*", "down", "--volumes", "--timeout", "1")
    for kind in ("ps -aq", "network ls -q --filter name=shop", "volume ls -q --filter name=shop"):
        assert running_daemon.docker(*kind.split()).stdout == ""
    assert not any(link.startswith("veth") for link in host.links())


def states(compose: Compose, *words: str) -> dict[str, list[tuple[str, str]]]:
    """The services' containers: their states and healths."""
    found: dict[str, list[tuple[str, str]]] = {}
    for line in compose("ps", "--format", "json", *words).splitlines():
        value = json.loads(line)
        found.setdefault(value["Service"], []).append((value["State"], value["Health"]))
    return found


def ask(compose: Compose, method: str, path: str, body: str = "") -> bytes:
    """A request to the project's front door, which may know of a container that is gone for a second."""
    address, _, port = compose("port", "proxy", "80").strip().rpartition(":")
    found: list[tuple[int, bytes]] = []

    def answered() -> bool:
        connection = http.client.HTTPConnection(address, int(port), timeout=60)
        try:
            connection.request(method, path, body.encode() if body else None)
            answer = connection.getresponse()
            found.append((answer.status, answer.read()))
        finally:
            connection.close()
        return found[-1][0] not in (502, 504)

    host.wait_for(answered, "an answer of the web application")
    assert found[-1][0] == 200, found[-1]
    return found[-1][1]


def visit(compose: Compose) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(ask(compose, "GET", "/"))
    return value


def test_it_serves(compose: Compose) -> None:
    assert states(compose) == {service: [("running", "healthy")] for service in SERVICES}
    first = visit(compose)
    assert first["greeting"] in ("hello", "good day")
    assert visit(compose)["visits"] == first["visits"] + 1
    notes = json.loads(ask(compose, "POST", "/notes", "from a test"))
    assert notes[0] == "from the schema"
    assert notes[-1] == "from a test"
    ask(compose, "PUT", "/files/one", "content")
    assert compose("exec", "-T", "web", "cat", "/uploads/one") == "content"
    assert "GET / HTTP" in compose("logs", "--no-log-prefix", "web")


def test_networks(compose: Compose, running_daemon: Daemon) -> None:
    reach = "exec 3<>/dev/tcp/$0/$1"
    compose("exec", "-T", "web", "bash", "-c", reach, "database", "5432")
    with pytest.raises(AssertionError, match=r"(?i)name|resolution|invalid|unreachable"):
        compose("exec", "-T", "proxy", "bash", "-c", reach, "db", "5432")
    inside = json.loads(running_daemon.docker("network", "inspect", "shop_back").stdout)[0]
    assert inside["Internal"]
    assert {each["Name"] for each in inside["Containers"].values()} == {
        "shop-web-1",
        "shop-db-1",
        "shop-cache-1",
    }
    assert inside["Labels"]["com.docker.compose.network"] == "back"


def test_secrets_and_configs(compose: Compose, directory: Path) -> None:
    secret = (directory / "db_password.txt").read_text()
    assert compose("exec", "-T", "web", "cat", "/run/secrets/db_password") == secret
    assert (
        compose("exec", "-T", "proxy", "cat", "/etc/nginx/sites-available/default")
        == (directory / "site.conf").read_text()
    )
    assert secret.strip() not in compose("exec", "-T", "db", "env")


def test_scale(compose: Compose) -> None:
    compose("up", "--detach", "--wait", "--no-recreate", "--scale", "web=3")
    assert len(states(compose)["web"]) == 3
    seen: set[str] = set()

    def all_seen() -> bool:
        seen.add(visit(compose)["host"])
        return len(seen) == 3

    host.wait_for(all_seen, "each of three web containers to answer")
    compose("scale", "web=1")
    assert len(states(compose)["web"]) == 1
    left = compose("ps", "--quiet", "web").strip()[:12]
    host.wait_for(lambda: visit(compose)["host"] == left, "the one that is left to answer")


def test_a_restart_keeps_what_is_in_volumes(compose: Compose) -> None:
    ask(compose, "POST", "/notes", "to be kept")
    before = visit(compose)["visits"]
    compose("restart", "--timeout", "5", "db", "cache")
    compose("up", "--detach", "--wait")
    assert "to be kept" in json.loads(ask(compose, "GET", "/notes"))
    assert visit(compose)["visits"] > before
    assert "Skipping initialization" in compose("logs", "db")


def test_a_change_makes_one_service_anew(compose: Compose) -> None:
    before = {name: compose("ps", "--quiet", name) for name in SERVICES}
    changed = {"GREETING": "good day"}
    compose("up", "--detach", "--wait", environment=changed)
    after = {name: compose("ps", "--quiet", name) for name in SERVICES}
    assert {name for name in SERVICES if before[name] != after[name]} >= {"web"}
    assert {name for name in SERVICES if before[name] == after[name]} >= {"db", "cache"}
    assert visit(compose)["greeting"] == "good day"


def test_profiles_and_one_off_runs(compose: Compose) -> None:
    assert "report" not in compose("config", "--services").split()
    assert "report" in compose("--profile", "tools", "config", "--services").split()
    count = len(json.loads(ask(compose, "GET", "/notes")))
    assert compose("--profile", "tools", "run", "--rm", "-T", "report").split() == [str(count)]
    compose("--profile", "tools", "up", "--detach", "report")
    host.wait_for(
        lambda: states(compose, "--all", "report") == {"report": [("exited", "")]}, "the report to be done"
    )
    assert compose("--profile", "tools", "logs", "--no-log-prefix", "report").split() == [str(count)]
    compose("--profile", "tools", "rm", "--force", "--stop", "report")


def test_looking_at_it(compose: Compose, running_daemon: Daemon) -> None:
    assert re.search(r"\bshop\b.*running\(4\)", compose("ls"))
    images = json.loads(compose("images", "--format", "json"))
    assert {each["Repository"] for each in images} == {"nginx", "web", "postgres", "redis"}
    assert "postgres" in compose("top", "db")
    assert compose(
        "exec", "-T", "--env", "WORD=x", "--user", "nobody", "web", "sh", "-c", "id -un; echo $WORD"
    ).split() == ["nobody", "x"]
    copied = compose("cp", "db:/docker-entrypoint-initdb.d/schema.sql", "-")
    assert "CREATE TABLE notes" in copied
    assert set(compose("volumes", "--quiet").split()) == {
        "shop_database",
        "shop_cache",
        "shop_uploads",
    }
    since = running_daemon.docker("info", "--format", "{{.SystemTime}}").stdout.strip()
    compose("kill", "--signal", "HUP", "proxy")
    with subprocess.Popen(
        ["docker", "compose", "--project-name", "shop", "events", "--json", "--since", since],
        env=running_daemon.environment(),
        stdout=subprocess.PIPE,
    ) as events:
        assert events.stdout is not None
        assert "kill" in (json.loads(line)["action"] for line in events.stdout)
        events.terminate()
    compose("pause", "cache")
    assert states(compose)["cache"][0][0] == "paused"
    compose("unpause", "cache")
    compose("wait", "--help")
    assert os.fspath(PROJECT) not in compose("config")
