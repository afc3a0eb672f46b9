"""Requests to one registry endpoint: credentials and tokens, retries, Docker's words for what goes wrong.

aiohttp is imported with the first request: the daemon starts without it. Redirects are followed by aiohttp, which leaves
Authorization behind when the origin changes.
"""

import asyncio
import contextlib
import time
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from knarr.model.errors import Denied, KnarrError, NotFound, Unavailable
from knarr.registry.client.hosts import Endpoint
from knarr.registry.spec.errors import decode
from knarr.registry.spec.names import Challenge, challenge

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

ATTEMPTS = 4
_TOKEN_LIFE = 60
Body = Callable[[], Any]


class Auth(Protocol):
    """A caller's credentials, as the header X-Registry-Auth has them."""

    username: str
    password: str
    auth: str
    identitytoken: str
    registrytoken: str


class RegistryError(KnarrError):
    """The registry refused: its status, the first code and message of its answer."""

    def __init__(self, status: int, code: str, message: str):
        super().__init__(f"{code.lower().replace('_', ' ')}: {message}" if code else message)
        self.status = status
        self.code = code


class _Token(NamedTuple):
    text: str
    until: float


def login(auth: Auth | None) -> tuple[str, str]:
    """User and password; ("", "") for none."""
    if auth is None:
        return "", ""
    if auth.auth and not auth.username:
        user, _, password = b64decode(auth.auth).decode().partition(":")
        return user, password
    return auth.username, auth.password


def basic(user: str, password: str) -> str:
    """RFC 7617"""
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


class Transport:
    """All requests of one client; one aiohttp session on the loop that first asked."""

    def __init__(self, agent: str):
        self._agent = agent
        self._session: ClientSession | None = None
        self._tokens: dict[tuple[str, str, str, str], _Token] = {}

    def session(self) -> "ClientSession":
        """The session, made when first needed."""
        if self._session is None:
            from aiohttp import ClientSession, ClientTimeout, TCPConnector

            timeout = ClientTimeout(total=None, sock_connect=15, sock_read=60)
            connector = TCPConnector(limit_per_host=12, ttl_dns_cache=60)
            self._session = ClientSession(
                timeout=timeout,
                connector=connector,
                headers={"User-Agent": self._agent},
                auto_decompress=False,
                trust_env=True,
            )
        return self._session

    async def close(self) -> None:
        """Closes every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

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
    ) -> AsyncIterator["ClientResponse"]:
        """The response if its status is in `good`. `body` makes the request's body, anew for each attempt.

        Raises RegistryError, Unavailable (no connection, or the registry asks to come later for too long).
        """
        url = path if "://" in path else endpoint.url + path
        for attempt in range(ATTEMPTS):
            response = await self._authorised(method, endpoint, url, scope, auth, dict(headers or {}), body)
            try:
                if response.status in good:
                    yield response
                    return
                if (response.status != 429 and response.status < 500) or attempt == ATTEMPTS - 1:
                    raise await _refusal(response)
                delay = _retry_after(response, attempt)
            finally:
                response.release()
            await asyncio.sleep(delay)

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
        key = (endpoint.url, scope, *login(auth))
        token = self._tokens.get(key)
        if auth is not None and auth.registrytoken:
            headers["Authorization"] = f"Bearer {auth.registrytoken}"
        elif token is not None and token.until > time.monotonic():
            headers["Authorization"] = token.text
        response = await self._send(method, url, headers, body)
        if response.status != 401 or ("Authorization" in headers and token is None):
            return response
        asked = challenge(response.headers.get("WWW-Authenticate", ""))
        fresh = await self._answer(asked, scope, auth)
        if fresh is None:
            return response
        response.release()
        self._tokens[key] = fresh
        return await self._send(method, url, {**headers, "Authorization": fresh.text}, body)

    async def _answer(self, asked: Challenge, scope: str, auth: Auth | None) -> _Token | None:
        """What to say to a challenge; None where we have nothing to say."""
        user, password = login(auth)
        if asked.scheme == "basic":
            return _Token(basic(user, password), time.monotonic() + 3600) if user else None
        if asked.scheme != "bearer" or not asked.parameters.get("realm"):
            return None
        return await self._token(asked.parameters, scope, auth)

    async def _token(self, parameters: Mapping[str, str], scope: str, auth: Auth | None) -> _Token:
        """The distribution project's token protocols: GET with Basic, or POST with an identity token (oauth2)."""
        realm, service = parameters["realm"], parameters.get("service", "")
        user, password = login(auth)
        query = {"service": service, "scope": parameters.get("scope") or scope}
        headers = {"Authorization": basic(user, password)} if user else {}
        if auth is not None and auth.identitytoken:
            form = {
                **query,
                "grant_type": "refresh_token",
                "refresh_token": auth.identitytoken,
                "client_id": "knarr",
            }
            response = await self._send("POST", realm, {}, lambda: form)
        else:
            response = await self._send("GET", realm, headers, None, {k: v for k, v in query.items() if v})
        async with response:
            if response.status != 200:
                raise await _refusal(response)
            value = await response.json(content_type=None)
        text = value.get("token") or value.get("access_token") or ""
        life = value.get("expires_in") or _TOKEN_LIFE
        return _Token(f"Bearer {text}", time.monotonic() + max(int(life) - 10, 5))

    async def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body | None,
        query: Mapping[str, str] | None = None,
    ) -> "ClientResponse":
        from aiohttp import ClientConnectorError, ClientError

        try:
            return await self.session().request(
                method, url, headers=headers, data=body() if body else None, params=query
            )
        except ClientConnectorError as error:
            raise Unavailable(f'{method.capitalize()} "{url}": {_dialled(error)}') from None
        except (ClientError, TimeoutError, ConnectionError) as error:
            raise Unavailable(f'{method.capitalize()} "{url}": {error or type(error).__name__}') from None


