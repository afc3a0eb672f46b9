"""events: a container's numbers, once or every few seconds, and each time that the kernel killed it for lack of memory."""

import json
import os
import select
import time
from collections.abc import Iterator
from typing import Any

from knarr.kernel.files import write_text
from knarr.model.errors import Conflict, Invalid
from knarr.runtime.oci.container import STOPPED, Container
from knarr.runtime.oci.errors import words
from knarr.runtime.oci.log import say
from knarr.runtime.oci.session import Session

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def run(session: Session) -> int:
    """Prints one JSON object a line, until the container is gone."""
    call = session.call
    container = Container.load(session.root, call.id)
    interval = duration(call.text("interval") or "5s")
    if interval <= 0:
        raise Invalid("duration interval must be greater than 0")
    if container.status() == STOPPED:
        raise Conflict(f"container with id {container.id} is not running")
    if call.on("stats"):
        _tell(container, "stats", _stats(container))
        return 0
    _follow(session, container, interval)
    return 0


def duration(text: str) -> float:
    """Go's words for a time: "1s", "100ms", "1m30s". Seconds. Pure. Raises Invalid."""
    total, number, rest = 0.0, "", text
    while rest:
        while rest[:1].isdigit() or rest[:1] == ".":
            number, rest = number + rest[0], rest[1:]
        unit = next((name for name in ("ns", "us", "µs", "ms", "s", "m", "h") if rest.startswith(name)), "")
        if not unit or not number.strip("."):
            raise Invalid(f'invalid value "{text}" for flag -interval: parse error')
        total, number, rest = total + float(number) * _UNITS[unit], "", rest[len(unit) :]
    return total


def _stats(container: Container) -> dict[str, Any]:
    group = container.cgroup()
    return dict(group.stats()) if group is not None else {}


def _tell(container: Container, kind: str, data: "dict[str, Any] | None" = None) -> None:
    event: dict[str, Any] = {"type": kind, "id": container.id}
    if data is not None:
        event["data"] = data
    say(json.dumps(event, separators=(",", ":")) + "\n")


def _follow(session: Session, container: Container, interval: float) -> None:
    """Until the init has ended, and its memory cgroup with it."""
    watch = Watch(container.state["cgroup_paths"])
    init = container.open_init()
    due = time.monotonic() + interval
    while True:
        poll = select.poll()
        poll.register(init, select.POLLIN)
        watch.register(poll)
        ready = dict(poll.poll(max(0, int((due - time.monotonic()) * 1000) + 1)))
        for _ in range(watch.kills(ready)):
            _tell(container, "oom")
        if init in ready:
            return
        if time.monotonic() >= due:
            due += interval
            try:
                _tell(container, "stats", _stats(container))
            except OSError as error:
                session.log.error(words(error))


class Watch:
    """Tells of kills for lack of memory: version 1 by an eventfd, version 2 by a poll of memory.events."""

    def __init__(self, paths: dict[str, str]):
        self._event, self._file, self._seen = -1, -1, 0
        self._control = f"{paths.get('memory')}/cgroup.event_control"
        if "memory" in paths:
            self._event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._file = os.open(f"{paths['memory']}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
            write_text(self._control, f"{self._event} {self._file}")
        elif "" in paths:
            self._file = os.open(f"{paths['']}/memory.events", os.O_RDONLY | os.O_CLOEXEC)
            self._seen = self._counted()

    def register(self, poll: "select.poll") -> None:
        """Adds itself to a poll."""
        if self._event >= 0:
            poll.register(self._event, select.POLLIN)
        elif self._file >= 0:
            poll.register(self._file, select.POLLPRI)

    def kills(self, ready: dict[int, int]) -> int:
        """How many happened since the last call."""
        if self._event in ready:
            number = os.eventfd_read(self._event)
            # The end of a cgroup is an event, too (cgroup-v1/cgroups.rst, 2.4).
            return number if os.path.exists(self._control) else 0
        if self._file in ready and self._event < 0:
            before, self._seen = self._seen, self._counted()
            return self._seen - before
        return 0

    def _counted(self) -> int:
        try:
            text = os.pread(self._file, 4096, 0).decode()
        except OSError:  # ENODEV: the cgroup is gone
            return self._seen
        return next((int(row.split()[1]) for row in _rows(text) if row.startswith("oom_kill ")), self._seen)


def _rows(text: str) -> Iterator[str]:
    return iter(text.splitlines())
