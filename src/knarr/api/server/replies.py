"""Answers in JSON."""

from typing import Any

import msgspec

from knarr.loop.http.messages import Response

encode = msgspec.json.encode


def reply(value: Any, status: int = 200) -> Response:
    """`value` as JSON, with Go's newline behind it."""
    return Response(status, encode(value) + b"\n", {"Content-Type": "application/json"})


def nothing() -> Response:
    """204: done."""
    return Response(204)
