"""Results on their way to a client, by FileSend.DiffCopy: an archive as raw bytes, or a tree in fsutil's packets.

A tree's packets are those of filesync, the other way round: here the daemon walks and the client asks.
"""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

from knarr.build.errors import BuildFailed
from knarr.build.frontdoor.gomode import from_mode
from knarr.build.proto.fsutil_pb2 import Packet, Stat
from knarr.build.proto.session_pb2 import BytesMessage
from knarr.grpc.client import Caller, ClientStream
from knarr.loop.blocking import blocking

DIFF_COPY = "/moby.filesync.v1.FileSend/DiffCopy"
_CHUNK = 32 << 10
_MESSAGE = 1 << 20
_COST = 1 << 10


async def send_file(
    caller: Caller, exporter: int, metadata: Mapping[str, str], chunks: AsyncIterator[bytes]
) -> None:
    """One archive; `metadata` goes along as `exporter-md-…`."""
    headers = [("buildkit-attachable-exporter-id", str(exporter))]
    headers += [(f"exporter-md-{key}", value) for key, value in metadata.items()]
    async with caller.stream(DIFF_COPY, BytesMessage, headers) as stream:
        async for chunk in chunks:
            for start in range(0, len(chunk), _MESSAGE):
                await stream.send(BytesMessage(data=chunk[start : start + _MESSAGE]))
        await stream.end()


async def send_tree(caller: Caller, exporter: int, root: str, divided: bool) -> None:
    """The tree below `root`. `divided`: each of its first directories is one platform's."""
    headers = [("buildkit-attachable-exporter-id", str(exporter))]
    async with caller.stream(DIFF_COPY, Packet, headers) as stream:
        sending = _Sending(stream, root)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(sending.walk())
            tasks.create_task(sending.answer())


class _Sending:
    """One tree under way."""

    def __init__(self, stream: ClientStream[Packet], root: str):
        self._stream = stream
        self._root = root
        self._regular: dict[int, str] = {}

    async def walk(self) -> None:
        """Tells every entry in walking order."""
        told = await blocking(lambda: list(_walk(self._root, "", {})))
        self._regular = {number: entry.path for number, (entry, regular) in enumerate(told) if regular}
        packets = [Packet(type=Packet.PACKET_STAT, stat=entry) for entry, _ in told]
        await self._stream.send_many([*packets, Packet(type=Packet.PACKET_STAT)])

    async def answer(self) -> None:
        """Sends what is asked for until the client has all."""
        while packets := await self._stream.receive_many():
            asked: list[tuple[int, str]] = []
            for packet in packets:
                if packet.type == Packet.PACKET_ERR:
                    raise BuildFailed(f"error from receiver: {packet.data.decode(errors='replace')}")
                if packet.type == Packet.PACKET_REQ:
                    asked.append((packet.ID, self._path(packet.ID)))
            await self._files(asked)
            if packets[-1].type == Packet.PACKET_FIN:
                await self._stream.send(Packet(type=Packet.PACKET_FIN), end=True)
                return
        raise BuildFailed("the client ended the transfer of the result")

    def _path(self, number: int) -> str:
        path = self._regular.pop(number, None)
        if path is None:
            raise BuildFailed(f"invalid file id {number}")
        return path

    async def _files(self, asked: Sequence[tuple[int, str]]) -> None:
        contents = _contents(self._root, asked)
        while packets := await blocking(_some, contents):
            await self._stream.send_many(packets)


def _contents(root: str, asked: Sequence[tuple[int, str]]) -> Iterator[Packet]:
    """Files, one behind the other."""
    for number, path in asked:
        with open(f"{root}/{path}", "rb", buffering=0) as file:
            while data := file.read(_CHUNK):
                yield Packet(type=Packet.PACKET_DATA, ID=number, data=data)
        yield Packet(type=Packet.PACKET_DATA, ID=number)


def _some(packets: Iterator[Packet]) -> list[Packet]:
    """As many as a hop to another thread and a write are worth."""
    found: list[Packet] = []
    size = 0
    for packet in packets:
        found.append(packet)
        size += len(packet.data) + _COST
        if size >= _MESSAGE:
            break
    return found


def _walk(root: str, below: str, linked: dict[tuple[int, int], str]) -> Iterator[tuple[Stat, bool]]:
    """What is told of each entry, and whether it can be asked for; a directory before what is in it, names in order."""
    for name in sorted(os.listdir(f"{root}/{below}"), key=os.fsencode):
        path = f"{below}{name}"
        found = os.lstat(f"{root}/{path}")
        yield stat_of(root, path, found, linked), stat.S_ISREG(found.st_mode)
        if stat.S_ISDIR(found.st_mode):
            yield from _walk(root, f"{path}/", linked)


def stat_of(root: str, path: str, found: os.stat_result, linked: dict[tuple[int, int], str]) -> Stat:
    full = f"{root}/{path}"
    link = os.readlink(full) if stat.S_ISLNK(found.st_mode) else ""
    if stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
        first = linked.setdefault((found.st_dev, found.st_ino), path)
        link = "" if first == path else first
    names = os.listxattr(full, follow_symlinks=False)
    return Stat(
        path=path,
        mode=from_mode(found.st_mode),
        uid=found.st_uid,
        gid=found.st_gid,
        size=found.st_size if stat.S_ISREG(found.st_mode) else 0,
        modTime=found.st_mtime_ns,
        linkname=link,
        devmajor=os.major(found.st_rdev),
        devminor=os.minor(found.st_rdev),
        xattrs={name: os.getxattr(full, name, follow_symlinks=False) for name in names},
    )
