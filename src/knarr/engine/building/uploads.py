"""A context that comes as an archive (POST /build, `docker build - < context.tar`): members to the store, the rest an index."""

import asyncio
import os
import posixpath
import stat
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

from msgspec.structs import replace

from knarr.build.context.entries import Entry, Index
from knarr.build.context.packs import SMALL, Packing
from knarr.build.context.store import Files
from knarr.build.dockerfile.ignore import Matcher
from knarr.build.errors import BuildFailed
from knarr.build.port import Console, Contents
from knarr.build.progress import Step
from knarr.engine.images.compression import Inflater
from knarr.engine.images.settled import settled
from knarr.engine.images.unpacking import widen
from knarr.kernel.files import write_all
from knarr.loop.blocking import hop
from knarr.snapshots import header
from knarr.snapshots.header import Header
from knarr.snapshots.source import Source

_LUMP = 1 << 20


async def receive(body: AsyncIterator[bytes], files: Files) -> dict[str, Entry]:
    """The entries of an archive, compressed or not, in walking order. Raises BadArchive, BuildFailed."""
    drain, feed = os.pipe()
    widen(feed)
    reading = hop(_read, drain, files)
    try:
        inflater = Inflater(lambda piece: write_all(feed, piece))
        async for data in _lumps(body):
            await settled(inflater.write, data)
        await settled(inflater.finish)
    except BrokenPipeError:
        pass  # the reader says why
    finally:
        os.close(feed)
        await asyncio.wait([reading])
    found = reading.result()
    return {path: found[path] for path in sorted(found, key=lambda path: path.split("/"))}


async def _lumps(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """A client may send a few kilobytes at a time; to give each of them to a thread would cost more than what is in them."""
    pieces: list[bytes] = []
    size = 0
    async for data in body:
        pieces.append(data)
        size += len(data)
        if size >= _LUMP:
            yield b"".join(pieces)
            pieces, size = [], 0
    yield b"".join(pieces)


def _read(drain: int, files: Files) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    try:
        with files.packing() as packing:
            source = Source(drain)
            keeping = _Keeping(source, files, packing)
            for member in source.members():
                path = posixpath.normpath("/" + os.fsdecode(member.name)).strip("/")
                if path:
                    _parents(found, path)
                    entry = _entry(path, member, keeping, found)
                    if entry is not None:
                        found[path] = entry
            packing.finish()
    finally:
        os.close(drain)
    return found


def _parents(found: dict[str, Entry], path: str) -> None:
    """An archive need not name the directories that its members are in."""
    parts = path.split("/")
    for count in range(1, len(parts)):
        above = "/".join(parts[:count])
        if above not in found:
            found[above] = Entry(path=above, mode=stat.S_IFDIR | 0o755)


def _entry(path: str, member: Header, keeping: "_Keeping", found: Mapping[str, Entry]) -> Entry | None:
    if member.kind == header.LINK:
        first = found.get(posixpath.normpath("/" + os.fsdecode(member.link)).strip("/"))
        if first is None:
            raise BuildFailed(f"{path} is a link to {os.fsdecode(member.link)}, which is not in the archive")
        return replace(first, path=path, same=(first.same or first.path) if first.is_regular else "")
    kind = header.FORMATS.get(member.kind)
    if kind is None:
        return None
    return Entry(
        path=path,
        mode=kind | member.mode,
        size=member.size,
        mtime=member.mtime,
        link=os.fsdecode(member.link) if kind == stat.S_IFLNK else "",
        digest=keeping.content(member) if kind == stat.S_IFREG else "",
        device=member.device,
        xattrs=member.xattrs,
    )


class _Keeping:
    """Contents of an archive's members, to the store."""

    def __init__(self, source: Source, files: Files, packing: Packing):
        self._source = source
        self._files = files
        self._packing = packing

    def content(self, member: Header) -> str:
        """The digest of the member that is read now."""
        if member.size <= SMALL:
            return self._packing.keep(b"".join([bytes(piece) for piece in self._source.pieces()]))
        with self._files.writing() as writing:
            for piece in self._source.pieces():
                writing.write(piece)
            return writing.finish()


class Uploaded:
    """A session that lends one archive's files and nothing else; and the only one there is."""

    id = "upload"

    def __init__(self, index: Index, credentials: Mapping[str, tuple[str, str]]):
        self._index = index
        self._credentials = credentials

    async def get(self, name: str) -> "Uploaded":
        """As the Sessions of a build."""
        del name
        return self

    async def directory(
        self,
        name: str,
        step: Step,
        *,
        follow: Sequence[str] = (),
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        label: str = "context",
    ) -> Index:
        """The archive's files, whatever the name: what a build does not follow costs nothing here."""
        del name, step, follow, include, label
        return filtered(self._index, exclude)

    async def upload(self, address: str, name: str, step: Step) -> Index:
        """There is none."""
        raise BuildFailed(f"the client uploads nothing: {address}")

    async def secret(self, name: str) -> bytes | None:
        """There are none."""
        del name
        return None

    def ssh_agent(self, name: str) -> AbstractAsyncContextManager[str]:
        """There is none."""
        raise BuildFailed(f"unset ssh forward key {name}")

    def console(self, title: str) -> AbstractAsyncContextManager[Console] | None:
        """There is none."""
        del title
        return None

    async def credentials(self, host: str) -> tuple[str, str]:
        """Those that came with the request."""
        return self._credentials.get(host, ("", ""))

    async def send_file(
        self, exporter: int, metadata: Mapping[str, str], chunks: AsyncIterator[bytes]
    ) -> None:
        """The classic API has no way back."""
        raise BuildFailed("this client takes no files")

    async def send_tree(self, exporter: int, root: str, divided: bool) -> None:
        """The classic API has no way back."""
        raise BuildFailed("this client takes no files")

    def contents(self, store: str) -> Contents:
        """There is none."""
        raise BuildFailed(f"the client has no content store {store}")


def filtered(index: Index, exclude: Sequence[str]) -> Index:
    """Without what the patterns exclude; a directory stays if something in it does."""
    if not exclude:
        return index
    matcher = Matcher(exclude)
    kept = {path for path in index if not matcher.excludes(path)}
    for path in list(kept):
        while "/" in path:
            path = posixpath.dirname(path)
            if path in kept:
                break
            kept.add(path)
    return {path: entry for path, entry in index.items() if path in kept}
