"""What else a builder may ask its client for: secrets, credentials, ssh agents, standard input, and whether he is there."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from knarr.build.client.receiving import Raw
from knarr.build.frontdoor.services import Service
from knarr.build.proto.secrets_pb2 import GetSecretRequest, GetSecretResponse
from knarr.build.proto.session_pb2 import BytesMessage, CredentialsRequest, CredentialsResponse
from knarr.build.proto.ssh_pb2 import BytesMessage as AgentMessage
from knarr.build.proto.ssh_pb2 import CheckAgentRequest, CheckAgentResponse
from knarr.grpc.services import Call
from knarr.grpc.status import RpcError, Status

_SERVING = b"\x08\x01"  # grpc.health.v1: status = SERVING
_PIECE = 32 << 10


def health() -> Service:
    """grpc.health.v1: dockerd asks now and then."""

    async def check(_: Raw, __: Any) -> Raw:
        return Raw(_SERVING)

    service = Service("grpc.health.v1.Health")
    service.unary("Check", check, Raw)
    return service


def secrets(read: Callable[[str], bytes | None]) -> Service:
    """`read` gives a secret by its id; None where there is none."""

    async def get(asked: GetSecretRequest, _: Any) -> GetSecretResponse:
        value = read(asked.ID)
        if value is None:
            raise RpcError(Status.NOT_FOUND, f"secret {asked.ID}: not found")
        return GetSecretResponse(data=value)

    service = Service("moby.buildkit.secrets.v1.Secrets")
    service.unary("GetSecret", get, GetSecretRequest)
    return service


def credentials(find: Callable[[str], tuple[str, str]]) -> Service:
    """`find` gives user and secret for a registry's host."""

    async def answer(asked: CredentialsRequest, _: Any) -> CredentialsResponse:
        user, secret = find(asked.Host)
        return CredentialsResponse(Username=user, Secret=secret)

    service = Service("moby.filesync.v1.Auth")
    service.unary("Credentials", answer, CredentialsRequest)
    return service


def uploads(given: Mapping[str, Iterator[bytes]]) -> Service:
    """What comes from standard input, by the path that stands for it; each is read once."""

    async def pull(stream: Call[BytesMessage]) -> None:
        path = stream.metadata.get("urlpath").strip("/")
        if path not in given:
            raise RpcError(Status.NOT_FOUND, f"no upload of that name: {path}")
        for data in given[path]:
            await stream.send(BytesMessage(data=data))

    service = Service("moby.upload.v1.Upload")
    service.streaming("Pull", pull, BytesMessage)
    return service


class Agents:
    """ssh agents by their ids: paths of sockets."""

    def __init__(self, sockets: Mapping[str, str]):
        self._sockets = sockets

    def service(self) -> Service:
        """As gRPC has it."""
        service = Service("moby.sshforward.v1.SSH")
        service.unary("CheckAgent", self.check, CheckAgentRequest)
        service.streaming("ForwardAgent", self.forward, AgentMessage)
        return service

    def _path(self, name: str) -> str:
        path = self._sockets.get(name or "default")
        if path is None:
            raise RpcError(Status.NOT_FOUND, f"unset ssh forward key {name or 'default'}")
        return path

    async def check(self, asked: CheckAgentRequest, _: Any) -> CheckAgentResponse:
        """Whether there is one of that id."""
        self._path(asked.ID)
        return CheckAgentResponse()

    async def forward(self, stream: Call[AgentMessage]) -> None:
        """One connection to it."""
        path = self._path(stream.metadata.get("buildkit.ssh.id"))
        reader, writer = await asyncio.open_unix_connection(path)

        async def back() -> None:
            while data := await reader.read(_PIECE):
                await stream.send(AgentMessage(data=data))

        sending = asyncio.create_task(back())
        try:
            while (message := await stream.receive()) is not None:
                writer.write(message.data)
                await writer.drain()
            with contextlib.suppress(OSError):
                writer.write_eof()
            await sending
        finally:
            sending.cancel()
            writer.close()
