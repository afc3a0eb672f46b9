"""Messages of the Status stream as values of build.progress, and as BuildKit's JSON."""

from typing import Any

from knarr.build.told import Output, Spot, Status, Update, Vertex, Warned
from knarr.wire.protobuf import Fields


def values(body: bytes) -> list[Update]:
    """What happened, by a moby.buildkit.v1.StatusResponse. Raises Malformed."""
    reply = Fields(body)
    found: list[Update] = [_vertex(each) for each in reply.messages(1)]
    found += [_status(each) for each in reply.messages(2)]
    found += [
        Output(vertex=log.text(1), moment=_moment(log, 2), stream=log.number(3), data=log.data(4))
        for log in reply.messages(3)
    ]
    found += [_warning(each) for each in reply.messages(4)]
    return found


def _vertex(told: Fields) -> Vertex:
    return Vertex(
        digest=told.text(1),
        inputs=tuple([each.decode() for each in told.all(2)]),
        name=told.text(3),
        cached=bool(told.number(4)),
        started=_moment(told, 5),
        completed=_moment(told, 6),
        error=told.text(7),
    )


def _status(told: Fields) -> Status:
    return Status(
        id=told.text(1),
        vertex=told.text(2),
        name=told.text(3),
        current=told.number(4),
        total=told.number(5),
        moment=_moment(told, 6),
        started=_moment(told, 7),
        completed=_moment(told, 8),
    )


def _warning(told: Fields) -> Warned:
    source = told.message(6)
    return Warned(
        vertex=told.text(1),
        level=told.number(2),
        short=told.text(3),
        detail=tuple([each.decode(errors="replace") for each in told.all(4)]),
        url=told.text(5),
        filename=source.text(1),
        source=source.data(2),
        ranges=tuple([_range(each) for each in told.messages(7)]),
    )


def _range(told: Fields) -> Spot:
    start, end = told.message(1), told.message(2)
    return (start.number(1), start.number(2)), (end.number(1), end.number(2))


def _moment(told: Fields, field: int) -> int:
    """A google.protobuf.Timestamp in nanoseconds; 0 where there is none."""
    if not told.has(field):
        return 0
    found = told.message(field)
    return found.number(1) * 10**9 + found.number(2)


def document(update: Update) -> tuple[str, dict[str, Any]]:
    """One update as `--progress rawjson` has it: the list that it goes into, and its fields."""
    match update:
        case Vertex():
            fields = {
                "digest": update.digest,
                "inputs": list(update.inputs),
                "name": update.name,
                "started": _text(update.started),
                "completed": _text(update.completed),
                "cached": update.cached,
                "error": update.error,
            }
            return "vertexes", {name: value for name, value in fields.items() if value}
        case Status():
            fields = {
                "id": update.id,
                "vertex": update.vertex,
                "name": update.name,
                "total": update.total,
                "current": update.current,
                "timestamp": _text(update.moment),
                "started": _text(update.started),
                "completed": _text(update.completed),
            }
            kept = ("id", "vertex", "current", "timestamp")
            return "statuses", {name: value for name, value in fields.items() if value or name in kept}
        case Output():
            return "logs", {
                "vertex": update.vertex,
                "stream": update.stream,
                "data": _base64(update.data),
                "timestamp": _text(update.moment),
            }
        case Warned():
            return "warnings", _warned(update)


def _warned(update: Warned) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "vertex": update.vertex,
        "level": update.level,
        "short": _base64(update.short.encode()),
        "detail": [_base64(line.encode()) for line in update.detail],
        "url": update.url,
    }
    if update.filename:
        fields["sourceInfo"] = {
            "filename": update.filename,
            "data": _base64(update.source),
            "language": "Dockerfile",
        }
        fields["range"] = [
            {"start": {"line": first, "character": column}, "end": {"line": last, "character": end}}
            for (first, column), (last, end) in update.ranges
        ]
    return {name: value for name, value in fields.items() if value}


def _base64(data: bytes) -> str:
    from base64 import b64encode

    return b64encode(data).decode()


def _text(moment: int) -> str:
    if not moment:
        return ""
    from datetime import UTC, datetime

    seconds, nanos = divmod(moment, 10**9)
    whole = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{nanos:09d}".rstrip("0").rstrip(".") + "Z"
