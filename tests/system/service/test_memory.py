"""What knarrd costs that has little to do: all of its processes, after an image came and a container ran."""

import re
from pathlib import Path

from tests.support import host
from tests.system.service.conftest import Make

RESIDENT = 68_000_000
"""`make bench` asks for 70 MB beside dockerd and containerd; the rest is for what grows before anybody looks there."""


def resident(pid: int) -> int:
    """Bytes, of /proc/PID/smaps_rollup."""
    found = re.search(r"^Rss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def test_an_idle_daemon_is_small(make: Make, busybox: Path) -> None:
    daemon = make()
    daemon.start()
    daemon.give_busybox(busybox)
    daemon.docker("run", "--rm", "busybox", "true")
    host.wait_for(lambda: len(daemon.pids) == 4, "the zygote, and the next shim and init")
    assert sum(map(resident, daemon.pids)) <= RESIDENT
