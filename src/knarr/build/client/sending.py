"""Directories that a builder may read, by FileSync.DiffCopy: it asks for one by its name, with patterns, and takes what it lacks.

The other end is frontdoor/filesync, whose docstring draws the exchange. Names are sent in walking order; owners are root's and
sockets are left out, as docker's clients have it.
"""

import io
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import BinaryIO

from knarr.build.client import packets
from knarr.build.client.exchange import Answering
from knarr.build.client.packets import Packet, Told
from knarr.build.dockerfile.errors import DockerfileError
from knarr.build.dockerfile.ignore import Matcher
from knarr.grpc.calls import Metadata
from knarr.grpc.services import Service
from knarr.grpc.status import RpcError, Status

Opened = Callable[[str], BinaryIO]
_CHUNK = 32 << 10
_AT_ONCE = 64
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

    async def send(self, stream: Answering) -> None:
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


def _made(files: Mapping[str, bytes]) -> Iterator[Told]:
    for name, content in sorted(files.items()):
        yield packets.made(name, len(content))


def _listed(metadata: Metadata, name: str) -> list[str]:
    values = list(metadata.all(name))
    if metadata.get(f"{name}-encoded"):
        from urllib.parse import unquote_plus

        return [unquote_plus(value) for value in values]
    return values


class _Sending:
    """One directory under way."""

    def __init__(self, stream: Answering, entries: Iterator[Told], opened: Opened):
        self._stream = stream
        self._entries = entries
        self._opened = opened
        self._regular: dict[int, str] = {}
        self._over = False

    async def run(self) -> None:
        """Until the builder has all. What it asks for while it is told more is sent between."""
        try:
            await self._walk()
            while not self._over:
                await self._answer()
        except DockerfileError as error:
            text = f"failed to match excludepatterns: {error}"
            await self._stream.send(packets.packet(packets.ERR, content=text.encode()))
        except OSError as error:
            await self._stream.send(packets.packet(packets.ERR, content=str(error).encode()))

    async def _walk(self) -> None:
        count = 0
        while batch := list(islice(self._entries, _AT_ONCE)):
            self._regular.update(
                (number, each.path) for number, each in enumerate(batch, count) if each.regular
            )
            count += len(batch)
            last = [packets.END] if len(batch) < _AT_ONCE else []
            await self._stream.send_many([*(each.message for each in batch), *last])
            if last:
                return
            await self._stream.pause()
            while self._stream.waiting and not self._over:
                await self._answer()
        await self._stream.send(packets.END)

    async def _answer(self) -> None:
        for asked in await self._stream.receive_many() or [None]:
            if asked is None:
                self._over = True
            elif asked.type == packets.REQ:
                await self._file(asked.id)
            elif asked.type == packets.FIN:
                self._over = True
                await self._stream.send(packets.packet(packets.FIN))

    async def _file(self, number: int) -> None:
        path = self._regular.pop(number, None)
        if path is None:
            raise RpcError(Status.INVALID_ARGUMENT, f"invalid file id {number}")
        with self._opened(path) as file:
            more = True
            while more:
                data = file.read(_CHUNK * 8)
                more = len(data) == _CHUNK * 8
                pieces = [data[start : start + _CHUNK] for start in range(0, len(data), _CHUNK)]
                await self._stream.send_many(
                    [
                        packets.packet(packets.DATA, number, each)
                        for each in (*pieces, *([] if more else [b""]))
                    ]
                )


def walk(root: str, include: Sequence[str], exclude: Sequence[str]) -> Iterator[Told]:
    """Each entry; a directory that only leads to something comes with that."""
    yield from _Walk(root, include, exclude).below("", ())


class _Walk:
    def __init__(self, root: str, include: Sequence[str], exclude: Sequence[str]):
        self._root = root
        self._patterns = [pattern.strip("/") for pattern in include]
        self._include = Matcher(include) if include else None
        self._exclude = Matcher(exclude)
        self._linked: dict[tuple[int, int], str] = {}
        self._waiting: list[Told] = []

    def below(self, directory: str, parent: tuple[bool, ...]) -> Iterator[Told]:
        for name in sorted(os.listdir(f"{self._root}/{directory}"), key=os.fsencode):
            path = f"{directory}{name}"
            facts = os.lstat(f"{self._root}/{path}")
            if not stat.S_ISSOCK(facts.st_mode):
                yield from self._entry(path, facts, parent)

    def _entry(self, path: str, facts: os.stat_result, parent: tuple[bool, ...]) -> Iterator[Told]:
        excluded, matched = self._exclude.step(path, parent)
        chosen = not excluded and (self._include is None or self._include.excludes(path))
        is_dir = stat.S_ISDIR(facts.st_mode)
        if is_dir and not chosen and not self._leads_on(path, excluded):
            return
        entry = packets.told(self._root, path, facts, self._linked)
        if chosen:
            yield from self._waiting
            self._waiting.clear()
            yield entry
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
        plain = "/".join(part for part in path.split("/") if part not in ("", "."))
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
