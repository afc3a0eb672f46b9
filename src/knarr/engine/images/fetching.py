"""What the daemon itself gets by HTTP beside registries' protocol: an archive to import, the answer to a search. In Go's words."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from knarr.model.errors import Denied, Invalid, KnarrError, NotFound, Unauthorized, Unavailable
from knarr.registry.client.hosts import proxy_for
from knarr.registry.client.words import dialled

if TYPE_CHECKING:
    from aiohttp import ClientResponse

_CHUNK = 1 << 20
_SMALL = 4 << 10
_KINDS: Mapping[int, type[KnarrError]] = {400: Invalid, 401: Unauthorized, 403: Denied, 404: NotFound}


def absolute(source: str) -> str:
    """A URL; one without a scheme is HTTP's. Raises Invalid."""
    url = source if "://" in source else f"http://{source}"
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise Invalid(f'parse "{url}": {error}') from None
    if parts.scheme not in ("http", "https"):
        raise Invalid(f'Get "{url}": unsupported protocol scheme "{parts.scheme}"')
    if not parts.hostname:
        raise Invalid(f'Get "{url}": http: no Host in request URL')
    return url


@asynccontextmanager
async def got(
    url: str, headers: Mapping[str, str] | None = None, *, patience: float | None = None
) -> "AsyncIterator[ClientResponse]":
    """An answer that is no refusal. Raises Unavailable, and the refusal's kind."""
    from aiohttp import ClientConnectorError, ClientError, ClientSession, ClientTimeout

    limits = ClientTimeout(total=patience, sock_connect=30)
    async with ClientSession(timeout=limits, auto_decompress=False) as session:
        try:
            response = await session.get(url, headers=headers, proxy=proxy_for(url, os.environ))
        except ClientConnectorError as error:
            raise Unavailable(f'Get "{url}": {dialled(error, urlsplit(url).netloc)}') from None
        except (ClientError, TimeoutError, ValueError) as error:
            raise Unavailable(f'Get "{url}": {error or type(error).__name__}') from None
        async with response:
            if response.status >= 400:
                said = (await response.content.read(_SMALL)).decode(errors="replace").strip()
                kind = _KINDS.get(response.status, Unavailable)
                raise kind(f"failed to GET {url} with status {response.status} {response.reason}: {said}")
            yield response


async def body(response: "ClientResponse", url: str) -> AsyncIterator[bytes]:
    """Piece by piece. Raises Unavailable for what breaks off."""
    from aiohttp import ClientError

    try:
        async for piece in response.content.iter_chunked(_CHUNK):
            yield piece
    except (ClientError, TimeoutError, ConnectionError):
        raise Unavailable(f'Get "{url}": unexpected EOF') from None
