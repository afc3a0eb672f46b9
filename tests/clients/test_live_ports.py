"""Ports of a container that exists: `PublishAdd` and `PublishRm` of POST /containers/{id}/update, which are knarr's own."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import host
from tests.support.daemons import Daemon

LONG = ("sleep", "1000")
SERVE = "mkdir -p /www; echo hello >/www/index.html; httpd -f -p 80 -h /www"


@pytest.fixture
def web(daemon: Daemon, peer: bool) -> Iterator[Daemon]:
    """A container "web" that answers at 80, published at 18090."""
    if peer:
        pytest.skip("dockerd cannot do this")
    daemon.docker("run", "-d", "--name", "web", "-p", "18090:80", "busybox", "sh", "-c", SERVE)
    yield daemon
    daemon.remove_containers()


def update(daemon: Daemon, name: str, **body: Any) -> tuple[int, str]:
    status, answer = daemon.api("POST", f"/containers/{name}/update", body)
    return status, (answer or {}).get("message", "")


def ports(daemon: Daemon, name: str = "web") -> set[str]:
    return set(daemon.docker("port", name).stdout.split("\n")) - {""}


def closed(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_ports_come_and_go(web: Daemon) -> None:
    assert update(web, "web", PublishAdd={"80/tcp": [{"HostPort": "18091"}]})[0] == 200
    assert host.fetch("127.0.0.1", 18091) == host.fetch("127.0.0.1", 18090) == "hello\n"
    assert host.fetch("::1", 18091) == "hello\n"
    assert update(web, "web", PublishRm={"80/tcp": [{"HostPort": "18090"}]})[0] == 200
    assert closed(18090)
    assert ports(web) == {"80/tcp -> 0.0.0.0:18091", "80/tcp -> [::]:18091"}
    web.docker("restart", "-t", "0", "web")
    assert host.fetch("127.0.0.1", 18091) == "hello\n"
    assert closed(18090)
    assert update(web, "web", PublishRm={"80/tcp": []})[0] == 200
    assert ports(web) == set()
    assert closed(18091)


def test_a_port_moves_in_one_step(web: Daemon) -> None:
    web.docker(
        "exec", "-d", "web", "sh", "-c", "mkdir -p /b; echo other >/b/index.html; httpd -f -p 81 -h /b"
    )
    body = {"PublishRm": {"80/tcp": [{}]}, "PublishAdd": {"81/tcp": [{"HostPort": "18090"}]}}
    assert update(web, "web", **body) == (200, "")
    assert host.fetch("127.0.0.1", 18090) == "other\n"
    assert ports(web) == {"81/tcp -> 0.0.0.0:18090", "81/tcp -> [::]:18090"}


def test_a_conflict_leaves_all_as_it_was(web: Daemon) -> None:
    web.docker("run", "-d", "--name", "two", "-p", "18092:80", "busybox", *LONG)
    before = ports(web), web.inspect("web")["HostConfig"]
    wanted = {"80/tcp": [{"HostPort": "18093"}, {"HostPort": "18092"}]}
    body = {"PublishAdd": wanted, "PublishRm": {"80/tcp": [{"HostPort": "18090"}]}, "PidsLimit": 77}
    status, message = update(web, "web", **body)
    assert status == 500
    assert "Bind for 0.0.0.0:18092 failed: port is already allocated" in message
    assert (ports(web), web.inspect("web")["HostConfig"]) == before
    assert closed(18093)
    assert host.fetch("127.0.0.1", 18090) == "hello\n"
    web.docker("rm", "-f", "two")
    assert update(web, "web", PublishAdd=wanted)[0] == 200


def test_what_is_not_published_cannot_be_taken_away(web: Daemon) -> None:
    assert update(web, "web", PublishRm={"81/tcp": []}) == (400, "port 81/tcp is not published")
    assert update(web, "web", PublishRm={"80/tcp": [{"HostPort": "1"}]}) == (
        400,
        "port 1:80/tcp is not published",
    )
    web.docker("run", "-d", "--name", "there", "--network", "host", "busybox", *LONG)
    status, message = update(web, "there", PublishAdd={"80/tcp": [{"HostPort": "18094"}]})
    assert (status, message) == (400, "cannot publish ports: the container has the host network")


def test_a_container_that_does_not_run_has_them_with_its_next_life(web: Daemon) -> None:
    web.docker("stop", "-t", "0", "web")
    assert update(web, "web", PublishAdd={"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18095"}]})[0] == 200
    assert closed(18095)
    web.docker("start", "web")
    assert host.fetch("127.0.0.1", 18095) == "hello\n"
    assert "80/tcp -> 127.0.0.1:18095" in ports(web)


def test_of_all_exposed_ports_one_may_go(web: Daemon) -> None:
    flags = ("--expose", "80", "--expose", "81", "-P")
    web.docker("run", "-d", "--name", "many", *flags, "busybox", *LONG)
    assert update(web, "many", PublishRm={"80/tcp": []})[0] == 200
    assert {line.partition(" ")[0] for line in ports(web, "many")} == {"81/tcp"}
    web.docker("restart", "-t", "0", "many")
    assert {line.partition(" ")[0] for line in ports(web, "many")} == {"81/tcp"}
