"""One blob's bytes: a connection that breaks is taken up again where it broke, at the next endpoint if there is one."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import TYPE_CHECKING

from knarr.model.descriptor import Descriptor
from knarr.model.errors import Invalid, KnarrError, Unavailable
from knarr.model.reference import Reference
from knarr.registry.client.hosts import Endpoint
from knarr.registry.client.transport import ATTEMPTS, Auth, Broken, Transport, Unreachable
from knarr.registry.client.words import RegistryError, as_blob
from knarr.registry.spec.names import content_range

if TYPE_CHECKING:
    from aiohttp import ClientResponse

_CHUNK = 256 << 10


class Download:
    """The caller verifies the digest. `order` are the endpoints to try."""

    def __init__(
        self,
        transport: Transport,
        order: Sequence[Endpoint],
        ref: Reference,
        descriptor: Descriptor,
        auth: Auth | None,
    ):
        self._transport = transport
        self._order = list(order)
        self._ref = ref
        self._descriptor = descriptor
        self._auth = auth
        self._answered: KnarrError | None = None

    async def pieces(self, offset: int) -> AsyncGenerator[bytes, None]:
        """From byte `offset`. Gives up after ATTEMPTS in a row that brought nothing; then it tells what the registry did where it
        could be reached, not that another way leads nowhere."""
        position, failures, size = offset, 0, self._descriptor.size
        while position < size:
            before = position
            failure: KnarrError = Broken(f"blob {self._descriptor.digest}: unexpected EOF")
            final = False
            try:
                async with contextlib.aclosing(self._attempt(self._order[0], position)) as attempt:
                    async for piece in attempt:
                        position += len(piece)
                        yield piece
                if position >= size:
                    return
            except RegistryError as error:
                failure, final = as_blob(error, self._ref.familiar_name), True
            except Unavailable as error:
                failure = error
            failures = 0 if position > before else failures + 1
            if not isinstance(failure, Unreachable):
                self._answered = failure
            if position == before and self._elsewhere(failure):
                failures = 0
            elif final or failures >= ATTEMPTS * len(self._order):
                raise failure if final else self._answered or failure
            else:
                await self._transport.rest(failures // len(self._order))

    def _elsewhere(self, failure: KnarrError) -> bool:
        """Whether a mirror that failed is left for the next endpoint. A registry that may be reached in two ways is tried in
        both, in turns."""
        first = self._order[0]
        if first.mirror:
            self._order.pop(0)
        elif isinstance(failure, Unavailable):
            self._order.append(self._order.pop(0))
        return first.mirror

    async def _attempt(self, endpoint: Endpoint, position: int) -> AsyncGenerator[bytes, None]:
        async with self._transport.request(
            "GET",
            endpoint,
            f"/v2/{self._ref.path}/blobs/{self._descriptor.digest}",
            scope=f"repository:{self._ref.path}:pull",
            auth=None if endpoint.mirror else self._auth,
            headers={"Range": f"bytes={position}-"} if position else {},
            good=(200, 206) if position else (200,),
        ) as response:
            skip = position - _start(response)
            if skip < 0:
                raise Broken(f"blob {self._descriptor.digest}: not the range that was asked for")
            async for piece in _pieces(response, str(self._descriptor.digest)):
                rest, skip = piece[skip:], max(skip - len(piece), 0)
                if rest:
                    yield rest


def _start(response: "ClientResponse") -> int:
    """Where the answer begins: a registry without ranges sends everything again."""
    if response.status != 206:
        return 0
    try:
        return content_range(response.headers.get("Content-Range", ""))[0]
    except Invalid as error:
        raise Broken(str(error)) from None


async def _pieces(response: "ClientResponse", what: str) -> AsyncIterator[bytes]:
    from aiohttp import ClientError

    try:
        async for piece in response.content.iter_chunked(_CHUNK):
            yield piece
    except (ClientError, TimeoutError, ConnectionError):
        raise Broken(f"blob {what}: unexpected EOF") from None
