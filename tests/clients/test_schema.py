"""Every operation of the Engine API, outside swarm, plugins and building: each answer is what engine-api.yaml says, field by field."""

import base64
import contextlib
import http.client
import io
import json
import socket
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.support.daemons import Daemon
from tests.support.registries import knarr_registry
from tests.support.schemas import Schemas

SCHEMAS = Schemas.load()
# Where dockerd 28.5 sends null although the definitions do not say so: Go's nil slices, maps and pointers.
HOST_CONFIG_NULLS = (
    "Binds",
    "BlkioDeviceReadBps",
    "BlkioDeviceReadIOps",
    "BlkioDeviceWriteBps",
    "BlkioDeviceWriteIOps",
    "BlkioWeightDevice",
    "CapAdd",
    "CapDrop",
    "DeviceCgroupRules",
    "DeviceRequests",
    "Devices",
    "Dns",
    "DnsOptions",
    "DnsSearch",
    "ExtraHosts",
    "GroupAdd",
    "Links",
    "MemorySwappiness",
    "PortBindings",
    "SecurityOpt",
    "Ulimits",
    "VolumesFrom",
)
NULLS = {
    "GET /containers/json 200[].NetworkSettings.Networks.*.Aliases",
    "GET /containers/json 200[].NetworkSettings.Networks.*.DNSNames",
    "GET /containers/json 200[].NetworkSettings.Networks.*.Links",
    "GET /containers/{id}/changes 200",
    "GET /containers/{id}/json 200.Config.Entrypoint",
    "GET /containers/{id}/json 200.Config.Volumes",
    *(f"GET /containers/{{id}}/json 200.HostConfig.{name}" for name in HOST_CONFIG_NULLS),
    "GET /containers/{id}/json 200.NetworkSettings.Networks.*.Aliases",
    "GET /containers/{id}/json 200.NetworkSettings.Networks.*.DNSNames",
    "GET /containers/{id}/json 200.NetworkSettings.Networks.*.Links",
    "GET /containers/{id}/stats 200.blkio_stats.io_service_bytes_recursive",
    "GET /exec/{id}/json 200.ExitCode",
    "GET /images/json 200[].Labels",
    "GET /info 200.GenericResources",
    "GET /info 200.Plugins.Authorization",
    "GET /info 200.RegistryConfig.Mirrors",
    "GET /info 200.Warnings",
    "GET /networks/{id} 200.IPAM.Config",
    "GET /networks/{id} 200.IPAM.Options",
    "GET /networks 200[].IPAM.Config",
    "GET /networks 200[].IPAM.Options",
    "GET /volumes 200.Volumes[].Labels",
    "GET /volumes 200.Volumes[].Options",
    "GET /volumes 200.Warnings",
    "GET /volumes/{name} 200.Labels",
    "GET /volumes/{name} 200.Options",
    "POST /build/prune 200.CachesDeleted",
    "POST /containers/prune 200.ContainersDeleted",
    "POST /containers/{id}/update 200.Warnings",
    "POST /images/prune 200.ImagesDeleted",
    "POST /networks/prune 200.NetworksDeleted",
    "POST /volumes/create 201.Labels",
    "POST /volumes/create 201.Options",
    "POST /volumes/prune 200.VolumesDeleted",
}
# What the definitions left out in 1.53, but moby still sends unless `verbose` is asked for (daemon/server/router/system).
LEGACY = {
    f"GET /system/df 200.{name}" for name in ("LayersSize", "Images", "Containers", "Volumes", "BuildCache")
}
IMAGE_CONFIG_NULLS = {
    f"GET /images/{{name}}/json 200.Config.{name}" for name in ("Entrypoint", "Labels", "Volumes")
}
# Streams, held by the tests of attach and exec; what needs a registry's search; what is refused to a node outside a swarm.
ELSEWHERE = {
    ("POST", "/containers/{id}/attach"),
    ("GET", "/containers/{id}/attach/ws"),
    ("GET", "/images/search"),
    ("GET", "/images/{name}/attestations"),
    ("PUT", "/volumes/{name}"),
}
# Streams that are no JSON, and answers that have none.
_NO_JSON = ("application/x-tar", "application/octet-stream", "text/plain", "application/vnd.docker")
_LINES = {
    ("GET", "/events"),
    ("POST", "/images/create"),
    ("POST", "/images/load"),
    ("POST", "/images/{name}/push"),
}


