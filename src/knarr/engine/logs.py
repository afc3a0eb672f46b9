"""Reads a container's log where its driver keeps one that can be read; following waits for inotify(7), it never polls.

Drivers that send elsewhere are read from the cache that their shims keep beside it (dual logging), if it is not disabled.
"""

import asyncio
import os
from collections.abc import AsyncIterator

from knarr.engine import logdrivers
from knarr.engine.live import Live
from knarr.engine.logfiles import LogFiles
from knarr.engine.values import LogLine, LogOptions, Waited
from knarr.engine.world import World
from knarr.kernel.inotify import IN_CREATE, IN_MODIFY, IN_MOVED_TO, inotify_add_watch, inotify_init
from knarr.loop.blocking import blocking
from knarr.model.errors import Invalid, Unsupported


async def read_log(world: World, live: Live, options: LogOptions) -> AsyncIterator[LogLine]:
    """Ready when awaited: opened, watched. Raises Unsupported, Invalid."""
    if not options.stdout and not options.stderr:
        raise Invalid("Bad parameters: you must choose at least one stream")
    path = source(world, live)
    follow = options.follow and live.runs
    ended = live.ended if follow else None
    watch = _Watch(os.path.dirname(path), ended) if follow else None
    reader = LogFiles(path, local=live.spec.log.driver != "json-file")
    try:
        await blocking(reader.open, options.tail)
    except BaseException:
        _close(reader, watch)
        raise
    return _lines(reader, watch, options)


def source(world: World, live: Live) -> str:
    """The newest file of what can be read. Raises Unsupported."""
    driver, options = live.spec.log.driver, live.spec.log.options
    if driver == "json-file":
        return world.paths.log(live.id)
    if driver == "local":
        return world.paths.local_log(live.id)
    if driver == "none" or logdrivers.uncached(options):
        raise Unsupported("configured logging driver does not support reading")
    return world.paths.cached_log(live.id)


async def _lines(reader: LogFiles, watch: "_Watch | None", options: LogOptions) -> AsyncIterator[LogLine]:
    wanted = {name for name, yes in (("stdout", options.stdout), ("stderr", options.stderr)) if yes}
    try:
        while True:
            ending = watch is None or watch.ended.done()
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


def _close(reader: LogFiles, watch: "_Watch | None") -> None:
    reader.close()
    if watch is not None:
        watch.close()


class _Watch:
    """Wakes when the log's directory changes or the container ends."""

    def __init__(self, directory: str, ended: "asyncio.Future[Waited] | None") -> None:
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[Waited] = ended if ended is not None else self._loop.create_future()
        self._event = asyncio.Event()
        self._fd = inotify_init()
        try:
            inotify_add_watch(self._fd, directory, IN_MODIFY | IN_CREATE | IN_MOVED_TO)
        except BaseException:
            os.close(self._fd)
            raise
        self._loop.add_reader(self._fd, self._readable)
        self.ended.add_done_callback(self._over)

    def _readable(self) -> None:
        try:
            os.read(self._fd, 65536)
        except BlockingIOError:
            return
        self._event.set()

    def _over(self, _: object) -> None:
        self._event.set()

    async def changed(self) -> None:
        """Returns when something happened since the last call."""
        await self._event.wait()
        self._event.clear()

    def close(self) -> None:
        """May be called again."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
            self.ended.remove_done_callback(self._over)
