"""Results that a builder gives away, by FileSend.DiffCopy: an archive into a file, or a tree into a directory.

The other end is frontdoor/filesend. A tree is laid over what is there; the builder names only what is inside of it: a path
whose directory it did not name before is refused, and what is no directory there makes way.
"""

import os
import shutil
import stat
from collections.abc import Callable, Mapping
from typing import BinaryIO

from knarr.build.client.packets import Raw
from knarr.build.frontdoor.gomode import to_mode
from knarr.build.frontdoor.services import Service
from knarr.build.proto.fsutil_pb2 import Packet, Stat
from knarr.build.proto.session_pb2 import BytesMessage
from knarr.grpc.services import Call
from knarr.grpc.status import RpcError, Status

_NUMBER = "buildkit-attachable-exporter-id"


Sink = str | Callable[[], BinaryIO]


class Results:
    """Where each result goes, by its exporter's number: a directory, or what opens a file."""

    def __init__(self, sinks: Mapping[int, Sink]):
        self._sinks = sinks

    def service(self) -> Service:
        """As gRPC has it."""
        service = Service("moby.filesync.v1.FileSend")
        service.streaming("DiffCopy", self.receive, Raw)
        return service

    async def receive(self, stream: Call[Raw]) -> None:
        """One result. Raises RpcError."""
        number = int(stream.metadata.get(_NUMBER, "0"))
        sink = self._sinks.get(number)
        if sink is None:
            raise RpcError(Status.NOT_FOUND, f"no such exporter: {number}")
        try:
            if isinstance(sink, str):
                await _Tree(stream, sink).run()
                return
            with sink() as file:
                while (message := await stream.receive()) is not None:
                    file.write(BytesMessage.FromString(message.data).data)
        except OSError as error:
            raise RpcError(Status.UNKNOWN, str(error)) from error


class _Tree:
    """One tree under way."""

    def __init__(self, stream: Call[Raw], root: str):
        self._stream = stream
        self._root = root
        self._count = 0
        self._told: dict[str, Stat] = {}
        self._asked: dict[int, tuple[Stat, BinaryIO]] = {}
        self._walked = False

    async def run(self) -> None:
        """Until all is here."""
        os.makedirs(self._root, exist_ok=True)
        try:
            while not self._walked or self._asked:
                packet = await self._packet()
                if packet.type == Packet.PACKET_STAT:
                    await self._stat(packet)
                elif packet.type == Packet.PACKET_DATA:
                    self._data(packet.ID, packet.data)
        finally:
            for _, file in self._asked.values():
                file.close()
        for path, told in reversed(self._told.items()):
            if stat.S_ISDIR(to_mode(told.mode)):
                os.utime(f"{self._root}/{path}", ns=(told.modTime, told.modTime))
        await self._send(Packet(type=Packet.PACKET_FIN))
        while (await self._packet()).type != Packet.PACKET_FIN:
            pass

    async def _packet(self) -> Packet:
        message = await self._stream.receive()
        if message is None:
            raise RpcError(Status.CANCELLED, "the builder ended the transfer of a result")
        packet = Packet.FromString(message.data)
        if packet.type == Packet.PACKET_ERR:
            raise RpcError(Status.UNKNOWN, f"error from sender: {packet.data.decode(errors='replace')}")
        return packet

    async def _send(self, packet: Packet) -> None:
        await self._stream.send(Raw(packet.SerializeToString()))

    async def _stat(self, packet: Packet) -> None:
        if not packet.HasField("stat"):
            self._walked = True
            return
        number, self._count = self._count, self._count + 1
        told = packet.stat
        path = self._checked(told.path)
        self._told[path] = told
        mode = to_mode(told.mode)
        place = f"{self._root}/{path}"
        _make_way(place, stat.S_ISDIR(mode))
        if stat.S_ISDIR(mode):
            os.makedirs(place, exist_ok=True)
            os.chmod(place, stat.S_IMODE(mode) | 0o700)
        elif stat.S_ISLNK(mode):
            os.symlink(told.linkname, place)
        elif stat.S_ISREG(mode):
            if told.linkname:
                os.link(f"{self._root}/{self._checked(told.linkname)}", place, follow_symlinks=False)
                return
            fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            self._asked[number] = told, os.fdopen(fd, "wb")
            await self._send(Packet(type=Packet.PACKET_REQ, ID=number))
        elif stat.S_ISFIFO(mode):
            os.mkfifo(place, stat.S_IMODE(mode))
        elif os.geteuid() == 0:
            os.mknod(place, mode, os.makedev(told.devmajor, told.devminor))

    def _checked(self, path: str) -> str:
        """Raises RpcError for one that leads elsewhere."""
        path = path.strip("/")
        above, _, name = path.rpartition("/")
        inside = not above or (above in self._told and stat.S_ISDIR(to_mode(self._told[above].mode)))
        if not inside or name in ("", ".", ".."):
            raise RpcError(Status.INVALID_ARGUMENT, f"invalid path in a result: {path!r}")
        return path

    def _data(self, number: int, data: bytes) -> None:
        if number not in self._asked:
            raise RpcError(Status.INVALID_ARGUMENT, f"file {number} was not asked for")
        told, file = self._asked[number]
        if data:
            file.write(data)
            return
        del self._asked[number]
        with file:
            file.flush()
            os.fchmod(file.fileno(), stat.S_IMODE(to_mode(told.mode)))
            for name, value in told.xattrs.items():
                _label(file.fileno(), name, value)
            os.utime(file.fileno(), ns=(told.modTime, told.modTime))


def _label(fd: int, name: str, value: bytes) -> None:
    try:
        os.setxattr(fd, name, value)
    except OSError:
        # A file system without attributes, or a person without the right: the file counts.
        return


def _make_way(place: str, directory: bool) -> None:
    try:
        facts = os.lstat(place)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(facts.st_mode):
        if not directory:
            shutil.rmtree(place)
    else:
        os.unlink(place)
