"""Reads a container's json-file log, across its rotations; following waits for inotify(7), it never polls.

All files are opened before the first line is read, so a rotation meanwhile moves names, not what is read.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

from knarr.engine.live import Live
from knarr.engine.values import LogLine, LogOptions, Waited
from knarr.engine.world import World
from knarr.kernel.inotify import IN_CREATE, IN_MODIFY, IN_MOVED_TO, inotify_add_watch, inotify_init
from knarr.loop.blocking import blocking
from knarr.model.errors import Invalid, Unsupported
from knarr.wire.jsonlog import Record, decode

_BLOCK = 256 << 10


async def read_log(world: World, live: Live, options: LogOptions) -> AsyncIterator[LogLine]:
    """Ready when awaited: opened, watched. Raises Unsupported, Invalid."""
    if not options.stdout and not options.stderr:
        raise Invalid("Bad parameters: you must choose at least one stream")
    if live.spec.log.driver == "none":
        raise Unsupported("configured logging driver does not support reading")
    follow = options.follow and live.runs
    ended = live.ended if follow else None
    watch = _Watch(world.paths.container(live.id), ended) if follow else None
    reader = _Reader(world.paths.log(live.id))
    try:
        await blocking(reader.open, options.tail)
    except BaseException:
        _close(reader, watch)
        raise
    return _lines(reader, watch, options)


async def _lines(reader: "_Reader", watch: "_Watch | None", options: LogOptions) -> AsyncIterator[LogLine]:
    wanted = {name for name, yes in (("stdout", options.stdout), ("stderr", options.stderr)) if yes}
    try:
        while True:
            ending = watch is None or watch.ended.done()
            records = await blocking(reader.more)
            for record in records:
                if options.until and record.at > options.until:
                    return
                if record.stream in wanted and record.at >= options.since:
                    yield LogLine(record.stream, record.at, record.data)
            if records:
                continue
            if ending or watch is None:
                return
            await watch.changed()
    finally:
        _close(reader, watch)


def _close(reader: "_Reader", watch: "_Watch | None") -> None:
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


@dataclass(slots=True)
class _Reader:
    """The open files, oldest first; blocking."""

    path: str
    files: list[int] = field(default_factory=list)
    rest: bytes = b""
    first: list[Record] = field(default_factory=list)

    def open(self, tail: int | None) -> None:
        """Opens every file; with a `tail` finds where its lines begin."""
        self.files = [os.open(name, os.O_RDONLY | os.O_CLOEXEC) for name in _names(self.path)]
        if tail is not None:
            self._seek(tail)

    def _seek(self, tail: int) -> None:
        """Leaves only what holds the last `tail` records open, each file at its place."""
        missing = tail
        keep = 0
        for index in range(len(self.files) - 1, -1, -1):
            fd = self.files[index]
            size = os.fstat(fd).st_size
            position, found = _back(fd, size, missing)
            os.lseek(fd, position, os.SEEK_SET)
            missing -= found
            keep = index
            if missing <= 0:
                break
        for fd in self.files[:keep]:
            os.close(fd)
        del self.files[:keep]

    def more(self) -> list[Record]:
        """The next records, [] at the end for now."""
        while True:
            if not self.files and not self._next_file():
                return []
            data = os.read(self.files[0], _BLOCK)
            if data:
                records = list(self._records(data))
                if records:
                    return records
            elif len(self.files) > 1 or self._next_file():
                os.close(self.files.pop(0))
                self.rest = b""
            else:
                return []

    def _next_file(self) -> bool:
        """After a rotation the file that follows the one that is open."""
        if not self.files:
            names = _names(self.path)[-1:]
        else:
            mine = os.fstat(self.files[-1]).st_ino
            names = _names(self.path)
            inodes = [_inode(name) for name in names]
            names = names[inodes.index(mine) + 1 :] if mine in inodes else names
        for name in names:
            try:
                self.files.append(os.open(name, os.O_RDONLY | os.O_CLOEXEC))
            except FileNotFoundError:
                continue
        return bool(names) and len(self.files) > 0

    def _records(self, data: bytes) -> Iterator[Record]:
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            try:
                yield decode(line)
            except Invalid:
                continue

    def close(self) -> None:
        """May be called again."""
        for fd in self.files:
            os.close(fd)
        self.files.clear()


def _names(path: str) -> list[str]:
    """The log's files that exist, oldest first."""
    names = []
    number = 1
    while os.path.exists(f"{path}.{number}"):
        names.append(f"{path}.{number}")
        number += 1
    names.reverse()
    if os.path.exists(path):
        names.append(path)
    return names


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return 0


def _back(fd: int, size: int, wanted: int) -> tuple[int, int]:
    """Where the last `wanted` lines before `size` begin, and how many there are."""
    if wanted <= 0:
        return size, 0
    found, position = 0, size
    while position > 0:
        begin = max(position - _BLOCK, 0)
        block = os.pread(fd, position - begin, begin)
        at = len(block)
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            if begin + at + 1 == size:
                continue
            found += 1
            if found == wanted:
                return begin + at + 1, found
        position = begin
    return 0, found + (1 if size else 0)
