"""The edges of the Engine API: versions, pages that there are not, what a node outside any swarm says, words of refusals."""

import http.client
import json
import socket
from typing import Any

import pytest

from tests.support.daemons import Daemon

NO_MANAGER = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm '
    "and try again."
)


def ask(
    daemon: Daemon, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers, and the body as it came."""
    connection = http.client.HTTPConnection("localhost", timeout=60)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(daemon.socket))
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nothing"),
        ("GET", "/v1.40/nothing"),
        ("PUT", "/info"),
        ("DELETE", "/containers/json/x/y"),
        ("GET", "/containers"),
        ("PATCH", "/v1.40/containers/json"),
        ("GET", "/vx/info"),
    ],
)
def test_pages_that_there_are_not(daemon: Daemon, method: str, path: str) -> None:
    status, headers, body = ask(daemon, method, path)
    if method == "DELETE":
        assert (status, body) == (404, b'{"message":"No such container: json/x/y"}\n')
    else:
        assert (status, body) == (404, b'{"message":"page not found"}\n')
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize("version", ["1.24", "1.30", "1.41", "1.44", "1.51"])
def test_versions_that_are_spoken(daemon: Daemon, version: str) -> None:
    for method in ("GET", "HEAD"):
        status, headers, body = ask(daemon, method, f"/v{version}/_ping")
        assert (status, body) == (200, b"OK" if method == "GET" else b"")
        assert headers["swarm"] == "inactive"
        assert headers["ostype"] == "linux"
        assert headers["docker-experimental"] == "false"
        assert {"api-version", "builder-version", "cache-control", "pragma", "server"} <= headers.keys()
    assert ask(daemon, "GET", f"/v{version}/containers/json")[0] == 200


def test_versions_that_are_not(daemon: Daemon) -> None:
    newest = ask(daemon, "HEAD", "/_ping")[1]["api-version"]
    status, _, body = ask(daemon, "GET", "/v1.99/info")
    text = f"client version 1.99 is too new. Maximum supported API version is {newest}"
    assert (status, json.loads(body)["message"]) == (400, text)
    status, headers, body = ask(daemon, "GET", "/v1.23/info")
    assert status == 400
    assert headers["content-type"].startswith("text/plain")
    assert body.startswith(b"client version 1.23 is too old. Minimum supported API version is 1.24")


@pytest.mark.parametrize(
    "path",
    [
        "/swarm",
        "/nodes",
        "/nodes/x",
        "/services",
        "/services/x",
        "/tasks",
        "/tasks/x",
        "/secrets",
        "/secrets/x",
        "/configs",
        "/configs/x",
        "/swarm/unlockkey",
        "/services/x/logs?stdout=1",
        "/tasks/x/logs?stdout=1",
    ],
)
def test_a_node_outside_any_swarm(daemon: Daemon, path: str) -> None:
    status, _, body = ask(daemon, "GET", path)
    assert (status, json.loads(body)["message"]) == (503, NO_MANAGER)


def test_no_swarm_to_leave(daemon: Daemon) -> None:
    status, _, body = ask(daemon, "POST", "/swarm/leave")
    assert (status, json.loads(body)["message"]) == (503, "This node is not part of a swarm")


def test_no_plugins(daemon: Daemon) -> None:
    assert ask(daemon, "GET", "/plugins")[2] == b"[]\n"
    for method, path in (
        ("GET", "/plugins/x/json"),
        ("DELETE", "/plugins/x"),
        ("POST", "/plugins/x/enable?timeout=0"),
    ):
        status, _, body = ask(daemon, method, path)
        assert (status, json.loads(body)["message"]) == (404, 'plugin "x" not found')


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "text"),
    [
        ("POST", "/containers/create", None, {}, 400, "invalid JSON: got EOF while reading request body"),
        ("POST", "/containers/create", b"x", {"Content-Type": "text/plain"}, 400, "unsupported Content-Type header (text/plain): must be 'application/json'"),
        ("POST", "/containers/create", b"", JSON, 400, "invalid JSON: got EOF while reading request body"),
        ("POST", "/containers/create", b"{", JSON, 400, "invalid JSON: unexpected EOF"),
        ("POST", "/containers/create", b"{}", JSON, 400, "config cannot be empty in order to create a container"),
        ("POST", "/containers/create", b"{} {}", JSON, 400, "unexpected content after JSON"),
        ("POST", "/volumes/create", b"[]", JSON, 400, "invalid JSON: json: cannot unmarshal array into Go value of type volume.CreateOptions"),
        ("GET", "/containers/json?filters=x", None, {}, 400, "invalid filter"),
        ("GET", "/containers/json?filters=%7B%22x%22:%5B%22y%22%5D%7D", None, {}, 400, "invalid filter 'x'"),
        ("GET", "/containers/json?filters=%7B%22health%22:%5B%22y%22%5D%7D", None, {}, 400, "invalid filter 'health=y': invalid value for health (y): must be one of none, starting, healthy, unhealthy"),
        ("GET", "/containers/json?filters=%7B%22status%22:%5B%22y%22%5D%7D", None, {}, 400, "invalid filter 'status=y': invalid value for state (y): must be one of created, running, paused, restarting, removing, exited, dead"),
        ("GET", "/containers/json?filters=%7B%22exited%22:%5B%22y%22%5D%7D", None, {}, 400, 'invalid filter \'exited=y\': strconv.Atoi: parsing "y": invalid syntax'),
        ("GET", "/containers/json?filters=%7B%22is-task%22:%5B%22y%22%5D%7D", None, {}, 400, "invalid filter 'is-task=[y]'"),
        ("GET", "/containers/json?filters=%7B%22before%22:%5B%22y%22%5D%7D", None, {}, 404, "No such container: y"),
        ("GET", "/images/json?filters=%7B%22x%22:%5B%22y%22%5D%7D", None, {}, 400, "invalid filter 'x'"),
        ("GET", "/images/json?filters=%7B%22dangling%22:%5B%22y%22%5D%7D", None, {}, 400, "invalid filter 'dangling=[y]'"),
        ("GET", "/networks?filters=%7B%22x%22:%5B%22y%22%5D%7D", None, {}, 400, "invalid filter 'x'"),
        ("GET", "/volumes?filters=%7B%22x%22:%5B%22y%22%5D%7D", None, {}, 400, "invalid filter 'x'"),
        ("POST", "/containers/prune?filters=%7B%22x%22:%5B%22y%22%5D%7D", None, {}, 400, "invalid filter 'x'"),
        ("POST", "/images/prune?filters=%7B%22x%22:%5B%22y%22%5D%7D", None, {}, 400, "invalid filter 'x'"),
        ("POST", "/volumes/prune?filters=%7B%22x%22:%5B%22y%22%5D%7D", None, {}, 400, "invalid filter 'x'"),
        ("POST", "/networks/prune?filters=%7B%22x%22:%5B%22y%22%5D%7D", None, {}, 400, "invalid filter 'x'"),
        ("GET", "/containers/x/logs", None, {}, 400, "Bad parameters: you must choose at least one stream"),
        ("POST", "/containers/x/wait?condition=y", None, {}, 400, 'invalid condition: "y"'),
        ("POST", "/containers/x/resize?h=y", None, {}, 400, 'invalid resize height "y": invalid syntax'),
        ("POST", "/containers/x/resize", None, {}, 400, 'invalid resize height "": invalid syntax'),
        ("POST", "/commit", b"{}", JSON, 400, 'invalid name or ID supplied: ""'),
        ("GET", "/system/df?type=x", None, {}, 400, "unknown object type: x"),
        ("GET", "/networks/bridge?scope=swarm", None, {}, 404, "network bridge not found"),
        ("GET", "/networks/bridge?verbose=x", None, {}, 400, 'invalid value for verbose: x: strconv.ParseBool: parsing "x": invalid syntax'),
        ("GET", "/events?since=2&until=1", None, {}, 400, "`since` time (2) cannot be after `until` time (1)"),
    ],
)  # fmt: skip
def test_refusals_in_dockers_words(
    daemon: Daemon,
    method: str,
    path: str,
    body: bytes | None,
    headers: dict[str, Any],
    status: int,
    text: str,
) -> None:
    found, _, answer = ask(daemon, method, path, body, headers)
    assert json.loads(answer)["message"] == text
    assert found == status
    assert answer.endswith(b"}\n")