class Checked:
    """A client that holds every answer against the definitions, and remembers which operations it saw."""

    def __init__(self, daemon: Daemon, version: str, *, newest: bool) -> None:
        self._daemon, self._prefix, self._newest = daemon, f"/v{version}", newest
        self.seen: set[tuple[str, str]] = set()
        self.faults: set[str] = set()

    def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        wanted: int = 200,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        """One request; `wanted` is the status that must come. The body, read as JSON where it is."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        kind = {"Content-Type": "application/x-tar" if isinstance(body, bytes) else "application/json"}
        connection = http.client.HTTPConnection("localhost", timeout=90)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self._daemon.socket))
        with contextlib.closing(connection):
            url = f"{self._prefix}{path}" + (f"?{urlencode(query)}" if query else "")
            connection.request(method, url, data, {**(kind if data else {}), **(headers or {})})
            answer = connection.getresponse()
            content = answer.read()
        assert answer.status == wanted, f"{method} {path}: {answer.status} {content[:500]!r}"
        return self._checked(method, path, answer, content)

    def _checked(self, method: str, path: str, answer: http.client.HTTPResponse, content: bytes) -> Any:
        operation = SCHEMAS.operation(method, path)
        assert operation, f"{method} {path} is no operation"
        if answer.status < 400:
            self.seen.add(operation)
        kind = answer.getheader("Content-Type", "")
        if not content or kind.startswith(_NO_JSON):
            return content
        if operation in _LINES and answer.status < 400:
            lines = [json.loads(line) for line in content.splitlines() if line.strip()]
            if operation == ("GET", "/events"):
                for line in lines:
                    self._hold(operation, answer.status, line)
            return lines
        assert kind == "application/json", f"{method} {path}: {kind}"
        assert content.endswith(b"\n"), f"{method} {path}: no line end"
        value = json.loads(content)
        self._hold(operation, answer.status, value)
        return value

    def _hold(self, operation: tuple[str, str], status: int, value: Any) -> None:
        for fault in SCHEMAS.faults(operation, status, value):
            where, _, what = f"{' '.join(operation)} {status}{fault}".partition(": ")
            if what == "is null" and (where in NULLS or (not self._newest and where in IMAGE_CONFIG_NULLS)):
                continue
            if what == "is not in the API" and (where in LEGACY or not self._newest):
                continue
            self.faults.add(f"{where}: {what}")


@pytest.fixture(scope="module")
def seen() -> Iterator[dict[str, set[tuple[str, str]]]]:
    """Which operations each test saw; in the end, if every test ran, none may be missing."""
    found: dict[str, set[tuple[str, str]]] = {}
    yield found
    if found.keys() >= {name for name in globals() if name.startswith("test_")}:
        missing = SCHEMAS.operations.keys() - set().union(*found.values()) - ELSEWHERE
        assert not {each for each in missing if not each[1].startswith("/plugins/")}


@pytest.fixture
def api(
    daemon: Daemon, peer: bool, seen: dict[str, set[tuple[str, str]]], request: pytest.FixtureRequest
) -> Iterator[Checked]:
    """Checks the newest version that the daemon speaks."""
    version = daemon.docker("version", "-f", "{{.Server.APIVersion}}").stdout.strip()
    if not peer:
        version = daemon.api("GET", "/version")[1]["ApiVersion"]
        assert version == "1.55"
    checked = Checked(daemon, version, newest=not peer)
    yield checked
    seen.setdefault(request.function.__name__, set()).update(checked.seen)
    assert not checked.faults, "\n".join(sorted(checked.faults))


def create(api: Checked, name: str, **fields: Any) -> str:
    """A container of busybox."""
    body = {"Image": "busybox", "Cmd": ["sleep", "600"], **fields}
    made: str = api("POST", "/containers/create", body, wanted=201, query={"name": name})["Id"]
    return made


def archive() -> bytes:
    """A tar with one file."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        entry = tarfile.TarInfo("file")
        entry.size = 5
        tar.addfile(entry, io.BytesIO(b"hello"))
    return out.getvalue()


