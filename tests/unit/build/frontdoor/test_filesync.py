"""What a client sends becomes an index and contents; what is known is not asked for."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from stat import S_IFDIR, S_IFLNK, S_IFREG
from typing import Any, cast

import pytest

from knarr.build.context.entries import Index
from knarr.build.context.packs import SMALL
from knarr.build.context.store import Files
from knarr.build.errors import BuildFailed
from knarr.build.frontdoor import filesync
from knarr.build.frontdoor.gomode import from_mode
from knarr.build.proto.fsutil_pb2 import Packet, Stat
from knarr.grpc.client import Caller

CHUNK = 32 << 10


class Client:
    """Has these files, and answers requests chunk by chunk in turns, in bunches of any size. `end` is said instead of the walk's
    end."""

    def __init__(self, stats: Sequence[Stat], contents: dict[str, bytes], end: Packet | None = None):
        self._stats = stats
        self._contents = contents
        self._end = end or Packet(type=Packet.PACKET_STAT)
        self._out: list[Packet] = []
        self._left: dict[int, bytes] = {}
        self._walked = False
        self.asked: list[str] = []
        self.ended = False
        self._news = asyncio.Event()

    @asynccontextmanager
    async def stream(self, path: str, reply: type, metadata: object) -> AsyncIterator["Client"]:
        assert (path, reply) == (filesync.DIFF_COPY, Packet)
        yield self

    async def send_many(self, packets: Sequence[Packet]) -> None:
        for packet in packets:
            assert packet.type == Packet.PACKET_REQ
            path = self._stats[packet.ID].path
            self.asked.append(path)
            self._left[packet.ID] = self._contents[path]
        self._news.set()

    async def send(self, packet: Packet, *, end: bool) -> None:
        assert packet.type == Packet.PACKET_FIN
        assert end
        self._out.append(packet)
        self.ended = True

    async def receive_many(self) -> list[Packet]:
        if not self._walked:
            self._walked = True
            return [*(Packet(type=Packet.PACKET_STAT, stat=each) for each in self._stats), self._end]
        if not self._left and not self._out:
            self._news.clear()
            await self._news.wait()
        for number, left in list(self._left.items()):
            self._out.append(Packet(type=Packet.PACKET_DATA, ID=number, data=left[:CHUNK]))
            if left:
                self._left[number] = left[CHUNK:]
            else:
                del self._left[number]
        found, self._out = self._out, []
        return found


def stat(path: str, content: bytes = b"", **facts: Any) -> Stat:
    return Stat(
        **{"path": path, "mode": from_mode(S_IFREG | 0o644), "size": len(content), "modTime": 1, **facts}
    )


def directory(path: str) -> Stat:
    return stat(path, mode=from_mode(S_IFDIR | 0o755), size=4096)


async def received(client: Client, files: Files, known: Index | None = None) -> Index:
    async with asyncio.timeout(60):
        return await filesync.receive(cast("Caller", client), [], files, known or {}, lambda _: None)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    store = Files(tmp_path)
    store.open()
    return store


def content(files: Files, digest: str) -> bytes:
    with files.opened(digest) as file:
        return file.read()


async def test_all_kinds_of_files(files: Files) -> None:
    contents = {
        "d/empty": b"",
        "d/large": b"L" * (5 * SMALL),
        "d/small": b"small",
        "edge": b"e" * SMALL,
        "over": b"o" * (SMALL + 1),
    }
    stats = [
        directory("d"),
        *(stat(path, data) for path, data in contents.items()),
        stat("soft", mode=from_mode(S_IFLNK | 0o777), linkname="d/small"),
        stat("twin", contents["d/large"], linkname="d/large"),
    ]
    client = Client(stats, contents)
    found = await received(client, files)
    assert list(found) == [each.path for each in stats]
    for path, data in contents.items():
        assert found[path].digest == hashlib.sha256(data).hexdigest()
        assert content(files, found[path].digest) == data
    assert found["soft"].link == "d/small"
    assert found["twin"].digest == found["d/large"].digest
    assert client.asked == list(contents)
    assert client.ended
    again = Client(stats, contents)
    assert await received(again, files, found) is found
    assert again.asked == []


async def test_many_files_interleave(files: Files) -> None:
    contents = {f"{number:04}": b"%d" % number * 20_000 for number in range(700)}
    found = await received(Client([stat(path, data) for path, data in contents.items()], contents), files)
    assert {path: content(files, found[path].digest) for path in contents} == contents


async def test_only_what_changed_is_asked_for(files: Files) -> None:
    contents = {path: path.encode() for path in ("gone", "mode", "moved", "same", "touched")}
    known = await received(Client([stat(path, data) for path, data in contents.items()], contents), files)
    stats = [
        stat("mode", b"mode", mode=from_mode(S_IFREG | 0o755)),
        stat("new", b"new"),
        stat("same", b"same"),
        stat("touched", b"touched", modTime=2),
    ]
    client = Client(stats, contents | {"new": b"new"})
    found = await received(client, files, known)
    assert client.asked == ["mode", "new", "touched"]
    assert found["same"] is known["same"]
    assert found["touched"].digest == known["touched"].digest
    assert found["touched"].mtime == 2
    fewer = Client([stat("same", b"same")], contents)
    assert list(await received(fewer, files, known)) == ["same"]


async def test_what_the_store_lost_is_asked_for_again(files: Files) -> None:
    contents = {"a": b"a", "b": b"b"}
    stats = [stat(path, data) for path, data in contents.items()]
    known = await received(Client(stats, contents), files)
    files.sweep([known["a"].digest])
    client = Client(stats, contents)
    assert await received(client, files, known) == known
    assert client.asked == ["b"]


@pytest.mark.parametrize(
    ("stats", "end", "message"),
    [
        ([stat("../up")], None, "invalid path in the build context"),
        ([stat("a//b")], None, "invalid path in the build context"),
        ([stat("twin", linkname="nowhere")], None, "twin is linked to nowhere, which was not sent"),
        ([], Packet(type=Packet.PACKET_ERR, data=b"no access"), "error from sender: no access"),
        ([], Packet(type=Packet.PACKET_DATA, ID=7, data=b"x"), "a file that was not asked for"),
    ],
)
async def test_a_client_that_errs(files: Files, stats: list[Stat], end: Packet | None, message: str) -> None:
    with pytest.raises(BuildFailed, match=message):
        await received(Client(stats, {}, end), files)


async def test_a_client_that_goes_leaves_nothing_half(files: Files, tmp_path: Path) -> None:
    class Leaver(Client):
        async def receive_many(self) -> list[Packet]:
            if self._walked and "large" in self.asked:
                number = next(iter(self._left))
                self._left.clear()
                self.asked.clear()
                return [Packet(type=Packet.PACKET_DATA, ID=number, data=b"x" * (3 << 20))] * 2
            return [] if self._walked and not self.asked else await super().receive_many()

    with pytest.raises(BuildFailed, match="ended the transfer"):
        await received(Leaver([stat("large", b"x")], {"large": b"x"}), files)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


async def test_a_disk_that_fails_ends_it(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("knarr.build.context.packs.write_all", full)
    contents = {str(number): bytes([number]) * 200_000 for number in range(60)}
    with pytest.raises(OSError, match="No space left"):
        await received(Client([stat(path, data) for path, data in contents.items()], contents), files)
