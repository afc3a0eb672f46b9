"""One call of the API: a request whose path, version and query have been read, and the engine that serves it."""

import binascii
from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

import msgspec

from knarr.api.spec.decode import decode
from knarr.api.spec.history import forget
from knarr.api.spec.others import Credentials
from knarr.api.spec.versions import Version
from knarr.engine.engine import Engine
from knarr.loop.http.messages import Request, Response
from knarr.model.errors import Invalid

T = TypeVar("T", bound=msgspec.Struct)
Login = Callable[[str, Credentials], Awaitable[None]]

_FALSE = ("", "0", "no", "false", "none")


class Call:
    """What a handler is given."""

    def __init__(self, engine: Engine, request: Request, version: Version, login: Login):
        self.engine = engine
        self.login = login
        self.request = request
        self.version = version

    @property
    def name(self) -> str:
        """The path's `{name}`."""
        return self.request.params["name"]

    def text(self, key: str, default: str = "") -> str:
        """The query's first value."""
        return self.request.first(key, default)

    def texts(self, key: str) -> list[str]:
        """All of the query's values."""
        return self.request.query.get(key, [])

    def flag(self, key: str, default: bool = False) -> bool:
        """A boolean of the query, read as dockerd does."""
        values = self.request.query.get(key)
        return values[0].strip().lower() not in _FALSE if values else default

    def integer(self, key: str) -> int | None:
        """A number of the query, None where it is absent or empty. Raises Invalid."""
        text = self.text(key)
        if not text:
            return None
        try:
            number = int(text)
        except ValueError:
            raise Invalid(f'strconv.Atoi: parsing "{text}": invalid syntax') from None
        if not -(1 << 63) <= number < 1 << 63:
            raise Invalid(f'strconv.Atoi: parsing "{text}": value out of range')
        return number

    def filters(self) -> dict[str, tuple[str, ...]]:
        """The query's filters: both `{"label": ["a"]}` and the older `{"label": {"a": true}}`. Raises Invalid."""
        text = self.text("filters")
        if not text:
            return {}
        try:
            value = msgspec.json.decode(text, type=dict[str, list[str] | dict[str, bool]] | None) or {}
        except (msgspec.ValidationError, msgspec.DecodeError):
            raise Invalid("invalid filter") from None
        return {key: tuple(wanted) for key, wanted in value.items()}

    async def json(self, kind: type[T], *, needed: bool = False) -> T:
        """The body, without what its version did not know; an empty one is all defaults unless it is `needed`. Raises Invalid if it is no JSON of this kind."""
        data = await self.request.read()
        if needed and not data:
            raise Invalid("invalid JSON: got EOF while reading request body")
        content = self.request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if data and content != "application/json":
            raise Invalid(
                f"unsupported Content-Type header ({content}): must be 'application/json'"
                if content
                else "malformed Content-Type header (): mime: no media type"
            )
        body = decode(kind, data)
        forget(body, self.version)
        return body

    def credentials(self) -> Credentials | None:
        """What the header X-Registry-Auth has; None for none, and for what cannot be read, as dockerd has it."""
        text = self.request.headers.get("x-registry-auth", "").strip()
        if not text:
            return None
        try:
            data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
            found = decode(Credentials, data)
        except (binascii.Error, ValueError, Invalid):
            return None
        return found if found != Credentials() else None


Handler = Callable[[Call], Awaitable[Response | None]]


class Route(NamedTuple):
    """`lasting`: once begun it goes on to its end, even if the client goes away, and the engine does not see to that itself."""

    method: str
    path: str
    handler: Handler
    lasting: bool = False
