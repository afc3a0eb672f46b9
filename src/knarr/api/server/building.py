"""/grpc and /session: BuildKit's clients take the connection over. The builder is loaded when the first of them comes."""

from collections.abc import Sequence

from knarr.api.server.call import Call, Route
from knarr.loop.http.messages import Response
from knarr.model.errors import Invalid

_HEAD = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"


async def grpc(call: Call) -> Response | None:
    """POST /grpc: the client calls the builder."""
    _check(call)
    door = await call.engine.front_door()
    await door.grpc(*await call.request.hijack(_HEAD))
    return None


async def session(call: Call) -> Response | None:
    """POST /session: the builder calls the client."""
    _check(call)
    door = await call.engine.front_door()

    def headers(name: str) -> Sequence[str]:
        return [value for value in call.request.headers.get(name, "").split(", ") if value]

    await door.session(*await call.request.hijack(_HEAD), headers)
    return None


def _check(call: Call) -> None:
    wanted = call.request.headers.get("upgrade", "")
    if not wanted:
        raise Invalid("no upgrade proto in request")
    if wanted.lower() != "h2c":
        raise Invalid(f"protocol {wanted} not supported")


ROUTES = (Route("POST", "/grpc", grpc), Route("POST", "/session", session))
