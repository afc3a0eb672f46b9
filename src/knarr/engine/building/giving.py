"""Results as files: the client's directory, or an archive of it; attestations are files beside them."""

import asyncio
import contextlib
import hashlib
import os
import posixpath
import secrets
import shutil
import stat
from collections.abc import AsyncIterator, Iterator

from knarr.build.attest.statement import Subject, statement
from knarr.build.port import Exporter
from knarr.build.tree import Tree
from knarr.engine.archive import stream
from knarr.engine.building.made import Giving, Made
from knarr.engine.building.views import Views
from knarr.engine.images.holding import Hold
from knarr.engine.images.rooms import Rooms
from knarr.engine.images.settled import closing
from knarr.kernel.files import write_all
from knarr.loop.blocking import blocking
from knarr.snapshots.maketar import TarOptions, maketar
from knarr.snapshots.untar import UntarOptions

_PIECE = 1 << 20


class Giver:
    """Those of one engine; `aside` is for trees on their way, emptied when the engine opens."""

    def __init__(self, rooms: Rooms, views: Views, aside: str):
        self._rooms = rooms
        self._views = views
        self._aside = aside

    async def directory(self, exporter: Exporter, number: int, giving: Giving) -> None:
        """`type=local`"""
        lender = await giving.lender()
        async with self._laid_out(exporter, giving) as root:
            await lender.send_tree(number, root, _divided(exporter, giving.multi))

    async def archive(self, exporter: Exporter, number: int, giving: Giving) -> None:
        """`type=tar`"""
        lender = await giving.lender()
        if giving.multi or giving.made[0].attestations:
            async with self._laid_out(exporter, giving) as root, closing(_packed(root)) as chunks:
                await lender.send_file(number, {}, chunks)
            return
        async with self._views.snapshot(giving.made[0].tree, giving.hold) as view:
            job = await self._rooms.zygote.archive_get(view, "/", TarOptions())
            with contextlib.closing(job):
                await lender.send_file(number, {}, stream(job))

    @contextlib.asynccontextmanager
    async def _laid_out(self, exporter: Exporter, giving: Giving) -> AsyncIterator[str]:
        divided = _divided(exporter, giving.multi)
        root = f"{self._aside}/{secrets.token_hex(8)}"
        os.mkdir(root, 0o700)
        try:
            for each in giving.made:
                name = str(each.result.platform).replace("/", "_")
                place = f"{root}/{name}" if divided else root
                os.makedirs(place, exist_ok=True)
                await self._unpack(each.tree, place, giving.hold)
                if each.attestations:
                    prefix = exporter.attrs.get("attestation-prefix", "")
                    await blocking(_attest, place, each, prefix, name if giving.multi and not divided else "")
            yield root
        finally:
            await blocking(shutil.rmtree, root, True)

    async def _unpack(self, tree: Tree, place: str, hold: Hold) -> None:
        async with self._views.snapshot(tree, hold) as view:
            job = await self._rooms.zygote.archive_get(view, "/", TarOptions())
            unpacking = await self._rooms.zygote.unpack(place, UntarOptions())
            try:
                async for data in stream(job):
                    await blocking(write_all, unpacking.feed, data)
            finally:
                unpacking.close_feed()
            await unpacking.result()


def _divided(exporter: Exporter, multi: bool) -> bool:
    """Whether each platform has a directory of its own."""
    text = exporter.attrs.get("platform-split", "")
    return text in ("true", "1") if text else multi


async def _packed(root: str) -> AsyncIterator[bytes]:
    """A directory as an archive."""
    drain, feed = os.pipe2(os.O_CLOEXEC)

    def pack() -> None:
        try:
            with contextlib.suppress(BrokenPipeError):
                maketar(feed, root)
        finally:
            os.close(feed)

    packing = asyncio.ensure_future(blocking(pack))
    try:
        while data := await blocking(os.read, drain, _PIECE):
            yield data
    finally:
        os.close(drain)
        await packing


def _attest(place: str, made: Made, prefix: str, suffix: str) -> None:
    """Writes the statements: they are about every file that is there."""
    subjects = list(_files(place, ""))
    for each in made.attestations:
        name = f"{prefix}{posixpath.basename(each.path)}"
        if suffix:
            stem, dot, kind = name.rpartition(".")
            name = f"{stem}.{suffix}{dot}{kind}"
        path = f"{place}/{name}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            write_all(descriptor, statement(each, subjects, indented=True))
        finally:
            os.close(descriptor)
        os.utime(path, (made.epoch, made.epoch))


def _files(place: str, below: str) -> Iterator[Subject]:
    for name in sorted(os.listdir(f"{place}/{below}"), key=os.fsencode):
        path = f"{below}{name}"
        found = os.lstat(f"{place}/{path}")
        if stat.S_ISDIR(found.st_mode):
            yield from _files(place, f"{path}/")
        elif stat.S_ISREG(found.st_mode):
            with open(f"{place}/{path}", "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            yield Subject(os.fsencode(path).decode("utf-8", "replace"), {"sha256": digest})
