"""A client's SSH agent inside a build: each connection to a socket here becomes a stream to the client's agent."""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator

from knarr.build.frontdoor.failures import translated
from knarr.build.proto.ssh_pb2 import BytesMessage, CheckAgentRequest, CheckAgentResponse
from knarr.grpc.client import Caller

CHECK_AGENT = "/moby.sshforward.v1.SSH/CheckAgent"
FORWARD_AGENT = "/moby.sshforward.v1.SSH/ForwardAgent"
_KEY = "buildkit.ssh.id"
_PIECE = 32 << 10


@contextlib.asynccontextmanager
async def forwarded(caller: Caller, name: str) -> AsyncIterator[str]:
    """The path of a socket on which the agent `name` answers. Raises BuildFailed with the client's words."""
    with translated():
        await caller.unary(CHECK_AGENT, CheckAgentRequest(ID=name), CheckAgentResponse)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(Exception):
            await _relay(caller, name, reader, writer)
        writer.close()

    with tempfile.TemporaryDirectory(prefix="knarr-ssh-") as directory:
        path = f"{directory}/agent"
        server = await asyncio.start_unix_server(answer, path)
        os.chmod(path, 0o600)
        try:
            yield path
        finally:
            server.close()


async def _relay(
    caller: Caller, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    async with caller.stream(FORWARD_AGENT, BytesMessage, [(_KEY, name)]) as stream:

        async def outwards() -> None:
            while data := await reader.read(_PIECE):
                await stream.send(BytesMessage(data=data))
            await stream.end()

        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(outwards())
            while (message := await stream.receive()) is not None:
                writer.write(message.data)
                await writer.drain()
            sending.cancel()