def test_containers_of_several_kinds(api: Checked, tmp_path: Path) -> None:
    api("POST", "/networks/create", {"Name": "mine", "Driver": "bridge"}, wanted=201)
    create(
        api,
        "rich",
        Cmd=["sh", "-c", "echo out; echo err >&2; touch /made; exec sleep 600"],
        Hostname="rich",
        Env=["A=b"],
        User="0",
        Labels={"l": "v"},
        ExposedPorts={"80/tcp": {}, "81/udp": {}},
        Healthcheck={"Test": ["CMD-SHELL", "true"], "Interval": 1_000_000_000},
        StopSignal="SIGTERM",
        StopTimeout=1,
        Volumes={"/anonymous": {}},
        HostConfig={
            "Binds": [f"{tmp_path}:/bound:ro", "named:/named"],
            "Mounts": [{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 65536}}],
            "Tmpfs": {"/run": "size=64k"},
            "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]},
            "NetworkMode": "mine",
            "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2},
            "Memory": 64 << 20,
            "Ulimits": [{"Name": "nofile", "Soft": 64, "Hard": 64}],
            "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/n", "CgroupPermissions": "r"}],
            "CapAdd": ["NET_ADMIN"],
            "SecurityOpt": ["no-new-privileges"],
            "Sysctls": {"net.ipv4.ip_forward": "1"},
            "ExtraHosts": ["other:10.0.0.1"],
            "Dns": ["10.0.0.2"],
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
            "Annotations": {"a": "b"},
            "Init": True,
        },
        NetworkingConfig={"EndpointsConfig": {"mine": {"Aliases": ["alias"], "DriverOpts": {"a": "b"}}}},
    )
    create(api, "plain", Cmd=["true"])
    create(api, "paused", Tty=True, OpenStdin=True)
    create(api, "none", HostConfig={"NetworkMode": "none"})
    create(api, "host", HostConfig={"NetworkMode": "host"})
    create(api, "created")
    api("GET", "/containers/rich/json")
    for name in ("rich", "plain", "paused", "none", "host"):
        api("POST", f"/containers/{name}/start", wanted=204)
    api("POST", "/containers/paused/pause", wanted=204)
    assert api("POST", "/containers/plain/wait")["StatusCode"] == 0
    while api("GET", "/containers/rich/json")["State"]["Health"]["Status"] != "healthy":
        pass
    for name in ("rich", "plain", "paused", "none", "host", "created"):
        api("GET", f"/containers/{name}/json", query={"size": "1"})
        api("GET", f"/containers/{name}/changes")
        api("GET", f"/containers/{name}/stats", query={"stream": "0", "one-shot": "1"})
    api("GET", "/containers/rich/stats", query={"stream": "0"})
    assert len(api("GET", "/containers/json", query={"all": "1", "size": "1"})) == 6
    api("GET", "/containers/rich/top")
    api("GET", "/containers/rich/logs", query={"stdout": "1", "stderr": "1"})
    assert api("GET", "/networks/mine")["Containers"]
    df = api("GET", "/system/df", query={"verbose": "1"})
    assert df
    api("GET", "/info")
    api("POST", "/containers/paused/unpause", wanted=204)
    api("POST", "/containers/paused/resize", query={"h": "10", "w": "20"})
    api("POST", "/containers/none/kill", wanted=204)
    api("POST", "/containers/created/rename", wanted=204, query={"name": "renamed"})
    api("POST", "/containers/rich/update", {"Memory": 128 << 20, "MemorySwap": -1})
    api("POST", "/containers/paused/restart", wanted=204, query={"t": "0"})
    api("POST", "/containers/paused/stop", wanted=204, query={"t": "0"})
    api("POST", "/containers/paused/stop", wanted=304)
    api("PUT", "/containers/rich/archive", archive(), query={"path": "/tmp"})
    api("HEAD", "/containers/rich/archive", query={"path": "/tmp/file"})
    api("GET", "/containers/rich/archive", query={"path": "/tmp/file"})
    api("GET", "/containers/plain/export")
    api("POST", "/commit", {}, wanted=201, query={"container": "plain", "repo": "committed"})
    api("DELETE", "/containers/rich", wanted=204, query={"force": "1", "v": "1"})
    assert api("POST", "/containers/prune")["ContainersDeleted"]
    assert api("POST", "/containers/prune")["SpaceReclaimed"] == 0
    api("DELETE", "/containers/host", wanted=204, query={"force": "1"})
    api("POST", "/networks/prune")
    api("DELETE", "/images/committed", query={"force": "1"})


