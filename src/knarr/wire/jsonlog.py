"""Lines of Docker's json-file log: {"log": "text\\n", "stream": "stdout", "time": "RFC 3339 with nanoseconds"}.

A line of output longer than the writer's buffer comes as several records; only the last one's text ends with "\\n".
"""

import json

from knarr.model.errors import Invalid
from knarr.model.moments import parse_rfc3339, rfc3339_fixed
from knarr.wire.record import Record

_string = json.encoder.encode_basestring_ascii


def encode(record: Record) -> bytes:
    """The record's line. Bytes that are no UTF-8 become U+FFFD, as with Docker."""
    text = _string(record.data.decode("utf-8", "replace"))
    return f'{{"log":{text},"stream":"{record.stream}","time":"{rfc3339_fixed(record.at)}"}}\n'.encode()


def decode(line: bytes) -> Record:
    """Raises Invalid for a line that a crash cut short or that is something else."""
    try:
        value = json.loads(line)
        return Record(
            value["stream"],
            parse_rfc3339(value["time"]),
            value["log"].encode("utf-8", "surrogatepass"),
            value.get("attrs") or {},
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Invalid("not a log record") from None
