"""What processes worked: user and system time, that of the children they waited for included."""

import os
from collections.abc import Iterable
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def worked(pids: Iterable[int]) -> float:
    """Seconds, of all of them since they began; one that is gone counts with its parent."""
    return sum(map(_ticks, pids)) / _TICKS


def _ticks(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(field) for field in text.rpartition(")")[2].split()[11:15])
