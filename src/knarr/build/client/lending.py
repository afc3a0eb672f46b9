"""What else a builder may ask its client for: secrets, credentials, ssh agents, standard input, and whether he is there."""

import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from knarr.build.client.exchange import Answering
from knarr.build.client.late import Late
from knarr.build.client.packets import Raw
from knarr.grpc.services import Service
from knarr.grpc.status import RpcError, Status

_SECRET, _GIVEN = Late("secrets_pb2", "GetSecretRequest"), Late("secrets_pb2", "GetSecretResponse")
_HOST, _WHO = Late("session_pb2", "CredentialsRequest"), Late("session_pb2", "CredentialsResponse")
_ASKED, _THERE = Late("ssh_pb2", "CheckAgentRequest"), Late("ssh_pb2", "CheckAgentResponse")
_PIECES, _WORDS = Late("session_pb2", "BytesMessage"), Late("ssh_pb2", "BytesMessage")
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

    async def get(asked: Any, _: Any) -> Any:
        value = read(asked.ID)
        if value is None:
            raise RpcError(Status.NOT_FOUND, f"secret {asked.ID}: not found")
        return _GIVEN(data=value)

    service = Service("moby.buildkit.secrets.v1.Secrets")
    service.unary("GetSecret", get, _SECRET)
    return service


def credentials(find: Callable[[str], tuple[str, str]]) -> Service:
    """`find` gives user and secret for a registry's host."""

    async def answer(asked: Any, _: Any) -> Any:
        user, secret = find(asked.Host)
        return _WHO(Username=user, Secret=secret)

    service = Service("moby.filesync.v1.Auth")
    service.unary("Credentials", answer, _HOST)
    return service


def uploads(given: Mapping[str, Iterator[bytes]]) -> Service:
    """What comes from standard input, by the path that stands for it; each is read once."""

    async def pull(stream: Answering) -> None:
        path = stream.metadata.get("urlpath").strip("/")
        if path not in given:
            raise RpcError(Status.NOT_FOUND, f"no upload of that name: {path}")
        for data in given[path]:
            await stream.send(_PIECES(data=data))

    service = Service("moby.upload.v1.Upload")
    service.streaming("Pull", pull, _PIECES)
    return service


class Agents:
    """ssh agents by their ids: paths of sockets."""

    def __init__(self, sockets: Mapping[str, str]):
        self._sockets = sockets

    def service(self) -> Service:
        """As gRPC has it."""
        service = Service("moby.sshforward.v1.SSH")
        service.unary("CheckAgent", self.check, _ASKED)
        service.streaming("ForwardAgent", self.forward, _WORDS)
        return service

    def _path(self, name: str) -> str:
        path = self._sockets.get(name or "default")
        if path is None:
            raise RpcError(Status.NOT_FOUND, f"unset ssh forward key {name or 'default'}")
        return path

    async def check(self, asked: Any, _: Any) -> Any:
        """Whether there is one of that id."""
        self._path(asked.ID)
        return _THERE()

    async def forward(self, stream: Answering) -> None:
        """One connection to it. An agent answers when it was asked, and never says so much that it must be waited for."""
        path = self._path(stream.metadata.get("buildkit.ssh.id"))
        with socket.socket(socket.AF_UNIX) as agent:
            agent.connect(path)
            asking = True
            while True:
                if await stream.either(agent.fileno(), heard=asking):
                    data = agent.recv(_PIECE)
                    if not data:
                        return
                    await stream.send(_WORDS(data=data))
                    continue
                message = await stream.receive()
                if message is not None:
                    agent.sendall(message.data)
                    continue
                asking = False
                agent.shutdown(socket.SHUT_WR)
