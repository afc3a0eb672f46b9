"""/events: what happens, as it happens, one JSON object a line."""

from collections.abc import Callable
from typing import Any

from knarr.api.server import streams
from knarr.api.server.call import Call, Route
from knarr.api.server.containers import unix_time
from knarr.api.server.replies import encode
from knarr.engine.values import EventOptions
from knarr.loop.http.messages import Response
from knarr.model.errors import Invalid
from knarr.model.system import Event


def told(event: Event) -> dict[str, Any]:
    """An event; `status`, `id` and `from` are the older names that containers and images still have."""
    value: dict[str, Any] = {}
    if event.type in ("container", "image"):
        value |= {"status": event.action, "id": event.id}
        if event.type == "container" and event.attributes.get("image"):
            value["from"] = event.attributes["image"]
    return value | {
        "Type": event.type,
        "Action": event.action,
        "Actor": {"ID": event.id, "Attributes": dict(event.attributes)},
        "scope": "local",
        "time": event.at // 1_000_000_000,
        "timeNano": event.at,
    }


def _encoder(call: Call) -> Callable[[Event], bytes]:
    def encoded(event: Event) -> bytes:
        if call.version < (1, 46) and (event.type, event.action) == ("image", "create"):
            return b""
        return encode(told(event)) + b"\n"

    return encoded


async def stream(call: Call) -> Response:
    """GET /events: from `since` on, until `until` or the client's end."""
    since, until = unix_time("since", call.text("since")), unix_time("until", call.text("until"))
    if until and until < since:
        raise Invalid(
            f"`since` time ({call.text('since')}) cannot be after `until` time ({call.text('until')})"
        )
    options = EventOptions(since=since, until=until or None, filters=call.filters())
    events = await call.engine.events.subscribe(options)
    return Response(200, streams.joined(events, _encoder(call)), {"Content-Type": "application/json"})


ROUTES = (Route("GET", "/events", stream),)
