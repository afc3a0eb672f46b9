"""Messages of the Status stream as values of build.progress, and as BuildKit's JSON."""

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from knarr.build.proto import control_pb2 as pb
from knarr.build.told import Output, Status, Update, Vertex, Warned


def values(reply: pb.StatusResponse) -> Iterator[Update]:
    """What happened."""
    for vertex in reply.vertexes:
        yield Vertex(
            digest=vertex.digest,
            name=vertex.name,
            inputs=tuple(vertex.inputs),
            started=_moment(vertex, "started"),
            completed=_moment(vertex, "completed"),
            cached=vertex.cached,
            error=vertex.error,
        )
    for status in reply.statuses:
        yield Status(
            id=status.ID,
            vertex=status.vertex,
            name=status.name,
            current=status.current,
            total=status.total,
            moment=_moment(status, "timestamp"),
            started=_moment(status, "started"),
            completed=_moment(status, "completed"),
        )
    for log in reply.logs:
        yield Output(
            vertex=log.vertex, moment=_moment(log, "timestamp"), stream=int(log.stream), data=log.msg
        )
    for warning in reply.warnings:
        yield Warned(
            vertex=warning.vertex,
            level=int(warning.level),
            short=warning.short.decode(errors="replace"),
            detail=tuple(line.decode(errors="replace") for line in warning.detail),
            url=warning.url,
            filename=warning.info.filename,
            source=warning.info.data,
            ranges=tuple(
                ((each.start.line, each.start.character), (each.end.line, each.end.character))
                for each in warning.ranges
            ),
        )


def _moment(message: Any, field: str) -> int:
    if not message.HasField(field):
        return 0
    found: Timestamp = getattr(message, field)
    return found.seconds * 10**9 + found.nanos


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
                "data": base64.b64encode(update.data).decode(),
                "timestamp": _text(update.moment),
            }
        case Warned():
            return "warnings", _warned(update)


def _warned(update: Warned) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "vertex": update.vertex,
        "level": update.level,
        "short": base64.b64encode(update.short.encode()).decode(),
        "detail": [base64.b64encode(line.encode()).decode() for line in update.detail],
        "url": update.url,
    }
    if update.filename:
        fields["sourceInfo"] = {
            "filename": update.filename,
            "data": base64.b64encode(update.source).decode(),
            "language": "Dockerfile",
        }
        fields["range"] = [
            {"start": {"line": first, "character": column}, "end": {"line": last, "character": end}}
            for (first, column), (last, end) in update.ranges
        ]
    return {name: value for name, value in fields.items() if value}


def _text(moment: int) -> str:
    if not moment:
        return ""
    seconds, nanos = divmod(moment, 10**9)
    whole = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{nanos:09d}".rstrip("0").rstrip(".") + "Z"
