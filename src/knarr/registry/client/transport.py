"""Requests to one registry endpoint: credentials and tokens, retries, and what a failure is called.

aiohttp is imported with the first request: the daemon starts without it. Redirects are followed by aiohttp, which leaves
Authorization behind when the origin changes; here nothing secret is sent to an origin that is not the endpoint's.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from knarr.loop.blocking import blocking
from knarr.model.errors import Denied, KnarrError, Unavailable
from knarr.registry.client import tokens
from knarr.registry.client.certificates import DIRECTORY, Certificates
from knarr.registry.client.hosts import Endpoint, proxy_for, same_origin
from knarr.registry.client.tokens import Auth as Auth
from knarr.registry.client.words import RegistryError as RegistryError
from knarr.registry.client.words import dialled
from knarr.registry.spec.errors import decode
from knarr.registry.spec.names import Challenge, challenge, number

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

ATTEMPTS = 4
_LONGEST = 20.0
_KEPT_TOKENS = 1000
_SMALL = 1 << 20
_CHUNK = 256 << 10
Body = Callable[[], Any]


class Unreachable(Unavailable):
    """No connection could be made: another endpoint may do better."""


class Broken(Unavailable):
    """The connection ended before the answer did: the same again may do better."""


class _Key(NamedTuple):
    """Whose token it is, and for what."""

    url: str
    scope: str
    user: str
    password: str
    identity: str


class _Header(NamedTuple):
    text: str
    until: float


class Answer(NamedTuple):
    """A whole response."""

    headers: Mapping[str, str]
    data: bytes
    url: str


class Transport:
    """All requests of one client; one aiohttp session on the loop that first asked. `pause` is the first wait in seconds
    before something is tried again."""

    def __init__(self, agent: str, pause: float = 0.2, certificates: str = DIRECTORY):
        self._agent = agent
        self._pause = pause
        self._certificates = Certificates(certificates)
        self._session: ClientSession | None = None
        self._headers: dict[_Key, _Header] = {}
        self._asking: dict[_Key, asyncio.Lock] = {}

    def session(self) -> "ClientSession":
        """The session, made when first needed."""
        if self._session is None:
            from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

            self._session = ClientSession(
                timeout=ClientTimeout(total=None, sock_connect=15, sock_read=60),
                connector=TCPConnector(limit_per_host=12, ttl_dns_cache=60),
                cookie_jar=DummyCookieJar(),
                headers={"User-Agent": self._agent, "Accept-Encoding": "identity"},
                auto_decompress=False,
                requote_redirect_url=False,
            )
        return self._session

    async def close(self) -> None:
        """Closes every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def rest(self, attempt: int) -> None:
        """Waits before a next attempt, longer each time."""
        await asyncio.sleep(min(self._pause * 2.0**attempt, _LONGEST))

    async def fetch(
        self,
        method: str,
        endpoint: Endpoint,
        path: str,
        *,
        scope: str,
        auth: Auth | None,
        headers: Mapping[str, str] | None = None,
        limit: int = _SMALL,
    ) -> Answer:
        """A whole answer of at most `limit` bytes; asked for again when its connection breaks."""
        for attempt in range(ATTEMPTS):
            try:
                async with self.request(
                    method, endpoint, path, scope=scope, auth=auth, headers=headers
                ) as response:
                    return Answer(response.headers, await _read(response, limit), str(response.url))
            except Broken:
                if attempt == ATTEMPTS - 1:
                    raise
            await self.rest(attempt)
        raise AssertionError

    @contextlib.asynccontextmanager
    async def request(
        self,
        method: str,
        endpoint: Endpoint,
        path: str,
        *,
        scope: str,
        auth: Auth | None,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        good: tuple[int, ...] = (200,),
        attempts: int = ATTEMPTS,
    ) -> AsyncIterator["ClientResponse"]:
        """The response if its status is in `good`. `body` makes the request's body, anew for each attempt.

        Raises RegistryError; Unavailable where the registry asks to come later for too long; Unreachable, Broken.
        """
        url = path if "://" in path else endpoint.url + path

        async def send() -> "ClientResponse":
            return await self._authorised(method, endpoint, url, scope, auth, dict(headers or {}), body)

        response = await self._persist(send, good, attempts)
        try:
            yield response
        finally:
            response.release()

    async def _persist(
        self, send: Callable[[], Awaitable["ClientResponse"]], good: tuple[int, ...], attempts: int
    ) -> "ClientResponse":
        """The first response that is good; a registry that is busy or ill is asked again."""
        for attempt in range(attempts):
            response = await send()
            if response.status in good:
                return response
            try:
                if (response.status != 429 and response.status < 500) or attempt == attempts - 1:
                    raise await _refusal(response)
                seconds = number(response.headers.get("Retry-After", ""))
            finally:
                response.release()
            if seconds is None:
                await self.rest(attempt)
            else:
                await asyncio.sleep(min(seconds, _LONGEST))
        raise AssertionError

    async def _authorised(
        self,
        method: str,
        endpoint: Endpoint,
        url: str,
        scope: str,
        auth: Auth | None,
        headers: dict[str, str],
        body: Body | None,
    ) -> "ClientResponse":
        if not same_origin(endpoint.url, url):
            return await self._send(method, endpoint, url, headers, body)
        if auth is not None and auth.registrytoken:
            headers["Authorization"] = f"Bearer {auth.registrytoken}"
            return await self._send(method, endpoint, url, headers, body)
        user, password = tokens.login(auth)
        key = _Key(endpoint.url, scope, user, password, auth.identitytoken if auth else "")
        used = self._known(key)
        if used is not None:
            headers["Authorization"] = used.text
        response = await self._send(method, endpoint, url, headers, body)
        if response.status != 401:
            return response
        asked = challenge(", ".join(response.headers.getall("WWW-Authenticate", [])))
        try:
            fresh = await self._fresh(key, used, asked, endpoint, auth)
        except BaseException:
            response.release()
            raise
        if fresh is None:
            return response
        response.release()
        return await self._send(method, endpoint, url, {**headers, "Authorization": fresh.text}, body)

    def _known(self, key: _Key) -> _Header | None:
        found = self._headers.get(key)
        return found if found is not None and found.until > time.monotonic() else None

    async def _fresh(
        self, key: _Key, used: _Header | None, asked: Challenge, endpoint: Endpoint, auth: Auth | None
    ) -> _Header | None:
        """What to say to a challenge; None where we have nothing to say. Requests that need the same token ask once."""
        async with self._asking.setdefault(key, asyncio.Lock()):
            found = self._known(key)
            if found is None or found is used:
                found = await self._asked(key, asked, endpoint, auth)
                if found is not None:
                    self._keep(key, found)
            return found

    async def _asked(
        self, key: _Key, asked: Challenge, endpoint: Endpoint, auth: Auth | None
    ) -> _Header | None:
        if asked.scheme == "basic":
            text = tokens.basic(key.user, key.password)
            return _Header(text, time.monotonic() + 3600) if key.user else None
        if asked.scheme != "bearer" or not asked.parameters.get("realm"):
            return None
        wanted = tokens.request(asked, key.scope, auth)
        if (wanted.form or wanted.headers) and wanted.url.startswith("http:") and endpoint.verify:
            raise Denied(f"credentials are not sent to {wanted.url}: it is not encrypted")

        async def send() -> "ClientResponse":
            method = "POST" if wanted.form else "GET"
            return await self._send(
                method,
                endpoint,
                wanted.url,
                wanted.headers,
                (lambda: dict(wanted.form)) if wanted.form else None,
                wanted.query,
            )

        response = await self._persist(send, (200,), ATTEMPTS)
        try:
            text, life = tokens.answer(await _read(response, _SMALL))
        finally:
            response.release()
        return _Header(f"Bearer {text}", time.monotonic() + life)

    def _keep(self, key: _Key, header: _Header) -> None:
        self._headers[key] = header
        if len(self._headers) > _KEPT_TOKENS:
            for old in [each for each in self._headers if self._known(each) is None] or list(self._headers):
                del self._headers[old]
                if old in self._asking and not self._asking[old].locked():
                    del self._asking[old]

    async def _send(
        self,
        method: str,
        endpoint: Endpoint,
        url: str,
        headers: Mapping[str, str],
        body: Body | None,
        query: tuple[tuple[str, str], ...] = (),
    ) -> "ClientResponse":
        from aiohttp import ClientConnectorError, ClientError, ConnectionTimeoutError
        from yarl import URL

        context = await blocking(self._certificates.context, endpoint.host) if endpoint.verify else None
        try:
            place = URL(url, encoded=True)
            return await self.session().request(
                method,
                place.extend_query(query) if query else place,
                headers=headers,
                data=body() if body else None,
                proxy=proxy_for(url, os.environ),
                ssl=context or endpoint.verify,
            )
        except (ClientConnectorError, ConnectionTimeoutError) as error:
            said = f"{endpoint.url}/v2/" if same_origin(endpoint.url, url) else url
            raise Unreachable(f'Get "{said}": {dialled(error, endpoint.host)}') from None
        except (ClientError, TimeoutError, ConnectionError, ValueError) as error:
            raise Broken(f'{method.capitalize()} "{url}": {broken(error)}') from None