def _dialled(error: Any) -> str:
    """Go's words for a connection that could not be made."""
    reason = error.os_error.strerror or str(error.os_error)
    words = {
        111: "connect: connection refused",
        113: "connect: no route to host",
        101: "connect: network is unreachable",
    }
    if error.os_error.errno in words:
        return f"dial tcp {error.host}:{error.port}: {words[error.os_error.errno]}"
    if "ssl" in type(error).__name__.lower() or "ssl" in str(error).lower():
        return f"tls: {error}"
    return f"dial tcp: lookup {error.host}: {reason.lower()}"


async def _refusal(response: "ClientResponse") -> KnarrError:
    from aiohttp import ClientError

    try:
        code, message = decode(await response.content.read(1 << 20))
    except (ClientError, TimeoutError):
        code, message = "", ""
    status = response.status
    if status == 429:
        return Unavailable(f"toomanyrequests: {message or 'You have reached your pull rate limit'}")
    if status >= 500:
        return Unavailable(f"received unexpected HTTP status: {status} {response.reason}")
    return RegistryError(status, code, message or f"unexpected status {status} {response.reason}")


def _retry_after(response: "ClientResponse", attempt: int) -> float:
    """Seconds; never so long that a user would think that it hangs."""
    text = response.headers.get("Retry-After", "")
    return float(min(int(text), 20)) if text.isdigit() else 0.2 * 2.0**attempt


def as_pull(error: RegistryError, name: str, reference: str) -> KnarrError:
    """Docker's words for a refused pull."""
    if error.status in (401, 403) or error.code == "NAME_UNKNOWN":
        why = "denied: requested access to the resource is denied"
        return NotFound(
            f"pull access denied for {name}, repository does not exist or may require 'docker login': {why}"
        )
    if error.status == 404:
        return NotFound(f"manifest for {reference} not found: manifest unknown: manifest unknown")
    return error


def as_push(error: RegistryError) -> KnarrError:
    """Docker's words for a refused push."""
    if error.status in (401, 403):
        return Denied(
            f"denied: requested access to the resource is denied ({error})"
            if error.code == ""
            else str(error)
        )
    return error
