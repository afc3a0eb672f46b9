"""Files of a client's context as a tar stream: headers from the index, contents from the store. Blocking."""

import os
import re
import stat
import struct
from typing import BinaryIO

from knarr.build.context.entries import Entry
from knarr.build.context.select import Match
from knarr.build.context.store import Files, Reader
from knarr.engine.images.compression import Inflater
from knarr.engine.images.errors import BadImage
from knarr.kernel.files import write_all
from knarr.snapshots import header
from knarr.snapshots.header import BadHeader, Header

_FLUSH = 256 << 10
_IN_GO = (
    (r"invalid tar header", "archive/tar: invalid tar header"),
    (r"unexpected end of archive", "unexpected EOF"),
    (r"invalid xz data: it ends too early", "exit status 1: xz: (stdin): Unexpected end of input"),
    (r"invalid \w+ data: it ends too early", "unexpected EOF"),
    (r"cannot extract .*: Too many levels of symbolic links", "too many links"),
    (r"archive member '(.*)' has '\.\.' in its name", r'invalid entry name "\1"'),
)


def write_archive(feed: int, files: Files, match: Match) -> None:
    """One match of a copy: a file by its name, a directory as "." and what is in it."""
    with files.reader() as reader:
        writer = _Writer(feed, reader)
        if not match.is_dir:
            assert match.entry is not None
            writer.add(match.name, match.entry)
        else:
            if match.entry is not None:
                writer.add(".", match.entry)
            for path, entry in match.members:
                writer.add(path, entry)
        writer.finish()


class _Writer:
    def __init__(self, feed: int, reader: Reader):
        self._feed = feed
        self._reader = reader
        self._pending = bytearray()
        self._names: dict[str, str] = {}

    def add(self, name: str, entry: Entry) -> None:
        """One member; sockets are left out. Of a file with several names the later ones are links."""
        kind = header.KINDS.get(stat.S_IFMT(entry.mode))
        if kind is None:
            return
        first = self._names.setdefault(entry.same or entry.path, name) if entry.is_regular else name
        if first != name:
            self._pending += header.encode(_header(name, header.LINK, entry, link=first))
        else:
            self._pending += header.encode(_header(name, kind, entry, link=entry.link))
            if entry.is_regular and entry.size:
                self._content(entry)
        if len(self._pending) >= _FLUSH:
            self._flush()

    def _content(self, entry: Entry) -> None:
        if entry.size <= _FLUSH:
            self._pending += self._reader.read(entry.digest, entry.size)
        else:
            self._flush()
            fd, offset = self._reader.find(entry.digest)
            left = entry.size
            while left and (sent := os.sendfile(self._feed, fd, offset, left)):
                offset, left = offset + sent, left - sent
        self._pending += header.padding(entry.size)

    def _flush(self) -> None:
        write_all(self._feed, bytes(self._pending))
        self._pending.clear()

    def finish(self) -> None:
        """The end of the archive."""
        self._pending += header.ZEROS * 2
        self._flush()


def _header(name: str, kind: bytes, entry: Entry, *, link: str) -> Header:
    encoded = os.fsencode(name)
    return Header(
        encoded + b"/" if kind == header.DIRECTORY else encoded,
        kind,
        stat.S_IMODE(entry.mode),
        entry.uid,
        entry.gid,
        size=entry.size if kind == header.REGULAR else 0,
        mtime=entry.mtime,
        link=os.fsencode(link),
        device=entry.device,
        xattrs=entry.xattrs,
    )


def in_gos_words(text: str) -> str:
    """What is wrong with an archive, as dockerd tells it."""
    for pattern, words in _IN_GO:
        if (found := re.match(pattern, text)) is not None:
            return found.expand(words)
    return text


def is_archive(files: Files, digest: str) -> bool:
    """Whether a content is a tar archive, compressed or not: its first header says so."""
    head = bytearray()

    def take(piece: bytes) -> None:
        head.extend(piece[: header.BLOCK])
        if len(head) >= header.BLOCK:
            raise _EnoughError

    try:
        with files.opened(digest) as file:
            inflater = Inflater(take)
            while data := file.read(_FLUSH):
                inflater.write(data)
            inflater.finish()
    except _EnoughError:
        pass
    except (BadImage, EOFError, OSError):
        return False
    try:
        header.parse(bytes(head[: header.BLOCK]))
    except (BadHeader, ValueError, struct.error):
        return False
    return True


class _EnoughError(Exception):
    """The first block is here."""


def inflate(file: BinaryIO, feed: int) -> None:
    """The plain bytes of a file, which is closed, to a descriptor."""
    with file:
        inflater = Inflater(lambda piece: write_all(feed, piece))
        while data := file.read(_FLUSH):
            inflater.write(data)
        inflater.finish()