def test_execs(api: Checked) -> None:
    create(api, "box")
    api("POST", "/containers/box/start", wanted=204)
    for body in (
        {"Cmd": ["true"], "User": "1:1"},
        {"Cmd": ["sleep", "60"], "Tty": True, "AttachStdin": True},
    ):
        made = api("POST", "/containers/box/exec", body, wanted=201)["Id"]
        api("GET", f"/exec/{made}/json")
        api("POST", f"/exec/{made}/start", {"Detach": True, "Tty": body.get("Tty", False)})
        api("GET", f"/exec/{made}/json")
    api("POST", f"/exec/{made}/resize", query={"h": "10", "w": "20"})
    assert api("GET", "/containers/box/json")["ExecIDs"]


def test_images_and_registries(api: Checked, tmp_path: Path) -> None:
    with knarr_registry(tmp_path / "registry") as port:
        login = {"username": "u", "password": "p", "serveraddress": f"127.0.0.1:{port}"}
        header = {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(login).encode()).decode()}
        name = f"127.0.0.1:{port}/box"
        api("POST", "/images/busybox/tag", wanted=201, query={"repo": name, "tag": "1"})
        api("POST", f"/images/{name}/push", query={"tag": "1"}, headers=header)
        api("GET", f"/distribution/{name}:1/json", headers=header)
        api("DELETE", f"/images/{name}:1")
        api("POST", "/images/create", query={"fromImage": name, "tag": "1"}, headers=header)
        create(api, "user", Image=f"{name}:1")
        for query in ({}, {"all": "1"}, {"shared-size": "1"}, {"digests": "1"}):
            assert api("GET", "/images/json", query=query)
        api("GET", f"/images/{name}:1/json")
        api("GET", f"/images/{name}:1/history")
        saved = api("GET", "/images/get", query={"names": f"{name}:1"})
        api("GET", f"/images/{name}:1/get")
        api("POST", "/images/load", saved, query={"quiet": "1"})
        api("POST", "/auth", login)
        api("GET", "/system/df")
        api("DELETE", "/containers/user", wanted=204)
        api("DELETE", f"/images/{name}:1")
    api("POST", "/images/create", archive(), query={"fromSrc": "-", "repo": "imported"})
    api("DELETE", "/images/imported")
    api("POST", "/images/prune", query={"filters": '{"dangling": ["true"]}'})