def broken(error: BaseException) -> str:
    """Go's words for a connection that ended early."""
    if isinstance(error, TimeoutError):
        return "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
    if isinstance(error, ConnectionResetError):
        return "read: connection reset by peer"
    return "EOF" if "isconnected" in type(error).__name__ else str(error) or type(error).__name__


async def _read(response: "ClientResponse", limit: int) -> bytes:
    """The whole body. Raises Broken, Unavailable past `limit`."""
    from aiohttp import ClientError

    data = bytearray()
    try:
        async for piece in response.content.iter_chunked(_CHUNK):
            data += piece
            if len(data) > limit:
                raise Unavailable(f'Get "{response.url}": an answer of more than {limit} bytes')
    except (ClientError, TimeoutError, ConnectionError):
        raise Broken(f'Get "{response.url}": unexpected EOF') from None
    return bytes(data)


async def _refusal(response: "ClientResponse") -> KnarrError:
    try:
        code, message = decode(await _read(response, _SMALL))
    except Unavailable:
        code, message = "", ""
    status = response.status
    if status == 429:
        return Unavailable(f"toomanyrequests: {message or 'You have reached your pull rate limit'}")
    if status >= 500:
        return Unavailable(f"received unexpected HTTP status: {status} {response.reason}")
    return RegistryError(status, code, message or f"unexpected status {status} {response.reason}")
