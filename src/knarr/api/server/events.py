"""/events: what happens, as it happens, one JSON object a line."""

from collections.abc import Callable
from typing import Any

from knarr.api.server import streams
from knarr.api.server.call import Call, Route
from knarr.api.server.containers import unix_time
from knarr.api.server.replies import encode
from knarr.api.spec.versions import Version
from knarr.engine.values import EventOptions
from knarr.loop.http.messages import Response
from knarr.model.errors import Invalid
from knarr.model.system import Event

JSON_LINES = "application/jsonl"
JSON_SEQUENCE = "application/json-seq"
_STREAMS = (JSON_LINES, "application/x-ndjson", JSON_SEQUENCE)


def accepted(header: str) -> str:
    """The stream's type that an Accept header names, the best first (RFC 9110, 12.5.1); "" where it names none."""
    best, found = 0.0, ""
    for entry in header.split(","):
        kind, *parameters = (part.strip().lower() for part in entry.split(";"))
        if kind not in _STREAMS:
            continue
        weight = 1.0
        for parameter in parameters:
            name, _, text = parameter.partition("=")
            if name.strip() == "q":
                try:
                    weight = float(text)
                except ValueError:
                    weight = 0.0
        if weight > best:
            best, found = weight, kind
    return found


def told(event: Event, version: Version) -> dict[str, Any]:
    """An event; `status`, `id` and `from` are older names that containers and images had until 1.52."""
    value: dict[str, Any] = {}
    if version < (1, 52) and event.type in ("container", "image"):
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


def _encoder(call: Call, kind: str) -> Callable[[Event], bytes]:
    head = b"\x1e" if kind == JSON_SEQUENCE else b""  # RFC 7464, 2.1

    def encoded(event: Event) -> bytes:
        if call.version < (1, 46) and (event.type, event.action) == ("image", "create"):
            return b""
        return head + encode(told(event, call.version)) + b"\n"

    return encoded


async def stream(call: Call) -> Response:
    """GET /events: from `since` on, until `until` or the client's end."""
    since, until = unix_time("since", call.text("since")), unix_time("until", call.text("until"))
    if call.text("until") and until < since:
        raise Invalid(
            f"`since` time ({call.text('since')}) cannot be after `until` time ({call.text('until')})"
        )
    options = EventOptions(since=since, until=until if call.text("until") else None, filters=call.filters())
    events = await call.engine.events.subscribe(options)
    kind = accepted(call.request.headers.get("accept", "")) or (
        JSON_LINES if call.version >= (1, 52) else "application/json"
    )
    return Response(200, streams.joined(events, _encoder(call, kind)), {"Content-Type": kind})


ROUTES = (Route("GET", "/events", stream),)
