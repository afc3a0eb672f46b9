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
from knarr.build.context.intake import Intake, Large, intake
from knarr.build.context.packs import SMALL
from knarr.build.context.store import Files
from knarr.build.errors import BuildFailed
from knarr.build.frontdoor.gomode import to_mode
from knarr.build.proto.fsutil_pb2 import Packet, Stat
from knarr.grpc.client import Caller, ClientStream

DIFF_COPY = "/moby.filesync.v1.FileSync/DiffCopy"
_AT_ONCE = 512
_NO_NAMES = frozenset({"", ".", ".."})


async def receive(
    caller: Caller,
    metadata: Sequence[tuple[str, str]],
    files: Files,
    known: Index,
    counted: Callable[[int], None],
) -> Index:
    """The directory that `metadata` asks for. `known` is what it was last, and what is returned if nothing changed; `counted`
    hears the bytes that came so far. Raises BuildFailed with the client's words."""
    async with caller.stream(DIFF_COPY, Packet, metadata) as stream, intake(files) as taking:
        receiving = _Receiving(stream, taking, known, counted)
        try:
            await receiving.run()
        finally:
            await receiving.close()
        return receiving.found()


class _Receiving:
    def __init__(
        self,
        stream: ClientStream[Packet],
        intake: Intake,
        known: Index,
        counted: Callable[[int], None],
    ):
        self._stream = stream
        self._intake = intake
        self._known = known
        self._counted = counted
        self._bytes = 0
        self._id = 0
        self._walked = False
        self._asked: dict[int, Entry] = {}
        self._requests: list[Packet] = []
        self._asking: asyncio.Task[None] | None = None
        self._parts: dict[int, list[bytes] | Large] = {}
        self._large: list[tuple[Entry, Large]] = []
        self._links: list[tuple[Entry, str]] = []
        self._changed = 0
        self.entries: dict[str, Entry] = {}

    def found(self) -> Index:
        """All that there is."""
        same = not self._changed and len(self.entries) == len(self._known)
        return self._known if same else self.entries

    async def run(self) -> None:
        """Until the client has sent all."""
        while not self._walked or self._asked:
            packets = await self._some()
            for start in range(0, len(packets), _AT_ONCE):
                await self._take(packets[start : start + _AT_ONCE])
                await asyncio.sleep(0)
        await self._intake.finish()
        for entry, large in self._large:
            self._add(entry, large.digest)
        self._resolve_links()
        await self._stream.send(Packet(type=Packet.PACKET_FIN), end=True)
        while all(packet.type != Packet.PACKET_FIN for packet in await self._some()):
            pass

    async def _some(self) -> list[Packet]:
        """What has come, at least one."""
        packets = await self._stream.receive_many()
        if not packets:
            raise BuildFailed("the client ended the transfer of its files")
        self._bytes += sum([packet.ByteSize() for packet in packets])
        self._counted(self._bytes)
        return packets

    async def _take(self, packets: Sequence[Packet]) -> None:
        for packet in packets:
            kind = packet.type
            if kind == Packet.PACKET_DATA:
                self._data(packet.ID, packet.data)
            elif kind == Packet.PACKET_STAT:
                self._stat(packet)
            elif kind == Packet.PACKET_ERR:
                raise BuildFailed(f"error from sender: {packet.data.decode(errors='replace')}")
        self._ask()
        if self._intake.due:
            await self._intake.write()

    def _ask(self) -> None:
        """Beside what is received: the client reads no more requests while nobody takes what it sends."""
        if self._asking is not None and self._asking.done():
            self._asking.result()
            self._asking = None
        if self._requests and self._asking is None:
            requests, self._requests = self._requests, []
            self._asking = asyncio.create_task(self._stream.send_many(requests), name="requests for files")
            self._asking.add_done_callback(self._asked_for)

    def _asked_for(self, asking: "asyncio.Task[None]") -> None:
        if not asking.cancelled() and asking.exception() is None:
            self._ask()

    async def close(self) -> None:
        """Asks for nothing more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    def _stat(self, packet: Packet) -> None:
        if not packet.HasField("stat"):
            self._walked = True
            return
        number, self._id = self._id, self._id + 1
        stat = packet.stat
        known = self._known.get(stat.path)
        if known is not None and _unchanged(known, stat) and self._is_here(known):
            self.entries[known.path] = known
            return
        entry = entry_of(stat)
        self.entries[entry.path] = entry
        if entry.is_regular and stat.linkname:
            self._links.append((entry, stat.linkname.lstrip("/")))
            return
        self._changed += 1
        if entry.is_regular:
            self._asked[number] = entry
            self._requests.append(Packet(type=Packet.PACKET_REQ, ID=number))

    def _is_here(self, known: Entry) -> bool:
        return not known.is_regular or self._intake.has(known.digest, known.size)

    def _data(self, number: int, data: bytes) -> None:
        entry = self._asked.get(number)
        if entry is None:
            raise BuildFailed("the client sent a file that was not asked for")
        if data:
            self._part(number, entry, data)
            return
        part = self._parts.pop(number, ())
        del self._asked[number]
        if isinstance(part, Large):
            part.ended = True
        else:
            self._add(entry, self._intake.small(part[0] if len(part) == 1 else b"".join(part)))

    def _part(self, number: int, entry: Entry, data: bytes) -> None:
        part = self._parts.get(number)
        if part is None:
            self._parts[number] = [data]
        elif isinstance(part, Large):
            self._intake.add(part, data)
        else:
            part.append(data)
            if sum(map(len, part)) > SMALL:
                large = self._parts[number] = self._intake.large()
                self._large.append((entry, large))
                for each in part:
                    self._intake.add(large, each)

    def _add(self, entry: Entry, digest: str) -> None:
        self.entries[entry.path] = replace(entry, digest=digest)

    def _resolve_links(self) -> None:
        """A hard link is another name of what it is linked to."""
        for entry, target in self._links:
            first = self.entries.get(target)
            if first is None or not first.digest:
                raise BuildFailed(f"{entry.path} is linked to {target}, which was not sent")
            linked = replace(entry, digest=first.digest, size=first.size, same=target)
            self.entries[entry.path] = linked
            self._changed += self._known.get(entry.path) != linked


def _unchanged(known: Entry, stat: Stat) -> bool:
    """Whether the same file with the same content is meant, as far as can be told without reading it. A hard link's STAT does
    not say: it has another's content."""
    mode = to_mode(stat.mode)
    return (
        known.mtime == stat.modTime
        and known.mode == mode
        and (known.size == stat.size or not S_ISREG(mode))
        and known.link == stat.linkname
        and (known.uid, known.gid) == (stat.uid, stat.gid)
        and known.device == (stat.devmajor, stat.devminor)
        and known.xattrs == (dict(stat.xattrs) if stat.xattrs else {})
    )


def entry_of(stat: Stat) -> Entry:
    """A STAT as an entry. Raises BuildFailed for a path that leaves the directory."""
    path = stat.path.strip("/")
    if not path or not _NO_NAMES.isdisjoint(path.split("/")):
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
        xattrs=dict(stat.xattrs) if stat.xattrs else {},
    )
