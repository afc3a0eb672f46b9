"""`knarr logs` and `knarr events`: what was written, what happened."""

import json
import sys
import time
from typing import Any

from knarr.api.client.http import Http
from knarr.cli.common import Failed, filters
from knarr.cli.flags import Flag, Options, Verb
from knarr.cli.template import Template
from knarr.model.durations import parse_duration
from knarr.model.errors import Invalid
from knarr.wire import mux

LOGS = Verb(
    "logs",
    "Fetch the logs of a container",
    "[OPTIONS] CONTAINER",
    (
        Flag("details", "", "bool", "Show extra details provided to logs"),
        Flag("follow", "f", "bool", "Follow log output"),
        Flag(
            "since",
            "",
            "string",
            'Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m")',
        ),
        Flag("tail", "n", "string", "Number of lines to show from the end of the logs", "all"),
        Flag("timestamps", "t", "bool", "Show timestamps"),
        Flag("until", "", "string", "Show logs before a timestamp or relative time"),
    ),
    least=1,
    most=1,
)
EVENTS = Verb(
    "events",
    "Get real time events from the server",
    "[OPTIONS]",
    (
        Flag("filter", "f", "filter", "Filter output based on conditions provided"),
        Flag("format", "", "string", "Format output using a custom template: 'json' or a Go template"),
        Flag("since", "", "string", "Show all events created since timestamp"),
        Flag("until", "", "string", "Stream events until this timestamp"),
    ),
    most=0,
)


def moment(text: str) -> str | None:
    """A point in time as the API takes it: seconds, RFC 3339, or a span before now ("1h30m"). Raises Failed."""
    if not text:
        return None
    if text.replace(".", "", 1).isdigit():
        return text
    try:
        return str(int(time.time() - parse_duration(text) / 1e9))
    except Invalid:
        pass
    from datetime import datetime

    try:
        stamp = datetime.fromisoformat(_micro(text.replace("Z", "+00:00")))
    except ValueError:
        raise Failed(f'failed to parse value as time or duration: "{text}"', 1) from None
    fraction = text.partition(".")[2]
    digits = fraction[: len(fraction) - len(fraction.lstrip("0123456789"))] or "0"
    return f"{int(stamp.timestamp())}.{digits.ljust(9, '0')[:9]}"


def _micro(text: str) -> str:
    """Python reads six digits of a second's fraction."""
    head, point, rest = text.partition(".")
    if not point:
        return text
    zone = rest.lstrip("0123456789")
    return f"{head}.{rest[: len(rest) - len(zone)].ljust(6, '0')[:6]}{zone}"


def logs(http: Http, options: Options) -> int:
    """Each stream to its own."""
    name = options.args[0]
    with http.request("GET", f"/containers/{name}/json") as answer:
        tty = bool(answer.json()["Config"]["Tty"])
    query = {
        "stdout": True,
        "stderr": True,
        "follow": options.follow,
        "since": moment(options.since),
        "until": moment(options.until),
        "tail": options.tail,
        "timestamps": options.timestamps,
        "details": options.details,
    }
    decoder = None if tty else mux.Decoder()
    with http.request("GET", f"/containers/{name}/logs", query) as answer:
        for piece in answer.pieces():
            frames = decoder.feed(piece) if decoder else [mux.Frame(mux.STDOUT, piece)]
            for frame in frames:
                out = sys.stderr if frame.stream == mux.STDERR else sys.stdout
                out.buffer.write(frame.data)
                out.flush()
    return 0


def events(http: Http, options: Options) -> int:
    """One line an event."""
    query = {
        "since": moment(options.since),
        "until": moment(options.until),
        "filters": filters(options.filter),
    }
    template = Template(options.format) if options.format not in ("", "json") else None
    with http.request("GET", "/events", query) as answer:
        for event in answer.lines():
            if template:
                print(template.render(event), flush=True)
            elif options.format == "json":
                print(json.dumps(event, separators=(",", ":")), flush=True)
            else:
                print(_line(event), flush=True)
    return 0


def _line(event: dict[str, Any]) -> str:
    seconds, nanoseconds = divmod(event["timeNano"], 1_000_000_000)
    local = time.localtime(seconds)
    zone = time.strftime("%z", local)
    stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{nanoseconds:09d}{'Z' if zone == '+0000' else f'{zone[:3]}:{zone[3:]}'}"
    attributes = ", ".join(f"{key}={value}" for key, value in sorted(event["Actor"]["Attributes"].items()))
    return f"{stamp} {event['Type']} {event['Action']} {event['Actor']['ID']} ({attributes})"
