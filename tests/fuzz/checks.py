"""Loaded by schemathesis (scripts/fuzz-api): what no answer may be, and what is not sent because it would wait for ever."""

import re
from typing import Any

import schemathesis

# dockerd's own 500s: what a registry, a port or a program of the user's is to blame for.
_DOCKERS = re.compile(
    r"port is already allocated|driver failed programming external connectivity|cannot assign requested address"
    r"|dial tcp|lookup |connection refused|Cannot connect to host|address already in use|unsupported protocol scheme"
)


@schemathesis.check  # type: ignore[untyped-decorator]
def no_bug(context: Any, response: Any, case: Any) -> None:
    """A 500 is a bug unless dockerd has it, too; 501 and 503 name what is not there."""
    if response.status_code < 500:
        return
    text = response.text
    if response.status_code in (501, 503) and text.strip():
        return
    if response.status_code == 500 and _DOCKERS.search(text):
        return
    raise AssertionError(f"{response.status_code} {text[:500]}")


@schemathesis.check  # type: ignore[untyped-decorator]
def errors_have_a_message(context: Any, response: Any, case: Any) -> None:
    """Every refusal is JSON with one message."""
    kind = response.headers.get("content-type", [""])[0]
    if response.status_code < 400 or case.method == "HEAD" or not kind.startswith("application/json"):
        return
    message = response.json().get("message")
    if not isinstance(message, str) or not message:
        raise AssertionError(f"{response.status_code} without a message: {response.text[:200]}")


@schemathesis.serializer("application/x-tar", "application/octet-stream")  # type: ignore[untyped-decorator]
def tar(context: Any, value: Any) -> bytes:
    """Archives are bytes, mostly not of archives."""
    return value if isinstance(value, bytes) else str(value).encode()


@schemathesis.hook  # type: ignore[untyped-decorator]
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Whatever a case has or has not: streams end."""
    query = case.query if isinstance(case.query, dict) else {}
    path = case.operation.path
    if path == "/events":
        query.setdefault("until", 1)
        if not re.fullmatch(r"\d{1,9}", str(query["until"])):
            query["until"] = "x"
    elif path.endswith("/stats"):
        query["stream"] = 0
    elif path.endswith("/wait"):
        query["condition"] = "x"
    elif path.endswith("/logs"):
        query.pop("follow", None)
    if str(query.get("t", "")).startswith("-"):
        query["t"] = 0  # below zero is for ever
    case.query = query
