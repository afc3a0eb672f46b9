"""The receiving end of FileSync.DiffCopy: a client's directory becomes an index, its new contents go to the store.

client → STAT… (one an entry, in walking order; its number is its id), an empty STAT
daemon → REQ id   for each regular file that is not known yet
client → DATA id … , an empty DATA ends it; files may interleave
daemon → FIN, client → FIN.  ERR with a text ends it from either side
"""

import asyncio
from collections.abc import Callable, Sequence
from stat import S_ISLNK, S_ISREG

from msgspec.structs import replace

from knarr.build.context.entries import Entry, Index
from knarr.build.context.store import Files, Writing
from knarr.build.errors import BuildFailed
from knarr.build.frontdoor.gomode import to_mode
from knarr.build.proto.fsutil_pb2 import Packet, Stat
from knarr.grpc.client import Caller, ClientStream
from knarr.loop.blocking import blocking, hop

DIFF_COPY = "/moby.filesync.v1.FileSync/DiffCopy"
_SMALL = 256 << 10
_BATCH_FILES, _BATCH_BYTES, _AT_ONCE = 128, 2 << 20, 3


async def receive(
    caller: Caller,
    metadata: Sequence[tuple[str, str]],
    files: Files,
    known: Index,
    counted: Callable[[int], None],
) -> dict[str, Entry]:
    """The directory that `metadata` asks for. `known` is what it was last; `counted` hears the bytes that came so far.
    Raises BuildFailed with the client's words."""
    async with caller.stream(DIFF_COPY, Packet, metadata) as stream:
        receiving = _Receiving(stream, files, known, counted)
        await receiving.run()
        return receiving.entries


class _Receiving:
    def __init__(
        self, stream: ClientStream[Packet], files: Files, known: Index, counted: Callable[[int], None]
    ):
        self._stream = stream
        self._files = files
        self._known = known
        self._counted = counted
        self._bytes = 0
        self._id = 0
        self._walked = False
        self._asked: dict[int, Entry] = {}
        self._parts: dict[int, bytearray | Writing] = {}
        self._small: list[tuple[Entry, bytes]] = []
        self._small_bytes = 0
        self._writing: list[tuple[list[Entry], asyncio.Future[list[str]]]] = []
        self._links: list[tuple[Entry, str]] = []
        self.entries: dict[str, Entry] = {}

    async def run(self) -> None:
        """Until the client has sent all."""
        try:
            while not self._walked or self._asked:
                packet = await self._packet()
                if packet.type == Packet.PACKET_STAT:
                    await self._stat(packet)
                elif packet.type == Packet.PACKET_DATA:
                    await self._data(packet.ID, packet.data)
            await self._keep_small()
        finally:
            await asyncio.gather(*(future for _, future in self._writing), return_exceptions=True)
            for part in self._parts.values():
                if isinstance(part, Writing):
                    part.__exit__()
        self._resolve_links()
        await self._stream.send(Packet(type=Packet.PACKET_FIN), end=True)
        while (await self._packet()).type != Packet.PACKET_FIN:
            pass

    async def _packet(self) -> Packet:
        packet = await self._stream.receive()
        if packet is None:
            raise BuildFailed("the client ended the transfer of its files")
        if packet.type == Packet.PACKET_ERR:
            raise BuildFailed(f"error from sender: {packet.data.decode(errors='replace')}")
        self._bytes += packet.ByteSize()
        self._counted(self._bytes)
        return packet

    async def _stat(self, packet: Packet) -> None:
        if not packet.HasField("stat"):
            self._walked = True
            return
        number, self._id = self._id, self._id + 1
        entry = entry_of(packet.stat)
        self.entries[entry.path] = entry
        if not entry.is_regular:
            return
        if packet.stat.linkname:
            self._links.append((entry, packet.stat.linkname.lstrip("/")))
            return
        known = self._known.get(entry.path)
        if known is not None and known.unchanged(entry) and await self._there(known):
            self.entries[entry.path] = known
            return
        self._asked[number] = entry
        await self._stream.send(Packet(type=Packet.PACKET_REQ, ID=number))

    async def _there(self, known: Entry) -> bool:
        return bool(known.digest) and self._files.has(known.digest, known.size)

    async def _data(self, number: int, data: bytes) -> None:
        entry = self._asked.get(number)
        if entry is None:
            raise BuildFailed("the client sent a file that was not asked for")
        if data:
            await self._part(number, data)
            return
        part = self._parts.pop(number, None)
        del self._asked[number]
        if isinstance(part, Writing):
            with part:
                self._add(entry, await blocking(part.finish))
            return
        self._small.append((entry, bytes(part or b"")))
        self._small_bytes += len(part or b"")
        if len(self._small) >= _BATCH_FILES or self._small_bytes >= _BATCH_BYTES:
            await self._keep_small(_AT_ONCE)

    async def _part(self, number: int, data: bytes) -> None:
        part = self._parts.setdefault(number, bytearray())
        if isinstance(part, bytearray):
            part += data
            if len(part) <= _SMALL:
                return
            data = bytes(part)
            part = self._parts[number] = self._files.writing()
        await blocking(part.write, data)

    async def _keep_small(self, at_most: int = 0) -> None:
        """Begins to write what waits, and waits until at most so many batches are being written: a file system lets one wait for
        a journal, and the next ones come meanwhile."""
        if self._small:
            small, self._small, self._small_bytes = self._small, [], 0
            future = hop(self._files.put, [content for _, content in small])
            self._writing.append(([entry for entry, _ in small], future))
        while len(self._writing) > at_most:
            entries, future = self._writing.pop(0)
            for entry, digest in zip(entries, await future, strict=True):
                self._add(entry, digest)

    def _add(self, entry: Entry, digest: str) -> None:
        self.entries[entry.path] = replace(entry, digest=digest)

    def _resolve_links(self) -> None:
        """A hard link has the content of what it is linked to."""
        for entry, target in self._links:
            first = self.entries.get(target)
            if first is None or not first.digest:
                raise BuildFailed(f"{entry.path} is linked to {target}, which was not sent")
            self.entries[entry.path] = replace(entry, digest=first.digest, size=first.size)


def entry_of(stat: Stat) -> Entry:
    """A STAT as an entry. Raises BuildFailed for a path that leaves the directory."""
    path = stat.path.strip("/")
    if not path or any(part in ("", ".", "..") for part in path.split("/")):
        raise BuildFailed(f"invalid path in the build context: {stat.path!r}")
    mode = to_mode(stat.mode)
    return Entry(
        path=path,
        mode=mode,
        size=stat.size if S_ISREG(mode) else 0,
        mtime=stat.modTime,
        uid=stat.uid,
        gid=stat.gid,
        link=stat.linkname if S_ISLNK(mode) else "",
        device=(stat.devmajor, stat.devminor),
        xattrs=dict(stat.xattrs),
    )
