"""POST /build with version=2: BuildKit's build by the classic API, as docker CLIs without buildx ask for it. Trace lines are its Status."""

import base64
import contextlib
import http.client
import io
import json
import socket
import tarfile
import threading
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

import pytest

from knarr.build.proto.control_pb2 import StatusResponse
from tests.support.daemons import Daemon

Line = dict[str, Any]


def archive(files: Mapping[str, str]) -> bytes:
    """A context."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()


@contextlib.contextmanager
def asked(
    daemon: Daemon, path: str, query: Mapping[str, str], body: bytes = b""
) -> Iterator[http.client.HTTPResponse]:
    """One request; what is left of its answer is read at the end."""
    connection = http.client.HTTPConnection("localhost", timeout=60)
    connection.sock = socket.socket(socket.AF_UNIX)
    with contextlib.closing(connection):
        connection.sock.connect(str(daemon.socket))
        headers = {"Content-Type": "application/x-tar"}
        connection.request("POST", f"/v1.47{path}?{urlencode(query)}", body, headers)
        with connection.getresponse() as answer:
            yield answer


def status_of(daemon: Daemon, path: str, query: Mapping[str, str]) -> int:
    """Of a request without a body."""
    with asked(daemon, path, query) as answer:
        return answer.status


def parsed(data: bytes) -> list[Line]:
    """An answer's lines."""
    return [json.loads(line) for line in data.splitlines() if line.strip()]


def build(daemon: Daemon, files: Mapping[str, str], **query: str) -> tuple[int, list[Line]]:
    """The status and the lines."""
    with asked(daemon, "/build", {"version": "2", **query}, archive(files)) as answer:
        return answer.status, parsed(answer.read())


def trace(line: Line) -> StatusResponse:
    """What a trace line tells."""
    return StatusResponse.FromString(base64.b64decode(line["aux"]))


def printed(lines: list[Line]) -> str:
    """What steps wrote."""
    found = [trace(line) for line in lines if line.get("id") == "moby.buildkit.trace"]
    return b"".join(log.msg for each in found for log in each.logs).decode()


@pytest.fixture
def built(daemon: Daemon) -> Iterator[str]:
    """A name for an image that goes."""
    yield "direct:1"
    daemon.docker("rmi", "-f", "direct:1", check=False)


def test_a_context_in_the_body(daemon: Daemon, built: str) -> None:
    files = {
        "Dockerfile": "FROM busybox\nARG WHO\nRUN echo hello $WHO\nCOPY file /file\n",
        "file": "contents\n",
    }
    arguments = json.dumps({"WHO": "you"})
    status, lines = build(
        daemon, files, t=built, buildargs=arguments, labels='{"a":"b"}', nocache="1", networkmode="none"
    )
    assert status == 200
    assert "hello you" in printed(lines)
    names = {vertex.name for line in lines[:-1] for vertex in trace(line).vertexes}
    assert any("RUN echo hello" in name for name in names)
    assert lines[-1] == {"id": "moby.image.id", "aux": {"ID": daemon.inspect(built)["Id"]}}
    assert daemon.inspect(built)["Config"]["Labels"] == {"a": "b"}
    assert daemon.docker("run", "--rm", built, "cat", "/file").stdout == "contents\n"


def test_quietly(daemon: Daemon, built: str) -> None:
    status, lines = build(daemon, {"Dockerfile": "FROM busybox\nENV A=1\n"}, t=built, q="1")
    assert (status, lines) == (200, [{"stream": f"{daemon.inspect(built)['Id']}\n"}])


def test_a_step_that_fails(daemon: Daemon) -> None:
    status, lines = build(daemon, {"Dockerfile": "FROM busybox\nRUN echo before; exit 3\n"})
    text = 'process "/bin/sh -c echo before; exit 3" did not complete successfully: exit code: 3'
    assert status == 200
    assert "before" in printed(lines)
    assert lines[-1] == {"errorDetail": {"message": text}, "error": text}


def test_a_context_by_a_second_request(daemon: Daemon, built: str) -> None:
    files = archive({"Dockerfile": "FROM busybox\nRUN echo uploaded\n"})
    query = {"version": "2", "remote": "upload-request", "buildid": "0123abcd", "t": built, "nocache": "1"}
    found: list[Line] = []

    def run() -> None:
        with asked(daemon, "/build", query) as answer:
            found.extend(parsed(answer.read()))

    building = threading.Thread(target=run)
    building.start()
    with asked(daemon, "/build", {"version": "2", "buildid": "upload-request:0123abcd"}, files) as upload:
        assert (upload.status, upload.read()) == (200, b"")
    building.join(60)
    assert "uploaded" in printed(found)
    assert found[-1]["id"] == "moby.image.id"


def test_a_build_is_cancelled(daemon: Daemon) -> None:
    files = archive({"Dockerfile": "FROM busybox\nRUN echo begun; sleep 600\n"})
    query = {"version": "2", "buildid": "abcd0123", "nocache": "1"}
    lines: list[Line] = []
    with asked(daemon, "/build", query, files) as answer:
        while "begun" not in printed(lines):
            lines += parsed(answer.readline())
        assert status_of(daemon, "/build/cancel", {"id": "abcd0123"}) == 200
        rest = parsed(answer.read())
    assert "cancel" in rest[-1]["error"].lower()
    assert status_of(daemon, "/build/cancel", {"id": "nothing"}) == 200
    assert status_of(daemon, "/build/cancel", {}) == 400


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"networkmode": "nope"}, 'network mode "nope" not supported by buildkit'),
        ({"extrahosts": "nohost"}, "invalid host nohost"),
        ({"outputs": '[{"Type":"local"},{"Type":"tar"}]'}, "multiple outputs not supported"),
        ({"platform": "what"}, '"what": unknown operating system or architecture'),
        ({"t": "Bad"}, "repository name"),
    ],
)
def test_what_cannot_be(daemon: Daemon, query: dict[str, str], message: str) -> None:
    """dockerd has lost its errors' classes: 500 where it is the client's fault."""
    status, lines = build(daemon, {"Dockerfile": "FROM busybox\n"}, **query)
    assert status in (400, 500)
    assert message in lines[0]["message"]
