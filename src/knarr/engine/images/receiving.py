"""An archive of images arrives as one tar; every file in it becomes a blob, so that it can be read in any order."""

import asyncio
import os
import posixpath
import tarfile
from collections.abc import AsyncIterator
from typing import BinaryIO

from knarr.content.store import Blobs
from knarr.engine.images.compression import Inflater
from knarr.engine.images.errors import BadImage
from knarr.engine.images.holding import Hold
from knarr.engine.images.rooms import Rooms
from knarr.engine.images.settled import quietly, settled
from knarr.engine.images.unpacking import Keeper
from knarr.model.digest import Digest

_CHUNK = 1 << 20
_LINKS = 32
_MOST = 100_000
_EXTENSION, _EXTENSIONS = 1 << 20, 64 << 20
_LONG = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


class _Member(tarfile.TarInfo):
    """Names and attributes are held in memory, and compress well: there is an end to them. Nothing here is sparse."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _LONG:
            read = vars(archive).get("extensions", 0) + self.size
            vars(archive)["extensions"] = read
            if self.size > _EXTENSION or read > _EXTENSIONS:
                raise BadImage("invalid archive: too long names or attributes")
        elif self.type == tarfile.GNUTYPE_SPARSE:
            raise BadImage("invalid archive: a sparse file")
        return super()._proc_member(archive)  # type: ignore[misc,no-any-return]  # typeshed lacks it

    def _proc_gnusparse_10(self, *arguments: object) -> None:
        raise BadImage("invalid archive: a sparse file")


class Received:
    """The files of an archive by their cleaned names."""

    def __init__(self) -> None:
        self.files: dict[str, Digest] = {}
        self.links: dict[str, str] = {}

    def find(self, name: str) -> Digest | None:
        """Follows links."""
        path = _clean(name)
        for _ in range(_LINKS):
            if path in self.files:
                return self.files[path]
            if path not in self.links:
                return None
            path = self.links[path]
        return None

    def get(self, name: str) -> Digest:
        """Raises BadImage."""
        digest = self.find(name)
        if digest is None:
            raise BadImage(f"invalid archive: it has no file {name}")
        return digest


def _clean(name: str) -> str:
    return posixpath.normpath("/" + name).lstrip("/")


async def receive(rooms: Rooms, hold: Hold, stream: AsyncIterator[bytes]) -> Received:
    """Reads the stream to its end. Raises BadImage, OSError."""
    async with rooms.receiving:
        return await _receive(rooms, hold, stream)


async def _receive(rooms: Rooms, hold: Hold, stream: AsyncIterator[bytes]) -> Received:
    drain, feed = os.pipe()
    reading = asyncio.ensure_future(settled(_read, os.fdopen(drain, "rb"), rooms.blobs, hold))
    try:
        await _write(feed, stream)
    except BrokenPipeError:
        return await reading  # it says why it stopped
    except BaseException:
        await quietly(reading)
        raise
    return await reading


async def _write(feed: int, stream: AsyncIterator[bytes]) -> None:
    def sink(data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(feed, view) :]

    inflater = Inflater(sink)
    try:
        async for data in stream:
            await settled(inflater.write, data)
        await settled(inflater.finish)
    finally:
        os.close(feed)


def _read(pipe: BinaryIO, blobs: Blobs, hold: Hold) -> Received:
    received = Received()
    with pipe:
        try:
            with tarfile.open(fileobj=pipe, mode="r|", bufsize=_CHUNK, tarinfo=_Member) as tar:
                for number, member in enumerate(tar):
                    if number >= _MOST:
                        raise BadImage("invalid archive: too many files")
                    _member(tar, member, received, blobs, hold)
        except (tarfile.TarError, EOFError, UnicodeError) as error:
            raise BadImage(f"invalid tar archive: {error}") from None
        while pipe.read(_CHUNK):
            pass
    return received


def _member(
    tar: tarfile.TarFile, member: tarfile.TarInfo, received: Received, blobs: Blobs, hold: Hold
) -> None:
    name = _clean(member.name)
    if member.issym():
        received.links[name] = _clean(posixpath.join(posixpath.dirname(name), member.linkname))
    elif member.islnk():
        received.links[name] = _clean(member.linkname)
    elif member.isreg() and (file := tar.extractfile(member)) is not None:
        with blobs.ingest(None, member.size) as ingest:
            keeper = Keeper(ingest, hold)
            while data := file.read(_CHUNK):
                keeper.write(data)
            received.files[name] = keeper.commit()
