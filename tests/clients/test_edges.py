"""The edges of the Engine API: versions, pages that there are not, what a node outside any swarm says, words of refusals."""

import http.client
import json
import socket
import time
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
        ("POST", "/containers/x/rename", None, {}, 400, "Neither old nor new names may be empty"),
        ("POST", "/containers/x/resize?h=1&w=-1", None, {}, 400, 'invalid resize width "-1": value out of range'),
        ("POST", "/networks/nope/connect", b'{"Container": "x"}', JSON, 404, "No such container: x"),
        ("POST", "/networks/bridge/connect", b"{}", JSON, 400, 'invalid name or ID supplied: ""'),
        ("POST", "/networks/create", b'{"Name": "default"}', JSON, 403, "operation is not permitted on predefined default network "),
        ("POST", "/networks/create", b'{"Name": ""}', JSON, 400, "invalid name: name is empty"),
        ("POST", "/networks/create", b'{"Name": "x", "IPAM": {"Config": [{"Gateway": "10.9.9.1"}]}}', JSON, 400, "invalid network config:\ninvalid subnet : invalid CIDR block notation"),
        ("POST", "/networks/create", b'{"Name": "x", "Driver": "overlay"}', JSON, 403, NO_MANAGER),
        ("GET", "/networks?filters=%7B%22dangling%22:%5B%22true%22,%22false%22%5D%7D", None, {}, 400, 'got more than one value for filter key "dangling"'),
        ("POST", "/containers/prune?filters=%7B%22until%22:%5B%221h%22,%222h%22%5D%7D", None, {}, 400, "more than one until filter specified"),
        ("POST", "/images/busybox/tag?repo=x&tag=a%20b", None, {}, 400, "invalid tag format"),
        ("GET", "/images/BAD/json", None, {}, 400, "invalid reference format: repository name (library/BAD) must be lowercase"),
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


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({"Image": "BAD"}, 400, "invalid reference format: repository name (library/BAD) must be lowercase"),
        ({"MacAddress": "bogus"}, 400, "invalid config for network bridge: invalid MAC address bogus"),
        ({"NetworkingConfig": {"EndpointsConfig": {"bridge": {"MacAddress": "x"}}}}, 400, "invalid config for network bridge: invalid MAC address x"),
        ({"NetworkingConfig": {"EndpointsConfig": {"bridge": None}}}, 400, "invalid config for network bridge: EndpointsConfig is nil"),
        ({"HostConfig": {"NetworkMode": "container:"}}, 400, "invalid network mode: invalid container format container:<name|id>"),
        ({"HostConfig": {"IpcMode": "container:nope"}}, 400, "No such container: nope"),
        ({"HostConfig": {"PidMode": "container:nope"}}, 400, "No such container: nope"),
        ({"HostConfig": {"VolumesFrom": [""]}}, 400, "volumes-from specification cannot be an empty string"),
        ({"HostConfig": {"Links": [""]}}, 400, "empty string specified for links"),
        ({"HostConfig": {"Links": ["a:b:c"]}}, 400, "bad format for links: a:b:c"),
        ({"HostConfig": {"Annotations": {"": "x"}}}, 400, "invalid Annotations: the empty string is not permitted as an annotation key"),
        ({"HostConfig": {"IOMaximumIOps": 1}}, 400, "invalid option: QoS maximum IOPs configuration is not supported on linux"),
        ({"HostConfig": {"Isolation": "process"}}, 400, "invalid isolation (process): linux only supports 'default'"),
        ({"HostConfig": {"CpusetCpus": "0-"}}, 400, "Invalid value 0- for cpuset cpus: invalid format: 0-"),
        ({"HostConfig": {"CpusetMems": "x"}}, 400, "Invalid value x for cpuset mems: invalid format: x"),
        ({"HostConfig": {"NanoCpus": 10**9, "CpuQuota": 1000}}, 400, "Conflicting options: Nano CPUs and CPU Quota cannot both be set"),
    ],
)  # fmt: skip
def test_what_a_create_refuses(daemon: Daemon, body: dict[str, Any], status: int, text: str) -> None:
    found, answer = daemon.api("POST", "/v1.51/containers/create", {"Image": "busybox", **body})
    assert answer["message"] == text
    assert found in (status, 500)  # dockerd has forgotten the class of some


