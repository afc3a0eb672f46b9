"""GET /containers/{name}/stats: samples as Docker tells them, each with the CPU numbers of the one before."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from knarr.api.server.call import Call, Route
from knarr.api.server.replies import encode, reply
from knarr.api.server.streams import Body
from knarr.api.spec.history import shaped
from knarr.api.spec.versions import Version
from knarr.engine.stats import Sample
from knarr.loop.http.messages import Response
from knarr.model.errors import Invalid
from knarr.model.moments import rfc3339

_BLKIO = (
    ("io_service_bytes_recursive", "ioServiceBytesRecursive"),
    ("io_serviced_recursive", "ioServicedRecursive"),
    ("io_queue_recursive", "ioQueueRecursive"),
    ("io_service_time_recursive", "ioServiceTimeRecursive"),
    ("io_wait_time_recursive", "ioWaitTimeRecursive"),
    ("io_merged_recursive", "ioMergedRecursive"),
    ("io_time_recursive", "ioTimeRecursive"),
    ("sectors_recursive", "sectorsRecursive"),
)
_NO_CPU = {
    "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
    "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
}


async def stats(call: Call) -> Response:
    """A stream, or with `stream=false` one answer: after a second, unless `one-shot`."""
    once = call.flag("one-shot")
    if call.flag("stream", True):
        if once:
            raise Invalid("cannot have stream=true and one-shot=true")
        samples = await call.engine.containers.samples(call.name)
        return Response(
            200, Body(_stream(samples, call.version), samples), {"Content-Type": "application/json"}
        )
    before = None if once else await call.engine.containers.sample(call.name)
    if before is not None and before.cgroup is not None:
        await asyncio.sleep(1)
    value = told(await call.engine.containers.sample(call.name), before, named=not once)
    return reply(shaped("stats", value, call.version))


async def _stream(samples: AsyncIterator[Sample], version: Version) -> AsyncIterator[bytes]:
    before = None
    async for sample in samples:
        yield encode(shaped("stats", told(sample, before), version)) + b"\n"
        before = sample


def told(sample: Sample, before: Sample | None = None, *, named: bool = True) -> dict[str, Any]:
    """StatsResponse. `before` is the sample a second earlier."""
    value: dict[str, Any] = {"name": f"/{sample.name}", "id": sample.id} if named else {}
    value |= {"os_type": "linux", "read": rfc3339(sample.at), "preread": rfc3339(before.at if before else 0)}
    cgroup = sample.cgroup
    value |= {
        "pids_stats": _pids(cgroup) if cgroup else {},
        "blkio_stats": {key: _entries(cgroup["blkio"].get(name)) if cgroup else None for key, name in _BLKIO},
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": _cpu(sample),
        "precpu_stats": _cpu(before) if before else _NO_CPU,
        "memory_stats": _memory(cgroup["memory"], sample.memory) if cgroup else {},
    }
    if sample.networks:
        value["networks"] = {name: dict(numbers) for name, numbers in sample.networks.items()}
    return value


def _pids(cgroup: Mapping[str, Any]) -> dict[str, int]:
    found = cgroup["pids"]
    limit = {"limit": found["limit"]} if found.get("limit") else {}
    return {"current": found["current"], **limit}


def _entries(found: Sequence[Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    return [{key: each[key] for key in ("major", "minor", "op", "value")} for each in found or ()]


def _cpu(sample: Sample) -> dict[str, Any]:
    if sample.cgroup is None:
        return _NO_CPU
    usage, throttled = sample.cgroup["cpu"]["usage"], sample.cgroup["cpu"]["throttling"]
    percpu = {"percpu_usage": usage["percpu"]} if usage.get("percpu") else {}
    return {
        "cpu_usage": {
            "total_usage": usage["total"],
            **percpu,
            "usage_in_kernelmode": usage["kernel"],
            "usage_in_usermode": usage["user"],
        },
        "system_cpu_usage": sample.system_cpu,
        "online_cpus": sample.cpus,
        "throttling_data": {
            "periods": throttled["periods"],
            "throttled_periods": throttled["throttledPeriods"],
            "throttled_time": throttled["throttledTime"],
        },
    }


def _memory(found: Mapping[str, Any], machine: int) -> dict[str, Any]:
    """A limit above the machine's memory is none."""
    counter = found["usage"]
    value: dict[str, Any] = {"usage": counter["usage"]}
    if counter.get("max"):
        value["max_usage"] = counter["max"]
    value["stats"] = dict(found["raw"])
    if counter.get("failcnt"):
        value["failcnt"] = counter["failcnt"]
    value["limit"] = min(counter["limit"], machine) or machine
    return value


ROUTES = (Route("GET", "/containers/{name}/stats", stats),)
