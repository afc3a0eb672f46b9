"""The API over a real socket, with a stand-in for the engine and the real client: the two ends against each other."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from knarr.api.client.http import ApiError, Http
from knarr.api.server.app import Api
from knarr.api.spec.others import Credentials
from knarr.engine.engine import Engine
from knarr.engine.errors import AlreadyStarted, NoSuchContainer
from knarr.engine.values import AttachOptions, Created, EventOptions, LogLine, LogOptions, Waited
from knarr.loop.http.server import Server
from knarr.model.container import (
    ContainerSpec,
    ContainerState,
    ContainerView,
    ExecSpec,
    ExecView,
    Status,
)
from knarr.model.errors import Conflict, NoSuchCommand, NotFound, Unauthorized
from knarr.model.image import Progress
from knarr.model.system import Event
from knarr.network.errors import PortTaken
from knarr.registry.client.transport import RegistryError
from knarr.wire import mux

T = TypeVar("T")


class Twin:
    """As much of an engine as these tests ask for."""

    def __init__(self) -> None:
        self.containers = TwinContainers()
        self.execs = TwinExecs()
        self.images = TwinImages()
        self.events = TwinEvents()
        self.logins: list[tuple[str, str]] = []

    async def login(self, host: str, credentials: Credentials) -> None:
        if credentials.password != "right":
            raise Unauthorized("incorrect username or password")
        self.logins.append((host, credentials.username))


class TwinContainers:
    def __init__(self) -> None:
        self.created: list[tuple[ContainerSpec, str | None]] = []
        self.waiting: asyncio.Future[Waited] = asyncio.get_running_loop().create_future()
        self.attached: list[AttachOptions] = []
        self.stopped = asyncio.Event()
        self.stopping, self.go_on = asyncio.Event(), asyncio.Event()
        self.failure: Exception | None = None

    async def create(self, spec: ContainerSpec, *, name: str | None) -> Created:
        self.created.append((spec, name))
        return Created("c" * 64, ("a warning",))

    async def start(self, name: str, **_: object) -> tuple[()]:
        if self.failure:
            raise self.failure
        return ()

    async def stop(self, name: str, **_: object) -> None:
        self.stopping.set()
        await self.go_on.wait()
        self.stopped.set()

    async def inspect(self, name: str, *, size: bool = False) -> ContainerView:
        if name == "missing":
            raise NoSuchContainer(name)
        spec = ContainerSpec(image="busybox", tty=name == "tty")
        return ContainerView(
            id=name, name=name, created=0, spec=spec, state=ContainerState(status=Status.CREATED),
            image_id="", path="sh", args=(),
        )  # fmt: skip

    check_attach = inspect

    async def begin_wait(self, name: str, condition: str) -> "asyncio.Future[Waited]":
        return self.waiting

    async def logs(self, name: str, options: LogOptions) -> AsyncIterator[LogLine]:
        async def lines() -> AsyncIterator[LogLine]:
            yield LogLine("stdout", 1_000_000_000, b"out\n")
            yield LogLine("stderr", 2_500_000_000, b"err\n")

        return lines()

    async def attach(self, name: str, sock: socket.socket, options: AttachOptions, tail: bytes) -> None:
        self.attached.append(options)
        await _echo(sock, tail)


class TwinExecs:
    async def create(self, container: str, spec: ExecSpec) -> str:
        return "e" * 64

    async def inspect(self, exec_id: str) -> ExecView:
        return ExecView(
            id=exec_id, container_id="c", spec=ExecSpec(command=("sh",)), running=False, exit_code=None, pid=0
        )

    check = inspect

    async def start(self, exec_id: str, *, sock: socket.socket, **_: object) -> None:
        raise NoSuchCommand('exec: "x": executable file not found in $PATH')


class TwinImages:
    def __init__(self) -> None:
        self.auth: Any = None

    async def pull(
        self, ref: object, *, platform: object, auth: object, all_tags: bool
    ) -> AsyncIterator[Progress]:
        self.auth = auth
        if "missing" in str(ref):
            raise NotFound("pull access denied for missing")
        yield Progress(status="Pulling from library/busybox", id="latest")
        raise Conflict("cut")


class TwinEvents:
    def __init__(self) -> None:
        self.queue: asyncio.Queue[Event] = asyncio.Queue()
        self.closed = asyncio.Event()

    async def subscribe(self, options: EventOptions) -> AsyncIterator[Event]:
        async def events() -> AsyncIterator[Event]:
            try:
                while True:
                    yield await self.queue.get()
            finally:
                self.closed.set()

        return events()


async def _echo(sock: socket.socket, tail: bytes) -> None:
    """All that comes, until it ends, and it again."""
    copy = sock.dup()

    def talk() -> None:
        with copy:
            copy.setblocking(True)
            data = bytearray(tail)
            while piece := copy.recv(1000):
                data += piece
            copy.sendall(data)

    await asyncio.to_thread(talk)


class World:
    """A served twin and a client for it."""

    def __init__(self, twin: Twin, path: str):
        self.twin = twin
        self.path = path
        self.http = Http(f"unix://{path}")

    async def call(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """The client blocks, so it has a thread."""
        return await asyncio.wait_for(asyncio.to_thread(function, *args, **kwargs), 60)

    async def json(self, method: str, path: str, **kwargs: Any) -> Any:
        def talk() -> Any:
            with self.http.request(method, path, **kwargs) as answer:
                return answer.json()

        return await self.call(talk)

    async def raw(self, data: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self.path)
        writer.write(data)
        answer = await asyncio.wait_for(reader.read(), 60)
        writer.close()
        return answer


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    twin = Twin()
    api = Api(cast("Engine", twin), twin.login)
    server = Server(api.handle)
    path = str(tmp_path / "s")
    await server.listen_unix(path)
    try:
        yield World(twin, path)
    finally:
        twin.containers.go_on.set()
        await server.close(1)
        await api.close()


async def refused(promise: Awaitable[Any]) -> tuple[int, str]:
    with pytest.raises(ApiError) as error:
        await promise
    return error.value.status, str(error.value)


async def test_create(world: World) -> None:
    body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"AutoRemove": True}}
    answer = await world.json("POST", "/containers/create", query={"name": "x"}, body=body)
    assert answer == {"Id": "c" * 64, "Warnings": ["a warning"]}
    spec, name = world.twin.containers.created[0]
    assert (name, spec.command, spec.auto_remove) == ("x", ("true",), True)


async def test_errors_have_dockers_statuses(world: World) -> None:
    assert await refused(world.json("GET", "/containers/missing/json")) == (404, "No such container: missing")
    assert await refused(world.json("GET", "/nowhere")) == (404, "page not found")
    assert (await refused(world.json("GET", "/nodes")))[0] == 503


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (PortTaken("x", "y", "Bind for 0.0.0.0:80 failed: port is already allocated"), 500),
        (NoSuchCommand("executable file not found in $PATH"), 400),
        (RegistryError(401, "UNAUTHORIZED", "no"), 401),
        (RegistryError(429, "TOOMANYREQUESTS", "no"), 500),
        (RuntimeError("a bug"), 500),
        (OSError(28, "No space left on device"), 500),
    ],
)
async def test_statuses_that_differ_from_their_kind(world: World, error: Exception, status: int) -> None:
    world.twin.containers.failure = error
    assert (await refused(world.json("POST", "/containers/x/start")))[0] == status


async def test_unchanged_is_304(world: World) -> None:
    world.twin.containers.failure = AlreadyStarted()
    assert b"HTTP/1.1 304 " in await world.raw(
        b"POST /v1.40/containers/x/start HTTP/1.1\r\nConnection: close\r\n\r\n"
    )


async def test_versions_are_checked_and_told(world: World) -> None:
    ping = await world.raw(b"GET /_ping HTTP/1.1\r\nConnection: close\r\n\r\n")
    head, _, body = ping.partition(b"\r\n\r\n")
    assert body == b"OK"
    for line in (b"Api-Version: 1.55", b"Ostype: linux", b"Docker-Experimental: false"):
        assert line in head
    new = await world.raw(b"GET /v1.99/_ping HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert new.startswith(b"HTTP/1.1 400 ")
    assert json.loads(new.partition(b"\r\n\r\n")[2]) == {
        "message": "client version 1.99 is too new. Maximum supported API version is 1.55"
    }
    old = await world.raw(b"GET /v1.10/_ping HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert old.startswith(b"HTTP/1.1 400 ")
    assert b"text/plain" in old


async def test_a_body_that_is_no_json(world: World) -> None:
    answer = await world.raw(
        b"POST /containers/create HTTP/1.1\r\nConnection: close\r\nContent-Type: application/json\r\n"
        b"Content-Length: 1\r\n\r\n{"
    )
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"invalid JSON: unexpected EOF" in answer
    answer = await world.raw(
        b"POST /containers/create HTTP/1.1\r\nConnection: close\r\nContent-Type: text/plain\r\n"
        b"Content-Length: 2\r\n\r\n{}"
    )
    assert b"unsupported Content-Type header (text/plain): must be 'application/json'" in answer


async def test_the_head_of_a_wait_comes_before_its_end(world: World) -> None:
    answer = await world.call(world.http.request, "POST", "/containers/x/wait")
    assert answer.status == 200
    world.twin.containers.waiting.set_result(Waited(7))
    with answer:
        assert await world.call(answer.json) == {"StatusCode": 7}


async def test_logs_are_framed_unless_there_is_a_terminal(world: World) -> None:
    def read(name: str) -> tuple[str, bytes]:
        query = {"stdout": 1, "stderr": 1, "timestamps": 1}
        with world.http.request("GET", f"/containers/{name}/logs", query) as answer:
            return answer.headers["content-type"], answer.read()

    assert await world.call(read, "x") == (
        "application/vnd.docker.multiplexed-stream",
        mux.encode(1, b"1970-01-01T00:00:01.000000000Z out\n")
        + mux.encode(2, b"1970-01-01T00:00:02.500000000Z err\n"),
    )
    kind, data = await world.call(read, "tty")
    assert kind == "application/vnd.docker.raw-stream"
    assert data == b"1970-01-01T00:00:01.000000000Z out\n1970-01-01T00:00:02.500000000Z err\n"


async def test_logs_of_nothing_are_refused(world: World) -> None:
    assert await refused(world.json("GET", "/containers/x/logs")) == (
        400,
        "Bad parameters: you must choose at least one stream",
    )


async def test_attach_takes_the_connection_over(world: World) -> None:
    def talk(name: str) -> tuple[bool, bytes]:
        taken = world.http.hijack(f"/containers/{name}/attach", {"stream": 1, "stdin": 1, "stdout": 1})
        with taken.sock:
            taken.sock.sendall(b"hello " * 1000)
            taken.sock.shutdown(socket.SHUT_WR)
            data = bytearray(taken.tail)
            while piece := taken.sock.recv(1 << 16):
                data += piece
            return taken.framed, bytes(data)

    assert await world.call(talk, "x") == (True, b"hello " * 1000)
    assert await world.call(talk, "tty") == (False, b"hello " * 1000)
    options = world.twin.containers.attached[0]
    assert (options.stdin, options.stdout, options.stderr, options.framed) == (True, True, False, True)


async def test_attach_without_upgrade_is_200(world: World) -> None:
    reader, writer = await asyncio.open_unix_connection(world.path)
    writer.write(b"POST /containers/x/attach?stream=1 HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
    assert head == b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"
    writer.write(b"behind")
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), 60) == b"behind"
    writer.close()


async def test_attach_to_nothing_is_404(world: World) -> None:
    assert (await refused(world.call(world.http.hijack, "/containers/missing/attach")))[0] == 404


async def test_an_exec_that_cannot_start_says_so_in_its_stream(world: World) -> None:
    def talk() -> bytes:
        taken = world.http.hijack("/exec/e/start", body={"Detach": False, "Tty": False})
        with taken.sock:
            data = bytearray(taken.tail)
            while piece := taken.sock.recv(1 << 16):
                data += piece
            return bytes(data)

    text = b'exec: "x": executable file not found in $PATH\r\n'
    assert await world.call(talk) == mux.encode(1, text)


async def test_a_transfer_that_fails_at_once_has_a_status(world: World) -> None:
    assert await refused(world.json("POST", "/images/create", query={"fromImage": "missing"})) == (
        404,
        "pull access denied for missing",
    )


async def test_a_transfer_that_fails_later_says_so_in_its_lines(world: World) -> None:
    def talk() -> list[Any]:
        query = {"fromImage": "busybox", "tag": "latest"}
        auth = {"X-Registry-Auth": "eyJ1c2VybmFtZSI6ICJ1IiwgInBhc3N3b3JkIjogInAifQ=="}
        with world.http.request("POST", "/images/create", query, headers=auth) as answer:
            return list(answer.lines())

    assert await world.call(talk) == [
        {"status": "Pulling from library/busybox", "progressDetail": {}, "id": "latest"},
        {"errorDetail": {"message": "cut"}, "error": "cut"},
    ]
    assert (world.twin.images.auth.username, world.twin.images.auth.password) == ("u", "p")


async def test_events_are_sent_as_they_happen_and_end_with_the_client(world: World) -> None:
    answer = await world.call(world.http.request, "GET", "/events")
    lines = answer.lines()
    for action in ("create", "start"):
        await world.twin.events.queue.put(
            Event(type="container", action=action, id="c", at=1_500_000_000, attributes={"image": "b"})
        )
        assert await world.call(next, lines) == {
            "status": action,
            "id": "c",
            "from": "b",
            "Type": "container",
            "Action": action,
            "Actor": {"ID": "c", "Attributes": {"image": "b"}},
            "scope": "local",
            "time": 1,
            "timeNano": 1_500_000_000,
        }
    answer.close()
    await asyncio.wait_for(world.twin.events.closed.wait(), 60)


async def test_what_was_begun_goes_on_without_its_client(world: World) -> None:
    containers = world.twin.containers
    _, writer = await asyncio.open_unix_connection(world.path)
    writer.write(b"POST /containers/x/stop HTTP/1.1\r\n\r\n")
    await asyncio.wait_for(containers.stopping.wait(), 60)
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    containers.go_on.set()
    await asyncio.wait_for(containers.stopped.wait(), 60)


async def test_filters_that_are_none(world: World) -> None:
    status, text = await refused(world.json("GET", "/events", query={"filters": "nonsense"}))
    assert status == 400
    assert text == "invalid filter"


@pytest.mark.parametrize(
    ("address", "host"),
    [("https://index.docker.io/v1/", "docker.io"), ("127.0.0.1:5000", "127.0.0.1:5000"), ("", "docker.io")],
)
async def test_login(world: World, address: str, host: str) -> None:
    body = {"username": "u", "password": "right", "serveraddress": address}
    assert await world.json("POST", "/auth", body=body) == {"IdentityToken": "", "Status": "Login Succeeded"}
    assert world.twin.logins == [(host, "u")]
    body["password"] = "wrong"
    assert await refused(world.json("POST", "/auth", body=body)) == (401, "incorrect username or password")