def test_volumes_and_networks(api: Checked) -> None:
    made = {"Name": "rich", "Labels": {"l": "v"}, "DriverOpts": {"type": "tmpfs", "device": "tmpfs"}}
    for body in (made, {"Name": "plain"}, {}):
        api("POST", "/volumes/create", body, wanted=201)
    for name in ("rich", "plain"):
        api("GET", f"/volumes/{name}")
    assert len(api("GET", "/volumes")["Volumes"]) >= 3
    api("DELETE", "/volumes/rich", wanted=204)
    api("DELETE", "/volumes/plain", wanted=204)
    assert api("POST", "/volumes/prune")["VolumesDeleted"]
    api("POST", "/volumes/prune")
    api("GET", "/volumes")
    ranges = [{"Subnet": "10.231.44.0/24", "Gateway": "10.231.44.1", "IPRange": "10.231.44.0/25"}]
    rich = {
        "Name": "rich",
        "IPAM": {"Config": ranges, "Options": {"a": "b"}},
        "Labels": {"l": "v"},
        "Internal": True,
    }
    api("POST", "/networks/create", rich, wanted=201)
    api("POST", "/networks/create", {"Name": "plain"}, wanted=201)
    create(api, "box", HostConfig={"NetworkMode": "none"})
    api("POST", "/networks/rich/connect", {"Container": "box"}, wanted=400)
    create(api, "other")
    api("POST", "/containers/other/start", wanted=204)
    asked = {"IPAMConfig": {"IPv4Address": "10.231.44.9"}, "Aliases": ["a"]}
    api("POST", "/networks/rich/connect", {"Container": "other", "EndpointConfig": asked})
    api("GET", "/containers/other/json")
    for name in ("rich", "plain", "bridge", "none", "host"):
        api("GET", f"/networks/{name}")
    assert len(api("GET", "/networks")) >= 5
    api("POST", "/networks/rich/disconnect", {"Container": "other"})
    api("DELETE", "/networks/rich", wanted=204)
    assert api("POST", "/networks/prune")["NetworksDeleted"]
    api("POST", "/networks/prune")


def test_the_daemon(api: Checked) -> None:
    for method in ("GET", "HEAD"):
        api(method, "/_ping")
    api("GET", "/version")
    api("GET", "/info")
    api("GET", "/system/df", query={"type": "image"})
    create(api, "box")
    api("POST", "/containers/box/start", wanted=204)
    until = f"{time.time():.9f}"
    events = api("GET", "/events", query={"since": "1", "until": until})
    assert {"container", "network"} <= {each["Type"] for each in events}
    assert api("GET", "/plugins") == []
    api("POST", "/build/prune")


@pytest.mark.parametrize(
    ("method", "path", "body", "query", "status"),
    [
        ("GET", "/containers/nothing/json", None, {}, 404),
        ("GET", "/containers/json", None, {"filters": '{"nothing": ["x"]}'}, 400),
        ("GET", "/containers/json", None, {"filters": "{"}, 400),
        ("POST", "/containers/create", {}, {}, 400),
        ("POST", "/containers/create", {"Image": "nothing"}, {}, 404),
        ("POST", "/containers/create", {"Image": "busybox"}, {"name": "/"}, 400),
        ("POST", "/containers/nothing/start", None, {}, 404),
        ("POST", "/containers/nothing/wait", None, {"condition": "x"}, 400),
        ("GET", "/containers/nothing/logs", None, {}, 400),
        ("GET", "/containers/nothing/logs", None, {"stdout": "1"}, 404),
        ("GET", "/containers/nothing/archive", None, {}, 400),
        ("HEAD", "/containers/nothing/archive", None, {"path": "/"}, 404),
        ("GET", "/exec/nothing/json", None, {}, 404),
        ("POST", "/exec/nothing/start", {}, {}, 404),
        ("POST", "/containers/nothing/exec", {}, {}, 400),
        ("GET", "/images/nothing/json", None, {}, 404),
        ("GET", "/images/json", None, {"filters": '{"nothing": ["x"]}'}, 400),
        ("DELETE", "/images/nothing", None, {}, 404),
        ("GET", "/volumes/nothing", None, {}, 404),
        ("GET", "/volumes", None, {"filters": '{"nothing": ["x"]}'}, 400),
        ("GET", "/networks/nothing", None, {}, 404),
        ("GET", "/networks", None, {"filters": '{"nothing": ["x"]}'}, 400),
        ("POST", "/networks/create", {"Name": ""}, {}, 400),
        ("POST", "/networks/create", {"Name": "bridge"}, {}, 403),
        ("GET", "/system/df", None, {"type": "x"}, 400),
        ("POST", "/commit", {}, {"container": "nothing"}, 404),
        ("GET", "/plugins/nothing/json", None, {}, 404),
    ],
)
def test_errors(api: Checked, method: str, path: str, body: Any, query: dict[str, str], status: int) -> None:
    api(method, path, body, wanted=status, query=query)
