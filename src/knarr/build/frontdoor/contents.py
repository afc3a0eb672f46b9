"""A content store that a client lends (containerd.services.content.v1): blobs by digest, as a local cache or an OCI layout has them.

The store is named in each call's metadata. What was read is not verified here: who asks knows the digest.
"""

import contextlib
from collections.abc import AsyncIterator, Iterator

from google.protobuf.empty_pb2 import Empty

from knarr.build.errors import BuildFailed
from knarr.build.frontdoor.failures import translated
from knarr.build.proto.content_pb2 import (
    COMMIT,
    STAT,
    WRITE,
    AbortRequest,
    InfoRequest,
    InfoResponse,
    ReadContentRequest,
    ReadContentResponse,
    WriteContentRequest,
    WriteContentResponse,
)
from knarr.grpc.client import Caller, ClientStream
from knarr.grpc.status import RpcError, Status
from knarr.model.digest import Digest
from knarr.model.errors import NotFound

_SERVICE = "/containerd.services.content.v1.Content"
INFO = f"{_SERVICE}/Info"
_READ = f"{_SERVICE}/Read"
_WRITE = f"{_SERVICE}/Write"
_ABORT = f"{_SERVICE}/Abort"
STORE = "buildkit-attachable-store-id"
_PIECE = 1 << 20


class _There(Exception):
    """The store has it already."""


@contextlib.contextmanager
def _there() -> Iterator[None]:
    """Around the whole call."""
    try:
        yield
    except RpcError as error:
        if error.status == Status.ALREADY_EXISTS:
            raise _There from None
        raise


_Writing = ClientStream[WriteContentResponse]


class ClientContents:
    """The store called `store`; see port.Contents."""

    def __init__(self, caller: Caller, store: str):
        self._caller = caller
        self._metadata = [(STORE, store)]

    async def size(self, digest: Digest) -> int:
        with translated():
            try:
                reply = await self._caller.unary(
                    INFO, InfoRequest(digest=str(digest)), InfoResponse, metadata=self._metadata
                )
            except RpcError as error:
                if error.status == Status.NOT_FOUND:
                    raise NotFound(error.message or f"content {digest}: not found") from None
                raise
        return reply.info.size

    async def read(self, digest: Digest, offset: int = 0) -> AsyncIterator[bytes]:
        asked = ReadContentRequest(digest=str(digest), offset=offset)
        with translated():
            async with self._caller.stream(_READ, ReadContentResponse, self._metadata) as stream:
                await stream.send(asked, end=True)
                while (message := await stream.receive()) is not None:
                    yield message.data

    async def write(self, digest: Digest, size: int, chunks: AsyncIterator[bytes]) -> bool:
        name = f"knarr-{digest}"
        begin = WriteContentRequest(action=STAT, ref=name, total=size, expected=str(digest))
        try:
            with translated(), _there():
                async with self._caller.stream(_WRITE, WriteContentResponse, self._metadata) as stream:
                    await _answered(stream, begin)
                    await _poured(stream, digest, size, chunks)
                    while await stream.receive() is not None:
                        pass
        except _There:
            return False
        except BaseException:
            await self._abort(name)
            raise
        return True

    async def _abort(self, name: str) -> None:
        """What was written so far goes; a client that is gone has nobody who could be told."""
        with contextlib.suppress(BuildFailed), translated():
            await self._caller.unary(
                _ABORT, AbortRequest(ref=name), Empty, metadata=self._metadata, timeout=5
            )


async def _poured(stream: _Writing, digest: Digest, size: int, chunks: AsyncIterator[bytes]) -> None:
    offset = 0
    async for chunk in chunks:
        for start in range(0, len(chunk), _PIECE):
            piece = chunk[start : start + _PIECE]
            await _answered(stream, WriteContentRequest(action=WRITE, offset=offset, data=piece))
            offset += len(piece)
    done = WriteContentRequest(action=COMMIT, offset=offset, total=size, expected=str(digest))
    reply = await _answered(stream, done, end=True)
    if reply.digest != str(digest):
        raise BuildFailed(f"unexpected digest: {reply.digest} != {digest}")


async def _answered(
    stream: _Writing, message: WriteContentRequest, *, end: bool = False
) -> WriteContentResponse:
    await stream.send(message, end=end)
    reply = await stream.receive()
    if reply is None:
        raise BuildFailed("the client ended a write to its content store")
    return reply
