"""Results on their way to a client, by FileSend.DiffCopy: an archive as raw bytes, or a tree in fsutil's packets.

A tree's packets are those of filesync, the other way round: here the daemon walks and the client asks.
"""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import BinaryIO

from knarr.build.errors import BuildFailed
from knarr.build.frontdoor.gomode import from_mode
from knarr.build.proto.fsutil_pb2 import Packet, Stat
from knarr.build.proto.session_pb2 import BytesMessage
from knarr.grpc.client import Caller, ClientStream
from knarr.loop.blocking import blocking

DIFF_COPY = "/moby.filesync.v1.FileSend/DiffCopy"
_CHUNK = 32 << 10
_MESSAGE = 1 << 20


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
        self._one = asyncio.Lock()

    async def walk(self) -> None:
        """Tells every entry in walking order."""
        told_all = await blocking(lambda: list(_walk(self._root, "", {})))
        for number, (told, regular) in enumerate(told_all):
            if regular:
                self._regular[number] = told.path
            await self._send(Packet(type=Packet.PACKET_STAT, stat=told))
        await self._send(Packet(type=Packet.PACKET_STAT))

    async def answer(self) -> None:
        """Sends what is asked for until the client has all."""
        while True:
            packet = await self._stream.receive()
            if packet is None:
                raise BuildFailed("the client ended the transfer of the result")
            if packet.type == Packet.PACKET_ERR:
                raise BuildFailed(f"error from receiver: {packet.data.decode(errors='replace')}")
            if packet.type == Packet.PACKET_REQ:
                await self._file(packet.ID)
            elif packet.type == Packet.PACKET_FIN:
                await self._stream.send(Packet(type=Packet.PACKET_FIN), end=True)
                return

    async def _file(self, number: int) -> None:
        path = self._regular.pop(number, None)
        if path is None:
            raise BuildFailed(f"invalid file id {number}")
        file = await blocking(_open, f"{self._root}/{path}")
        with file:
            while data := await blocking(file.read, _CHUNK * 8):
                for start in range(0, len(data), _CHUNK):
                    await self._send(
                        Packet(type=Packet.PACKET_DATA, ID=number, data=data[start : start + _CHUNK])
                    )
        await self._send(Packet(type=Packet.PACKET_DATA, ID=number))

    async def _send(self, packet: Packet) -> None:
        async with self._one:
            await self._stream.send(packet)


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


def _open(path: str) -> BinaryIO:
    return open(path, "rb")
