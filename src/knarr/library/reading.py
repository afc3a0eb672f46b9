"""Docker's JSON to values. Absent, null and "never" (year 1) become a field's default. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from knarr.library.values import Progress, Stats

T = TypeVar("T")
_NEVER = "0001-01-01T00:00:00Z"


def read(kind: type[T], value: Any) -> T:
    """Docker's JSON as `kind`."""
    return msgspec.convert(_given(value), kind, strict=False)


def read_whole(kind: type[T], value: dict[str, Any]) -> T:
    """The same, with the whole as `raw`."""
    return msgspec.convert({**_given(value), "raw": value}, kind, strict=False)


def _given(value: Any) -> Any:
    """Without what Go means by nothing."""
    if isinstance(value, dict):
        return {key: _given(each) for key, each in value.items() if each is not None and each != _NEVER}
    if isinstance(value, list):
        return [_given(each) for each in value]
    return value


def progress(value: Mapping[str, Any]) -> Progress:
    """A line of docker's progress."""
    detail = value.get("progressDetail") or {}
    return Progress(
        status=str(value.get("status") or ""),
        id=str(value.get("id") or ""),
        current=int(detail.get("current") or 0),
        total=int(detail.get("total") or 0),
        stream=str(value.get("stream") or ""),
    )


def stats(value: Mapping[str, Any]) -> Stats:
    """A sample, with docker's arithmetic."""
    cpu, before = value.get("cpu_stats") or {}, value.get("precpu_stats") or {}
    used = _number(cpu, "cpu_usage", "total_usage") - _number(before, "cpu_usage", "total_usage")
    passed = _number(cpu, "system_cpu_usage") - _number(before, "system_cpu_usage")
    memory = value.get("memory_stats") or {}
    cache = memory.get("stats") or {}
    cached = cache.get("total_inactive_file", cache.get("inactive_file", 0))
    networks = (value.get("networks") or {}).values()
    moved = (value.get("blkio_stats") or {}).get("io_service_bytes_recursive") or ()
    return Stats(
        at=read(datetime, value["read"]) if value.get("read") not in (None, _NEVER) else None,
        cpu=used / passed * (cpu.get("online_cpus") or 1)
        if used > 0 and passed > 0 and before.get("system_cpu_usage")
        else 0.0,
        memory=max(int(memory.get("usage", 0)) - int(cached), 0),
        memory_limit=int(memory.get("limit", 0)),
        received=sum(int(each.get("rx_bytes", 0)) for each in networks),
        sent=sum(int(each.get("tx_bytes", 0)) for each in networks),
        read=sum(int(each["value"]) for each in moved if each["op"].lower() == "read"),
        written=sum(int(each["value"]) for each in moved if each["op"].lower() == "write"),
        pids=_number(value, "pids_stats", "current"),
    )


def _number(value: Mapping[str, Any], *keys: str) -> int:
    found: Any = value
    for key in keys:
        found = (found or {}).get(key)
    return int(found or 0)
