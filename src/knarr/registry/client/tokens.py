"""What to answer a challenge with: the token requests of Docker's registries, and their answers; pure.

https://distribution.github.io/distribution/spec/auth/token/ and /oauth/.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from knarr.model.errors import Invalid, Unavailable
from knarr.registry.spec.names import Challenge

_LIFE = 60
_SHORTEST, _LONGEST = 5.0, 86400.0
_CLIENT = "knarr"


class Auth(Protocol):
    """A caller's credentials, as the header X-Registry-Auth has them."""

    username: str
    password: str
    auth: str
    identitytoken: str
    registrytoken: str


class TokenRequest(NamedTuple):
    """GET with a query, or POST with a form where there is one."""

    url: str
    query: tuple[tuple[str, str], ...]
    form: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]


def login(auth: Auth | None) -> tuple[str, str]:
    """User and password; ("", "") for none. Raises Invalid."""
    if auth is None:
        return "", ""
    if auth.auth and not auth.username:
        try:
            user, _, password = b64decode(auth.auth).decode().partition(":")
        except ValueError:
            raise Invalid("invalid registry credentials: auth is no base64 of user:password") from None
        return user, password.rstrip("\0")
    return auth.username, auth.password


def basic(user: str, password: str) -> str:
    """RFC 7617"""
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def request(asked: Challenge, scope: str, auth: Auth | None) -> TokenRequest:
    """How to ask for a token. An identity token is refreshed by POST (OAuth 2); anything else is a GET, Basic for a user."""
    service = asked.parameters.get("service", "")
    scopes = merged([*scope.split(), *asked.parameters.get("scope", "").split()])
    realm = asked.parameters["realm"]
    user, password = login(auth)
    common = (("service", service),) if service else ()
    if auth is not None and auth.identitytoken:
        form = (
            ("grant_type", "refresh_token"),
            ("refresh_token", auth.identitytoken),
            ("client_id", _CLIENT),
            ("scope", " ".join(scopes)),
        )
        return TokenRequest(realm, (), (*common, *form), {})
    account = (("account", user), ("client_id", _CLIENT)) if user else ()
    headers = {"Authorization": basic(user, password)} if user else {}
    return TokenRequest(realm, (*account, *common, *(("scope", each) for each in scopes)), (), headers)


def merged(scopes: Iterable[str]) -> list[str]:
    """One scope a repository, with every action that any of them has."""
    actions: dict[str, dict[str, None]] = {}
    for scope in scopes:
        name, _, words = scope.rpartition(":")
        actions.setdefault(name, {}).update(dict.fromkeys(words.split(",")))
    return [f"{name}:{','.join(words)}" if name else ",".join(words) for name, words in actions.items()]


def answer(data: bytes) -> tuple[str, float]:
    """The token and the seconds that it lives. Raises Unavailable for what is no answer."""
    try:
        value: Any = json.loads(data)
        text = value.get("token") or value.get("access_token")
        life = float(value.get("expires_in") or _LIFE)
    except (ValueError, TypeError, AttributeError, RecursionError):
        text, life = None, 0.0
    if not isinstance(text, str) or not text.isascii() or not text.isprintable():
        raise Unavailable("authorization server did not include a token in the response")
    return text, max(_SHORTEST, min(_LONGEST, life) - 10)
