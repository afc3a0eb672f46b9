"""Reads a container's log where its driver keeps one that can be read; following waits for inotify(7), it never polls.

journald's is read in the journal. Other drivers that send elsewhere are read from the cache that their shims keep beside it
(dual logging), if it is not disabled.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Protocol

from knarr.engine import logdrivers
from knarr.engine.journal import JournalLog
from knarr.engine.live import Live
from knarr.engine.logfiles import LogFiles
from knarr.engine.values import LogLine, LogOptions, Waited
from knarr.engine.world import World
from knarr.kernel import journal
from knarr.loop.blocking import blocking
from knarr.model.errors import Invalid, Unsupported
from knarr.wire.record import Record


class Source(Protocol):
    """A log that can be read; blocking."""

    def open(self, tail: int | None) -> None:
        """At the first record, or the last `tail` ones."""

    def watched(self) -> tuple[int, bool]:
        """A descriptor that becomes readable when there may be more, and whether it is the caller's."""

    def more(self) -> list[Record]:
        """The next records, [] at the end for now."""

    def catch_up(self) -> None:
        """Nothing more will be written: what was is there now."""

    def close(self) -> None:
        """May be called again."""


async def read_log(world: World, live: Live, options: LogOptions) -> AsyncIterator[LogLine]:
    """Ready when awaited: opened, watched. Raises Unsupported, Invalid."""
    if not options.stdout and not options.stderr:
        raise Invalid("Bad parameters: you must choose at least one stream")
    reader = source(world, live)
    watch = None
    try:
        await blocking(reader.open, options.tail)
        if options.follow and live.runs:
            watch = _Watch(*reader.watched(), live.ended)
    except BaseException:
        _close(reader, watch)
        raise
    return _lines(reader, watch, options)


def source(world: World, live: Live) -> Source:
    """What can be read. Raises Unsupported."""
    driver, options, paths = live.spec.log.driver, live.spec.log.options, world.paths
    if driver == "json-file":
        return LogFiles(paths.log(live.id))
    if driver == "local":
        return LogFiles(paths.local_log(live.id), local=True)
    cached = paths.cached_log(live.id)
    if driver == "journald" and not os.path.exists(cached) and journal.available():
        return JournalLog(live.id)
    if driver == "none" or logdrivers.uncached(options):
        raise Unsupported("configured logging driver does not support reading")
    return LogFiles(cached, local=True)


async def _lines(reader: Source, watch: "_Watch | None", options: LogOptions) -> AsyncIterator[LogLine]:
    wanted = {name for name, yes in (("stdout", options.stdout), ("stderr", options.stderr)) if yes}
    try:
        while True:
            ending = watch is None or watch.ended.done()
            if ending and watch is not None:
                await blocking(reader.catch_up)
            records = await blocking(reader.more)
            for record in records:
                if options.until and record.at > options.until:
                    return
                if record.stream in wanted and record.at >= options.since:
                    yield LogLine(record.stream, record.at, record.data, record.attrs)
            if records:
                continue
            if ending or watch is None:
                return
            await watch.changed()
    finally:
        _close(reader, watch)


def _close(reader: Source, watch: "_Watch | None") -> None:
    if watch is not None:
        watch.close()
    reader.close()


class _Watch:
    """Wakes when `fd` is readable or the container ends. `own`: the descriptor is an inotify(7) of ours, to be emptied and closed;
    another is its reader's, who empties it: it is not looked at in between."""

    def __init__(self, fd: int, own: bool, ended: "asyncio.Future[Waited] | None") -> None:
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[Waited] = ended if ended is not None else self._loop.create_future()
        self._event = asyncio.Event()
        self._fd, self._own, self._armed = fd, own, False
        self.ended.add_done_callback(self._over)
        self._arm()

    def _arm(self) -> None:
        if not self._armed:
            self._armed = True
            self._loop.add_reader(self._fd, self._readable)

    def _readable(self) -> None:
        if self._own:
            try:
                os.read(self._fd, 65536)
            except BlockingIOError:
                return
        else:
            self._loop.remove_reader(self._fd)
            self._armed = False
        self._event.set()

    def _over(self, _: object) -> None:
        self._event.set()

    async def changed(self) -> None:
        """Returns when something happened since the last call."""
        self._arm()
        await self._event.wait()
        self._event.clear()

    def close(self) -> None:
        """May be called again."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            if self._own:
                os.close(self._fd)
            self._fd = -1
            self.ended.remove_done_callback(self._over)
