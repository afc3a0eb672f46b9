"""What containers use: samples of their cgroups, their networks and the machine, a second apart."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from knarr.engine.live import Live, Roster
from knarr.engine.world import now
from knarr.kernel.files import read_text
from knarr.loop.blocking import blocking
from knarr.model.errors import Conflict, NotFound, Unavailable

_TICK = 1_000_000_000 // 100  # USER_HZ
_PERIOD = 1.0
_COUNTED = 7  # the fields of /proc/stat's first line up to softirq: what follows is counted in them already


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One look. `cgroup` is what `runc events` tells, None of a container that does not run; `networks` are counters by
    interface (proc_net_dev); `system_cpu` is the whole machine's time in nanoseconds, `memory` its bytes."""

    id: str
    name: str
    at: int = 0
    cgroup: Mapping[str, Any] | None = None
    networks: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    system_cpu: int = 0
    cpus: int = 0
    memory: int = 0


async def look(live: Live) -> Sample:
    """Now."""
    if not live.runs or live.shim is None:
        return Sample(id=live.id, name=live.name)
    try:
        cgroup = await live.shim.stats()
    except (NotFound, Unavailable, Conflict):
        return Sample(id=live.id, name=live.name)
    own = live.spec.network_mode not in ("host", "none")
    networks, system, memory = await blocking(_machine, live.state.pid if own else 0)
    return Sample(
        id=live.id,
        name=live.name,
        at=now(),
        cgroup=cgroup,
        networks=networks,
        system_cpu=system,
        cpus=os.cpu_count() or 1,
        memory=memory,
    )


async def follow(live: Live, roster: Roster) -> AsyncIterator[Sample]:
    """A sample each second until the container is removed."""
    while live.id in roster:
        yield await look(live)
        await asyncio.sleep(_PERIOD)


def _machine(pid: int) -> tuple[dict[str, dict[str, int]], int, int]:
    """Blocking: the interfaces of a process' network, the machine's CPU time and memory."""
    try:
        networks = interfaces(read_text(f"/proc/{pid}/net/dev")) if pid else {}
    except OSError:
        networks = {}
    return networks, system_time(read_text("/proc/stat")), total_memory(read_text("/proc/meminfo"))


def interfaces(text: str) -> dict[str, dict[str, int]]:
    """Reads /proc/PID/net/dev (proc_net_dev(5)), without lo."""
    found = {}
    for line in text.splitlines()[2:]:
        name, _, values = line.partition(":")
        numbers = [int(word) for word in values.split()]
        if name.strip() == "lo" or len(numbers) < 12:
            continue
        found[name.strip()] = {
            "rx_bytes": numbers[0],
            "rx_packets": numbers[1],
            "rx_errors": numbers[2],
            "rx_dropped": numbers[3],
            "tx_bytes": numbers[8],
            "tx_packets": numbers[9],
            "tx_errors": numbers[10],
            "tx_dropped": numbers[11],
        }
    return found


def system_time(text: str) -> int:
    """All processors' time since boot, by /proc/stat (proc_stat(5)), in nanoseconds."""
    words = text.partition("\n")[0].split()[1 : 1 + _COUNTED]
    return sum(int(word) for word in words) * _TICK


def total_memory(text: str) -> int:
    """MemTotal of /proc/meminfo, in bytes."""
    for line in text.splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) << 10
    return 0
