"""Directories that a builder may read, by FileSync.DiffCopy: it asks for one by its name, with patterns, and takes what it lacks.

The other end is frontdoor/filesync, whose docstring draws the exchange. Names are sent in walking order; owners are root's and
sockets are left out, as docker's clients have it.
"""

import asyncio
import io
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import BinaryIO
from urllib.parse import unquote_plus

from knarr.build.dockerfile.ignore import Matcher
from knarr.build.frontdoor.filesend import stat_of
from knarr.build.frontdoor.services import Service
from knarr.build.proto.fsutil_pb2 import Packet, Stat
from knarr.grpc.calls import Metadata
from knarr.grpc.services import Call
from knarr.grpc.status import RpcError, Status

Opened = Callable[[str], BinaryIO]
_CHUNK = 32 << 10
_LINKS = 255
_WILD = frozenset("*?[\\")


class Directories:
    """Those of one build, by name: a path, or a mapping of names to contents that are nowhere on disk."""

    def __init__(self, roots: Mapping[str, str | Mapping[str, bytes]]):
        self._roots = roots

    def service(self) -> Service:
        """As gRPC has it."""
        service = Service("moby.filesync.v1.FileSync")
        service.streaming("DiffCopy", self.send, Packet)
        return service

    async def send(self, stream: Call[Packet]) -> None:
        """One directory. Raises RpcError for one that is not lent."""
        name = _listed(stream.metadata, "dir-name")
        root = self._roots.get(name[0] if name else "")
        if root is None:
            raise RpcError(Status.NOT_FOUND, f"no access allowed to dir {name[0] if name else ''!r}")
        if isinstance(root, str):
            include = [
                *_listed(stream.metadata, "include-patterns"),
                *followed(root, _listed(stream.metadata, "followpaths")),
            ]
            entries = walk(root, include, _listed(stream.metadata, "exclude-patterns"))
            await _Sending(stream, entries, _Below(root)).run()
        else:
            await _Sending(stream, _made(root), _Made(root)).run()


class _Below:
    """Opens what is below a directory."""

    def __init__(self, root: str):
        self._root = root

    def __call__(self, path: str) -> BinaryIO:
        return open(f"{self._root}/{path}", "rb")


class _Made:
    """Opens what is nowhere on disk."""

    def __init__(self, files: Mapping[str, bytes]):
        self._files = files

    def __call__(self, path: str) -> BinaryIO:
        return io.BytesIO(self._files[path])


def _made(files: Mapping[str, bytes]) -> Iterator[tuple[Stat, bool]]:
    for name, content in sorted(files.items()):
        yield Stat(path=name, mode=0o600, size=len(content)), True


def _listed(metadata: Metadata, name: str) -> list[str]:
    values = list(metadata.all(name))
    if metadata.get(f"{name}-encoded"):
        return [unquote_plus(value) for value in values]
    return values


