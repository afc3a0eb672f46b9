"""What a container costs in memory: budgets of the shim, of the zygote and of what waits beside it, and that none of it grows."""

import asyncio
import re
from pathlib import Path
from statistics import median

from tests.support import host
from tests.system.runtime.conftest import PATIENCE, Runtime

SHIMS = 10
OWN = 1_700_000
"""Bytes that a quiet shim has for itself: with its share of the zygote's pages, 2 MB (`make bench` measures that one)."""
ZYGOTE = 13_000_000
LINES, GROWTH = 400_000, 2_000_000


def memory(pid: int, name: str) -> int:
    """Bytes, of /proc/PID/smaps_rollup."""
    found = re.search(rf"^{name}:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def test_a_shim_is_small(runtime: Runtime) -> None:
    shims = [await runtime.launch(runtime.order("sleep", "1000")) for _ in range(SHIMS)]
    for shim in shims:
        await shim.start()
    assert median(memory(parent(shim.pid), "Private_Dirty") for shim in shims) <= OWN


async def test_the_zygote_and_what_waits_are_small(runtime: Runtime) -> None:
    await runtime.run("true")
    await asyncio.to_thread(
        host.wait_for, lambda: len(host.descendants(runtime.zygote.pid)) == 2, "the next shim and init"
    )
    for pid in (runtime.zygote.pid, *host.descendants(runtime.zygote.pid)):
        assert memory(pid, "Rss") <= ZYGOTE


async def test_a_shim_does_not_grow_with_what_its_container_says(runtime: Runtime) -> None:
    """Through the log and its rotation: what it takes to carry them is bounded."""
    lines = f"yes {'x' * 99} | head -n {LINES}"
    order = runtime.order("sh", "-c", f"echo begun; read x; {lines}; echo over; read x", stdin=True)
    order["log"].update(max_size=4_000_000, max_file=2)
    log = Path(order["log"]["path"])
    shim = await runtime.launch(order)
    await shim.start()
    await asyncio.to_thread(host.wait_for, lambda: "begun" in text(log), "the first line")
    before = memory(parent(shim.pid), "Private_Dirty")
    gate = Path(f"/proc/{shim.pid}/fd/0")
    gate.write_bytes(b"\n")
    await asyncio.to_thread(host.wait_for, lambda: "over" in text(log), "the last line")
    after = memory(parent(shim.pid), "Private_Dirty")
    gate.write_bytes(b"\n")
    await asyncio.wait_for(asyncio.shield(shim.exited), PATIENCE)
    assert after <= before + GROWTH


def text(log: Path) -> str:
    """The end of a log; a rotation may have taken its name away for a moment."""
    try:
        return log.read_text()[-1000:]
    except FileNotFoundError:
        return ""
