"""What others see of a daemon that works: how long a list of its containers takes, and how much memory its processes have."""

import re
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.client import Client
from bench.sides import Side

_PAUSE = 0.1
_MEMORY_EVERY = 3


class Watch:
    """As a context: from its beginning to its end. `slowest` seconds of a GET /containers/json each 100 ms; `peak` bytes above
    what the daemon's processes had before (PSS)."""

    def __init__(self, side: Side):
        self._side = side
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watch")
        self._before = memory(side)
        self.slowest = self.peak = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        turn = 0
        with Client(self._side.daemon.socket) as client:
            while not self._end.is_set():
                begin = time.perf_counter()
                client.request("GET", "/containers/json")
                self.slowest = max(self.slowest, time.perf_counter() - begin)
                if turn % _MEMORY_EVERY == 0:
                    self.peak = max(self.peak, memory(self._side) - self._before)
                turn += 1
                self._end.wait(_PAUSE)


def memory(side: Side) -> float:
    """Bytes of all of the daemon's processes, what they share counted once."""
    return sum(map(_pss, side.daemon.pids)) * 1024.0


def _pss(pid: int) -> int:
    try:
        found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(found[1]) if found else 0