class _Sending:
    """One directory under way."""

    def __init__(self, stream: Call[Packet], entries: Iterator[tuple[Stat, bool]], opened: Opened):
        self._stream = stream
        self._entries = entries
        self._opened = opened
        self._regular: dict[int, str] = {}
        self._one = asyncio.Lock()

    async def run(self) -> None:
        """Until the builder has all."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._walk())
                tasks.create_task(self._answer())
        except* OSError as group:
            text = str(group.exceptions[0])
            await self._send(Packet(type=Packet.PACKET_ERR, data=text.encode()))

    async def _walk(self) -> None:
        for number, (entry, regular) in enumerate(self._entries):
            if regular:
                self._regular[number] = entry.path
            await self._send(Packet(type=Packet.PACKET_STAT, stat=entry))
        await self._send(Packet(type=Packet.PACKET_STAT))

    async def _answer(self) -> None:
        while True:
            packet = await self._stream.receive()
            if packet is None:
                return
            if packet.type == Packet.PACKET_REQ:
                await self._file(packet.ID)
            elif packet.type == Packet.PACKET_FIN:
                await self._send(Packet(type=Packet.PACKET_FIN))
                return

    async def _file(self, number: int) -> None:
        path = self._regular.pop(number, None)
        if path is None:
            raise RpcError(Status.INVALID_ARGUMENT, f"invalid file id {number}")
        with self._opened(path) as file:
            while data := file.read(_CHUNK):
                await self._send(Packet(type=Packet.PACKET_DATA, ID=number, data=data))
        await self._send(Packet(type=Packet.PACKET_DATA, ID=number))

    async def _send(self, packet: Packet) -> None:
        async with self._one:
            await self._stream.send(packet)


def walk(root: str, include: Sequence[str], exclude: Sequence[str]) -> Iterator[tuple[Stat, bool]]:
    """What is told of each entry, and whether it can be asked for; a directory that only leads to something comes with that."""
    yield from _Walk(root, include, exclude).below("", ())


class _Walk:
    def __init__(self, root: str, include: Sequence[str], exclude: Sequence[str]):
        self._root = root
        self._patterns = [pattern.strip("/") for pattern in include]
        self._include = Matcher(include) if include else None
        self._exclude = Matcher(exclude)
        self._linked: dict[tuple[int, int], str] = {}
        self._waiting: list[Stat] = []

    def below(self, directory: str, parent: tuple[bool, ...]) -> Iterator[tuple[Stat, bool]]:
        for name in sorted(os.listdir(f"{self._root}/{directory}"), key=os.fsencode):
            path = f"{directory}{name}"
            facts = os.lstat(f"{self._root}/{path}")
            if not stat.S_ISSOCK(facts.st_mode):
                yield from self._entry(path, facts, parent)

    def _entry(
        self, path: str, facts: os.stat_result, parent: tuple[bool, ...]
    ) -> Iterator[tuple[Stat, bool]]:
        excluded, matched = self._exclude.step(path, parent)
        chosen = not excluded and (self._include is None or self._include.excludes(path))
        is_dir = stat.S_ISDIR(facts.st_mode)
        if is_dir and not chosen and not self._leads_on(path, excluded):
            return
        entry = stat_of(self._root, path, facts, self._linked)
        entry.uid = entry.gid = 0
        if chosen:
            yield from ((each, False) for each in self._waiting)
            self._waiting.clear()
            yield entry, stat.S_ISREG(facts.st_mode)
        if is_dir:
            if not chosen:
                self._waiting.append(entry)
            yield from self.below(f"{path}/", matched)
            if self._waiting and self._waiting[-1] is entry:
                self._waiting.pop()

    def _leads_on(self, path: str, excluded: bool) -> bool:
        """Whether something in the directory may be sent, though it is not itself."""
        if excluded and not self._exclude.takes_back:
            return False
        if self._include is None or self._include.excludes(path):
            return True
        return any(
            pattern.startswith(f"{path}/") or not _WILD.isdisjoint(pattern) for pattern in self._patterns
        )


def followed(root: str, paths: Sequence[str]) -> list[str]:
    """The paths, and where links on the way of each lead inside of `root`; a pattern is what it is, "." is everything."""
    found: list[str] = []
    for path in paths:
        plain = str(PurePosixPath("/", path)).strip("/")
        if not plain:
            return []
        found.append(plain)
        if _WILD.isdisjoint(plain):
            found += _links(root, plain)
    return list(dict.fromkeys(found))


def _links(root: str, path: str) -> Iterator[str]:
    done: list[str] = []
    left = path.split("/")
    for _ in range(_LINKS):
        if not left:
            return
        part = left.pop(0)
        if part in ("", "."):
            continue
        if part == "..":
            done = done[:-1]
            continue
        here = "/".join([*done, part])
        try:
            target = os.readlink(f"{root}/{here}")
        except OSError:
            done.append(part)
            continue
        yield here
        done = [] if target.startswith("/") else done
        left = [*target.split("/"), *left]
        yield "/".join([*done, *(each for each in left if each not in ("", ".", ".."))])
