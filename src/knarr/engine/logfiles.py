"""A container's log files, oldest first, plain or packed, of json-file or local; blocking, without policy.

All files are opened before the first line is read, so a rotation meanwhile moves names, not what is read. A packed file is
unpacked into an unnamed file when its turn comes.
"""

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from knarr.kernel.inotify import IN_CREATE, IN_MODIFY, IN_MOVED_TO, inotify_add_watch, inotify_init
from knarr.model.errors import Invalid
from knarr.wire import jsonlog, locallog
from knarr.wire.record import Record

BLOCK = 256 << 10
_GZIP = 31
_EDGE = 4


class Decoder(Protocol):
    """Bytes in pieces → records."""

    def feed(self, data: bytes) -> Iterator[Record]:
        """Raises Invalid where nothing more can be found."""


class JsonDecoder:
    """Lines; one that is no record is passed over."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Record]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            try:
                yield jsonlog.decode(line)
            except Invalid:
                continue


@dataclass(slots=True)
class LogFiles:
    """The files of one log; `local` has Docker's protobuf records in them, otherwise JSON lines."""

    path: str
    local: bool = False
    files: list[int] = field(default_factory=list)
    decoder: Decoder = field(default_factory=JsonDecoder)

    def open(self, tail: int | None) -> None:
        """Opens every file; with a `tail` finds where its records begin."""
        self._renew()
        self.files = [fd for name in _names(self.path) if (fd := _open(name)) >= 0]
        if tail is not None:
            self._seek(tail)

    def _renew(self) -> None:
        self.decoder = locallog.Decoder() if self.local else JsonDecoder()

    def _seek(self, tail: int) -> None:
        """Leaves only what holds the last `tail` records open, each file at its place."""
        missing = tail
        keep = 0
        for index in range(len(self.files) - 1, -1, -1):
            fd = self.files[index] = self._unpacked(self.files[index])
            size = os.fstat(fd).st_size
            position, found = _back_by_lengths(fd, size, missing) if self.local else _back(fd, size, missing)
            os.lseek(fd, position, os.SEEK_SET)
            missing -= found
            keep = index
            if missing <= 0:
                break
        for fd in self.files[:keep]:
            os.close(fd)
        del self.files[:keep]

    def _unpacked(self, fd: int) -> int:
        """The same file, or another descriptor with what was packed in it."""
        if os.pread(fd, 2, 0) != b"\x1f\x8b":
            return fd
        plain = os.open(os.path.dirname(self.path), os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        coder = zlib.decompressobj(wbits=_GZIP)
        try:
            while data := os.read(fd, BLOCK):
                _write(plain, coder.decompress(data))
        except zlib.error:
            pass  # what could be read of it is read
        written = os.fstat(fd)
        os.utime(plain, ns=(written.st_atime_ns, written.st_mtime_ns))
        os.close(fd)
        os.lseek(plain, 0, os.SEEK_SET)
        return plain

    def watched(self) -> tuple[int, bool]:
        """An inotify(7) of the directory, which is the caller's."""
        fd = inotify_init()
        try:
            inotify_add_watch(fd, os.path.dirname(self.path), IN_MODIFY | IN_CREATE | IN_MOVED_TO)
        except BaseException:
            os.close(fd)
            raise
        return fd, True

    def catch_up(self) -> None:
        """Files need no time."""

    def more(self) -> list[Record]:
        """The next records, [] at the end for now."""
        while True:
            if not self.files and not self._next_file():
                return []
            data = self._read()
            if data:
                records = self._records(data)
                if records:
                    return records
            elif len(self.files) > 1 or self._next_file():
                os.close(self.files.pop(0))
                self._renew()
                self.files[0] = self._unpacked(self.files[0])
            else:
                return []

    def _read(self) -> bytes:
        fd = self.files[0]
        if os.lseek(fd, 0, os.SEEK_CUR) == 0:
            fd = self.files[0] = self._unpacked(fd)
        data = os.read(fd, BLOCK)
        if not data and os.lseek(fd, 0, os.SEEK_CUR) > os.fstat(fd).st_size:
            os.lseek(fd, 0, os.SEEK_SET)  # the only file there is was begun anew
            self._renew()
            data = os.read(fd, BLOCK)
        return data

    def _records(self, data: bytes) -> list[Record]:
        found: list[Record] = []
        try:
            found.extend(self.decoder.feed(data))
        except Invalid:
            os.lseek(self.files[0], 0, os.SEEK_END)
            self._renew()
        return found

    def _next_file(self) -> bool:
        """After a rotation the file that follows the one that is open."""
        names = _names(self.path)
        if not self.files:
            names = names[-1:]
        else:
            mine = os.fstat(self.files[-1])
            inodes = [_inode(name) for name in names]
            if mine.st_ino in inodes:
                names = names[inodes.index(mine.st_ino) + 1 :]
            else:
                names = [name for name in names if _written(name) > mine.st_mtime_ns]
        opened = [fd for name in names if (fd := _open(name)) >= 0]
        self.files += opened
        return bool(opened)

    def close(self) -> None:
        """May be called again."""
        for fd in self.files:
            os.close(fd)
        self.files.clear()


def _open(name: str) -> int:
    try:
        return os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _names(path: str) -> list[str]:
    """The log's files that exist, oldest first."""
    names = []
    number = 1
    while found := [name for name in (f"{path}.{number}", f"{path}.{number}.gz") if os.path.exists(name)]:
        names.append(found[0])
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


def _written(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except FileNotFoundError:
        return 0


def _back(fd: int, size: int, wanted: int) -> tuple[int, int]:
    """Where the last `wanted` lines before `size` begin, and how many there are."""
    if wanted <= 0:
        return size, 0
    found, position = 0, size
    while position > 0:
        begin = max(position - BLOCK, 0)
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


def _back_by_lengths(fd: int, size: int, wanted: int) -> tuple[int, int]:
    """As `_back`, by the lengths behind each record; where they make no sense the rest is left out."""
    found, position = 0, size
    while found < wanted and position > 2 * _EDGE:
        length = int.from_bytes(os.pread(fd, _EDGE, position - _EDGE), "big")
        begin = position - length - 2 * _EDGE
        if begin < 0 or int.from_bytes(os.pread(fd, _EDGE, begin), "big") != length:
            break
        found, position = found + 1, begin
    return position, found