def test_a_pause_in_dockers_words(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "idle", "busybox", "sleep", "1000")
    daemon.docker("pause", "idle")
    for method, path, text in (
        ("POST", "/containers/idle/start", "cannot start a paused container, try unpause instead"),
        ("DELETE", "/containers/idle", 'cannot remove container "idle": container is paused and must be unpaused first'),
    ):  # fmt: skip
        status, answer = daemon.api(method, path)
        assert (status, answer["message"]) == (409, text)
    status, answer = daemon.api("POST", "/containers/idle/exec", {"Cmd": ["true"]})
    assert (status, answer["message"]) == (
        409,
        "Container idle is paused, unpause the container before exec",
    )


def test_the_networks_that_are_named_are_all(daemon: Daemon) -> None:
    daemon.docker("network", "create", "only")
    try:
        body = {"Image": "busybox", "NetworkingConfig": {"EndpointsConfig": {"only": {}}}}
        status, made = daemon.api("POST", "/v1.51/containers/create", body)
        assert status == 201
        assert list(daemon.inspect(made["Id"])["NetworkSettings"]["Networks"]) == ["only"]
        daemon.docker("start", made["Id"])
        assert list(daemon.inspect(made["Id"])["NetworkSettings"]["Networks"]) == ["only"]
    finally:
        daemon.remove_containers()
        daemon.docker("network", "rm", "only")


def test_the_hosts_network_is_no_second_one(daemon: Daemon) -> None:
    body = {"Image": "busybox", "NetworkingConfig": {"EndpointsConfig": {"host": {}}}}
    _, made = daemon.api("POST", "/v1.51/containers/create", body)
    status, answer = daemon.api("POST", f"/containers/{made['Id']}/start")
    assert status == 400
    assert answer["message"].endswith("container must be created in host network mode")


def test_memory_beyond_the_swap_limit(daemon: Daemon) -> None:
    text = "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
    made = daemon.docker("create", "-m", "64m", "--memory-swap", "128m", "busybox").stdout.strip()
    status, answer = daemon.api("POST", f"/containers/{made}/update", {"Memory": 256 << 20})
    assert (status, answer["message"]) == (409, f"Cannot update container {made}: {text}")
    daemon.docker("update", "-m", "256m", "--memory-swap", "512m", made)
    free = daemon.docker("create", "busybox").stdout.strip()
    assert daemon.api("POST", f"/containers/{free}/update", {"Memory": 64 << 20})[0] == 409


def test_a_name_that_went_to_another_image(daemon: Daemon) -> None:
    daemon.docker("tag", "busybox", "moving")
    cid = daemon.docker("create", "--name", "old", "moving").stdout.strip()
    image = daemon.inspect(cid)["Image"]
    daemon.docker("commit", "old", "moving")
    _, found = daemon.api("GET", "/containers/json?all=1")
    assert [each["Image"] for each in found] == [image]
    assert daemon.inspect(cid)["Config"]["Image"] == "moving"


def test_each_prune_is_an_event(daemon: Daemon) -> None:
    begun = time.time()
    for noun in ("container", "network", "volume", "image"):
        daemon.docker(noun, "prune", "-f")
    lines = daemon.docker(
        "events",
        "--since",
        f"{begun:.9f}",
        "--until",
        f"{time.time():.9f}",
        "--format",
        "{{.Type}} {{.Action}} {{json .Actor}}",
    ).stdout.splitlines()
    told = [line.split(" ", 2) for line in lines]
    assert [(kind, action) for kind, action, _ in told] == [
        ("container", "prune"),
        ("network", "prune"),
        ("volume", "prune"),
        ("image", "prune"),
    ]
    assert all(json.loads(actor)["Attributes"]["reclaimed"].isdigit() for _, _, actor in told)


def test_a_bind_over_the_daemons_files_follows_the_host(daemon: Daemon) -> None:
    made = daemon.docker("create", "-v", "/:/host:ro", "busybox").stdout.strip()
    assert daemon.inspect(made)["Mounts"][0]["Propagation"] == "rslave"
    gone = daemon.docker("create", "-v", "/:/host:rprivate", "busybox", check=False)
    assert 'must use either propagation mode "rslave" or "rshared"' in gone.stderr
    daemon.docker("start", made)
