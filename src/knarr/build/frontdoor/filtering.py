"""Which of the records are told: BuildKit's filters (`status==error`, `repository~=text`, `duration>5s`), joined by commas; one of
several must match."""

import csv
import re
import time
from collections.abc import Callable, Sequence

from knarr.build.errors import BuildFailed
from knarr.build.proto import control_pb2 as pb
from knarr.model.durations import parse_duration
from knarr.model.errors import Invalid
from knarr.model.moments import parse_rfc3339

Test = Callable[[pb.BuildHistoryRecord], bool]
_TERM = re.compile(r"([A-Za-z]+)(==|!=|~=|>=|<=|>|<)(.*)\Z", re.DOTALL)
_TEXTS = ("ref", "repository", "status")
_TIMES = ("startedAt", "completedAt", "duration")
_SECOND = 10**9


def matching(
    records: Sequence[pb.BuildHistoryRecord], filters: Sequence[str], limit: int
) -> list[pb.BuildHistoryRecord]:
    """Those that are told; at most the newest `limit`, 0 for all. Raises BuildFailed."""
    if limit < 0:
        raise BuildFailed(f"invalid limit {limit}")
    tests = [_parsed(text) for text in filters if text]
    found = [each for each in records if not tests or any(all(t(each) for t in terms) for terms in tests)]
    if not limit:
        return found
    return sorted(found, key=lambda each: _at(each, "startedAt"), reverse=True)[:limit]


def _parsed(text: str) -> list[Test]:
    (row,) = csv.reader([text])
    return [_term(each) for each in row]


def _term(text: str) -> Test:
    found = _TERM.match(text)
    if found is None:
        raise BuildFailed(f"invalid filter {text}")
    name, operator, value = found.groups()
    if name in _TEXTS and operator in ("==", "!=", "~="):
        return _text(name, operator, value)
    if name in _TIMES and operator[0] in "<>":
        return _time(name, operator, value)
    raise BuildFailed(f"unsupported filter {text}")


def _text(name: str, operator: str, value: str) -> Test:
    def test(record: pb.BuildHistoryRecord) -> bool:
        mine = {"ref": record.Ref, "status": status(record), "repository": _repository(record)}[name]
        if operator == "~=":
            return bool(re.search(value, mine))
        return (mine == value) is (operator == "==")

    try:
        re.compile(value)
    except re.error as error:
        raise BuildFailed(f"invalid filter {name}{operator}{value}: {error}") from error
    return test


def _time(name: str, operator: str, value: str) -> Test:
    try:
        limit = parse_duration(value)
        if name != "duration":
            limit = time.time_ns() - limit
    except Invalid:
        try:
            limit = parse_rfc3339(value)
        except Invalid:
            raise BuildFailed(f"invalid time {value}") from None
    if name != "duration":
        limit //= _SECOND

    def test(record: pb.BuildHistoryRecord) -> bool:
        mine = _at(record, name) if name == "duration" else _at(record, name) // _SECOND
        return {">=": mine >= limit, "<=": mine <= limit, ">": mine > limit, "<": mine < limit}[operator]

    return test


def status(record: pb.BuildHistoryRecord) -> str:
    """running, completed, canceled or error."""
    if not record.HasField("CompletedAt"):
        return "running"
    if not record.HasField("error"):
        return "completed"
    return "canceled" if "context canceled" in record.error.message else "error"


def _repository(record: pb.BuildHistoryRecord) -> str:
    return record.FrontendAttrs.get("vcs:source") or record.FrontendAttrs.get("context", "").partition("#")[0]


def _at(record: pb.BuildHistoryRecord, name: str) -> int:
    """Nanoseconds; 0 for what has not happened."""
    started, completed = record.CreatedAt.ToNanoseconds(), record.CompletedAt.ToNanoseconds()
    return {
        "startedAt": started,
        "completedAt": completed,
        "duration": completed - started if completed else 0,
    }[name]
