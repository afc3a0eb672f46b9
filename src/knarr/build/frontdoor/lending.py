"""The sessions that clients hold open: each is a connection on which the daemon calls the client.

A session comes by POST /session, or inside Control/Session as a stream of bytes. A build names it by its id and may be
there before it.
"""

import asyncio
import contextlib
import socket
import stat
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from urllib.parse import quote

from knarr.build.context.entries import Entry, Index
from knarr.build.context.store import Files
from knarr.build.errors import BuildFailed, NoSuchSession
from knarr.build.frontdoor import consoles, contents, filesend, filesync, sshforward
from knarr.build.frontdoor.failures import translated
from knarr.build.places import UPLOADED
from knarr.build.port import Console, Session
from knarr.build.progress import Step
from knarr.build.proto.control_pb2 import BytesMessage
from knarr.build.proto.secrets_pb2 import GetSecretRequest, GetSecretResponse
from knarr.build.proto.session_pb2 import CredentialsRequest, CredentialsResponse
from knarr.grpc.client import Caller
from knarr.grpc.status import RpcError, Status
from knarr.loop.blocking import blocking

# Longer than BuildKit waits: on a busy machine a client may be stopped between two of its calls for more than five seconds.
PATIENCE = 20.0
IGNORE = ".dockerignore"
_GET_SECRET = "/moby.buildkit.secrets.v1.Secrets/GetSecret"
_PULL = "/moby.upload.v1.Upload/Pull"
_CREDENTIALS = "/moby.filesync.v1.Auth/Credentials"


class ClientSession:
    """One client's; see port.Session. `methods` are those that it answers."""

    def __init__(self, name: str, shared_key: str, methods: Iterable[str], caller: Caller, files: Files):
        self.id = name
        self._key = shared_key
        self._methods = {method.lower() for method in methods}
        self._caller = caller
        self._files = files

    async def directory(
        self,
        name: str,
        step: Step,
        *,
        follow: Sequence[str] = (),
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        label: str = "context",
    ) -> Index:
        if not self._offers(filesync.DIFF_COPY):
            raise BuildFailed(f"no local sources enabled: {name}")
        # What is asked for alone is small, and must not take the place of the whole context's index.
        key = f"{self._key}\0{name}" if self._key and tuple(follow) != (IGNORE,) else ""
        known = self._files.recent(key) if key else {}
        if known is None:
            known = await blocking(self._files.remembered, key)
        metadata = [("dir-name", name)]
        for header, values in (
            ("followpaths", follow),
            ("include-patterns", include),
            ("exclude-patterns", exclude),
        ):
            metadata += _headers(header, values)
        with step.task(f"transferring {label}:", "transferring") as task, translated():
            index = await filesync.receive(self._caller, metadata, self._files, known, task.at)
        if key:
            keep = self._files.remember_again if index is known else self._files.remember
            await blocking(keep, key, index)
        return index

    async def upload(self, address: str, name: str, step: Step) -> Index:
        if not self._offers(_PULL):
            raise BuildFailed(f"the client uploads nothing: {address}")
        path = address.removeprefix(UPLOADED.rstrip("/"))
        size = 0
        with self._files.writing() as writing, step.task("uploading", "uploading") as task, translated():
            async with self._caller.stream(_PULL, BytesMessage, [("urlpath", path)]) as stream:
                await stream.end()
                while (message := await stream.receive()) is not None:
                    await blocking(writing.write, message.data)
                    size += len(message.data)
                    task.at(size)
            digest = await blocking(writing.finish)
        return {name: Entry(path=name, mode=stat.S_IFREG | 0o600, size=size, digest=digest)}

    async def secret(self, name: str) -> bytes | None:
        if not self._offers(_GET_SECRET):
            return None
        try:
            reply = await self._caller.unary(_GET_SECRET, GetSecretRequest(ID=name), GetSecretResponse)
            return reply.data
        except RpcError as error:
            if error.status in (Status.NOT_FOUND, Status.UNIMPLEMENTED):
                return None
            raise BuildFailed(error.message or "the client refused a secret") from error

    def ssh_agent(self, name: str) -> AbstractAsyncContextManager[str]:
        if not self._offers(sshforward.FORWARD_AGENT):
            raise BuildFailed(f"unset ssh forward key {name}")
        return sshforward.forwarded(self._caller, name)

    def console(self, title: str) -> AbstractAsyncContextManager[Console] | None:
        return consoles.entered(self._caller, title) if self._offers(consoles.ENTER) else None

    async def credentials(self, host: str) -> tuple[str, str]:
        if not self._offers(_CREDENTIALS):
            return "", ""
        with translated():
            asked = CredentialsRequest(Host=host)
            reply = await self._caller.unary(_CREDENTIALS, asked, CredentialsResponse)
        return reply.Username, reply.Secret

    async def send_file(
        self, exporter: int, metadata: Mapping[str, str], chunks: AsyncIterator[bytes]
    ) -> None:
        with translated():
            await filesend.send_file(self._caller, exporter, metadata, chunks)

    async def send_tree(self, exporter: int, root: str, divided: bool) -> None:
        with translated():
            await filesend.send_tree(self._caller, exporter, root, divided)

    def contents(self, store: str) -> contents.ClientContents:
        if not self._offers(contents.INFO):
            raise BuildFailed(f"the client has no content store {store}")
        return contents.ClientContents(self._caller, store)

    def _offers(self, method: str) -> bool:
        return method.lower() in self._methods


class Lenders:
    """All living sessions; see port.Sessions."""

    def __init__(self, files: Files):
        self._files = files
        self._known: dict[str, ClientSession] = {}
        self._waiting: dict[str, asyncio.Future[None]] = {}

    async def hold(self, sock: socket.socket, tail: bytes, headers: Callable[[str], Sequence[str]]) -> None:
        """Keeps a session for as long as its connection lasts. `headers` gives all values of a header, by lower-case name."""
        name = _first(headers("x-docker-expose-session-uuid"))
        caller = await Caller.over(sock, tail)
        session = ClientSession(
            name,
            _first(headers("x-docker-expose-session-sharedkey")),
            headers("x-docker-expose-session-grpc-method"),
            caller,
            self._files,
        )
        try:
            self._known[name] = session
            waiting = self._waiting.pop(name, None)
            if waiting is not None:
                waiting.set_result(None)
            await caller.ended.wait()
        finally:
            if self._known.get(name) is session:
                del self._known[name]
            caller.close()

    async def get(self, name: str) -> Session:
        """See port.Sessions. Raises NoSuchSession."""
        _, _, plain = name.rpartition(":")
        if plain not in self._known:
            waiting = self._waiting.setdefault(plain, asyncio.get_running_loop().create_future())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await asyncio.shield(waiting)
        if plain not in self._known:
            self._waiting.pop(plain, None)
            raise NoSuchSession(plain)
        return self._known[plain]


def _first(values: Sequence[str]) -> str:
    return values[0] if values else ""


def _headers(name: str, values: Sequence[str]) -> list[tuple[str, str]]:
    """A list as gRPC metadata; one that is not all ASCII is escaped as Go's url.QueryEscape does, and said to be."""
    if all(value.isascii() and value.isprintable() for value in values):
        return [(name, value) for value in values]
    return [(name, quote(value, safe="").replace("%20", "+")) for value in values] + [
        (f"{name}-encoded", "1")
    ]
