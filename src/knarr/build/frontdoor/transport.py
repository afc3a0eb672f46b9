"""gRPC over a connection that exists already: served on it, or called through it.

grpclib opens its own connections; the two hooks by which it does so are private, so its version is pinned and
tests/unit/build/frontdoor holds both. Bytes that came before the take-over are fed first.
"""

import asyncio
import contextlib
import socket
from collections.abc import Collection, Iterator

from grpclib._typing import IServable
from grpclib.client import Channel
from grpclib.config import Configuration
from grpclib.encoding.proto import ProtoCodec
from grpclib.exceptions import GRPCError, StreamTerminatedError
from grpclib.protocol import H2Protocol
from grpclib.server import Server
from h2.settings import SettingCodes

from knarr.build.errors import BuildFailed
from knarr.build.frontdoor.encoding import Details

WINDOW = 16 << 20
STREAMS = 1 << 20
_CONFIG = Configuration(http2_connection_window_size=WINDOW, http2_stream_window_size=WINDOW >> 1)


class _Taken(asyncio.Protocol):
    """A grpclib protocol behind bytes that were read by somebody else; `ended` is set when the connection is lost."""

    def __init__(self, inner: H2Protocol, tail: bytes):
        self.inner = inner
        self._tail = tail
        self.ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.inner.connection_made(transport)
        self._allow_streams()
        if self._tail:
            self.inner.data_received(self._tail)

    def _allow_streams(self) -> None:
        """A build that waits for one of h2's 100 streams is waited for by those who have them."""
        connection = self.inner.connection
        connection._connection.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: STREAMS})  # noqa: SLF001
        connection.flush()

    def data_received(self, data: bytes) -> None:
        self.inner.data_received(data)

    def pause_writing(self) -> None:
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        self.inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self.inner.connection_lost(exc)
        self.ended.set()


async def serve(sock: socket.socket, tail: bytes, services: Collection[IServable]) -> None:
    """Answers gRPC calls on `sock`, which is closed at the end, until the client goes; its calls are cancelled then."""
    server = Server(services, codec=ProtoCodec(), status_details_codec=Details(), config=_CONFIG)
    taken = _Taken(server._protocol_factory(), tail)  # noqa: SLF001
    transport, _ = await asyncio.get_running_loop().connect_accepted_socket(lambda: taken, sock)
    try:
        await taken.ended.wait()
    finally:
        transport.abort()
        await _let_go(server)


async def _let_go(server: Server) -> None:
    """Cancels the calls that are being answered and waits for them."""
    handlers = list(server._handlers)  # noqa: SLF001
    for handler in handlers:
        handler.close()
    for handler in handlers:
        await handler.wait_closed()


class Caller(Channel):
    """The client's half on a socket of ours, for calls into what the other side serves. `ended` is set when it has gone."""

    def __init__(self, sock: socket.socket, tail: bytes = b""):
        super().__init__(config=_CONFIG, status_details_codec=Details(), codec=ProtoCodec())
        self._sock = sock
        self._taken = _Taken(self._protocol_factory(), tail)
        self.ended = self._taken.ended

    async def _create_connection(self) -> H2Protocol:
        """The one connection that there will be."""
        if self.ended.is_set():
            raise ConnectionResetError("the client's session has ended")
        await asyncio.get_running_loop().connect_accepted_socket(lambda: self._taken, self._sock)
        return self._taken.inner


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """What the client's half of a call raises, as the build's failure."""
    try:
        yield
    except GRPCError as error:
        raise BuildFailed(error.message or error.status.name) from error
    except (StreamTerminatedError, ConnectionError) as error:
        raise BuildFailed("the client's session ended") from error
