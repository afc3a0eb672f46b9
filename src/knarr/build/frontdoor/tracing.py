"""A build's trace, as OpenTelemetry's spans in BuildKit's form: one JSON object a span. Made of what the record's log tells, when
somebody asks for it: the build, and below it each step that began. Pure.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from knarr.build.proto import control_pb2 as pb
from knarr.model.version import VERSION

TRACE = "application/vnd.buildkit.otlp.json.v0"
_NOBODY = ("0" * 32, "0" * 16)
_INTERNAL = 1
_UNSET, _ERROR, _OK = 0, 1, 2


def trace(record: pb.BuildHistoryRecord, log: Iterable[pb.StatusResponse]) -> bytes:
    """Of a build that is over."""
    steps = {vertex.digest: vertex for message in log for vertex in message.vertexes}
    known = hashlib.sha256(record.Ref.encode()).hexdigest()[:32]
    top = (known, _span(record.Ref))
    failed = record.error.message if record.HasField("error") else ""
    spans = [
        _told(
            step.name,
            (known, _span(f"{record.Ref} {step.digest}")),
            top,
            step.started,
            step.completed if step.HasField("completed") else record.CompletedAt,
            {"vertex": step.digest, "cached": step.cached},
            (_ERROR, step.error) if step.error else (_UNSET, ""),
        )
        for step in steps.values()
        if step.HasField("started")
    ]
    outcome = (_ERROR, failed) if failed else (_OK, "")
    told = {"ref": record.Ref, "frontend": record.Frontend or "dockerfile.v0"}
    spans.append(_told("build", top, _NOBODY, record.CreatedAt, record.CompletedAt, told, outcome))
    return b"".join(json.dumps(span).encode() + b"\n" for span in spans)


def _span(text: str) -> str:
    return hashlib.sha256(f"span {text}".encode()).hexdigest()[:16]


def _told(
    name: str,
    own: tuple[str, str],
    parent: tuple[str, str],
    started: Timestamp,
    ended: Timestamp,
    attributes: Mapping[str, str | bool],
    outcome: tuple[int, str],
) -> dict[str, Any]:
    code, text = outcome
    return {
        "Name": name,
        "SpanContext": _context(own, flags="01"),
        "Parent": _context(parent, flags="00" if parent is _NOBODY else "01"),
        "SpanKind": _INTERNAL,
        "StartTime": started.ToJsonString(),
        "EndTime": ended.ToJsonString(),
        "Attributes": _pairs(attributes),
        "Events": None,
        "Links": None,
        "Status": {"Code": code, "Description": text},
        "DroppedAttributes": 0,
        "DroppedEvents": 0,
        "DroppedLinks": 0,
        "ChildSpanCount": 0,
        "Resource": _pairs({"service.name": "knarrd", "service.version": VERSION}),
        "InstrumentationLibrary": {"Name": "knarr", "Version": VERSION, "SchemaURL": ""},
    }


def _context(names: tuple[str, str], *, flags: str) -> dict[str, Any]:
    known, span = names
    return {"TraceID": known, "SpanID": span, "TraceFlags": flags, "TraceState": "", "Remote": False}


def _pairs(values: Mapping[str, str | bool]) -> list[dict[str, Any]]:
    return [
        {"Key": key, "Value": {"Type": "BOOL" if isinstance(value, bool) else "STRING", "Value": value}}
        for key, value in values.items()
    ]
