"""A directory from the client's end to the builder's, and a tree back, over real connections; and what neither may do."""

import io
import os
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import pytest

from knarr.build.client.receiving import Results, Sink
from knarr.build.client.sending import Directories, followed, walk
from knarr.build.context.store import Files
from knarr.build.frontdoor import filesend, filesync
from knarr.build.frontdoor.gomode import from_mode
from knarr.build.proto.fsutil_pb2 import Packet, Stat
from knarr.grpc.client import Caller
from knarr.grpc.status import RpcError
from tests.unit.build.client.support import called


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "sub/deep").mkdir(parents=True)
    (root / "sub/deep/file").write_text("deep")
    (root / "sub/b.md").write_text("b")
    (root / "sub-b").write_text("x" * 100_000)
    (root / "link").symlink_to("sub/deep")
    os.link(root / "sub-b", root / "twin")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(root / "sock"))
    return root


def names(root: Path, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> list[str]:
    return [entry.path for entry in walk(str(root), include, exclude)]


def test_what_is_told_of_a_directory(root: Path) -> None:
    assert names(root) == ["link", "sub", "sub/b.md", "sub/deep", "sub/deep/file", "sub-b", "twin"]
    assert names(root, exclude=["sub/*", "!sub/deep"]) == [
        "link",
        "sub",
        "sub/deep",
        "sub/deep/file",
        "sub-b",
        "twin",
    ]
    assert names(root, exclude=["sub", "!sub/deep/file", "twin"]) == [
        "link", "sub", "sub/deep", "sub/deep/file", "sub-b",
    ]  # fmt: skip
    assert names(root, include=["sub/deep/file"]) == ["sub", "sub/deep", "sub/deep/file"]
    assert names(root, include=["*/b.md", "none"]) == ["sub", "sub/b.md"]
    assert names(root, include=["sub"], exclude=["**/*.md"]) == ["sub", "sub/deep", "sub/deep/file"]


def test_links_on_the_way_are_followed(root: Path) -> None:
    assert followed(str(root), ["link/file"]) == ["link/file", "link", "sub/deep/file"]
    assert followed(str(root), ["."]) == []
    assert followed(str(root), ["*.md", "none"]) == ["*.md", "none"]
    (root / "loop").symlink_to("loop")
    (root / "out").symlink_to("../../../etc/passwd")
    assert followed(str(root), ["loop"])[:2] == ["loop"]
    assert followed(str(root), ["out"]) == ["out", "etc/passwd"]


async def test_a_directory_is_taken(root: Path, tmp_path: Path) -> None:
    files = Files(str(tmp_path / "store"))
    files.open()
    lent = Directories({"context": str(root), "dockerfile": {"Dockerfile": b"FROM x"}}).service()
    async with called(lent) as caller:
        index = await filesync.receive(
            caller, [("dir-name", "context"), ("exclude-patterns", "twin")], files, {}, lambda _: None
        )
        assert sorted(index) == ["link", "sub", "sub-b", "sub/b.md", "sub/deep", "sub/deep/file"]
        assert files.opened(index["sub-b"].digest).read() == b"x" * 100_000
        assert {entry.uid for entry in index.values()} == {0}
        made = await filesync.receive(caller, [("dir-name", "dockerfile")], files, {}, lambda _: None)
        assert files.opened(made["Dockerfile"].digest).read() == b"FROM x"
        with pytest.raises(RpcError, match="no access allowed to dir 'other'"):
            await filesync.receive(caller, [("dir-name", "other")], files, {}, lambda _: None)


async def given(sinks: Mapping[int, Sink], tree: Path | None = None, data: bytes = b"") -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 1 << 16):
            yield data[start : start + (1 << 16)]

    async with called(Results(sinks).service()) as caller:
        if tree is not None:
            await filesend.send_tree(caller, 0, str(tree), False)
        else:
            await filesend.send_file(caller, 0, {}, chunks())


async def test_a_tree_is_laid_over_what_is_there(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "old").mkdir(parents=True)
    (out / "sub").symlink_to("/nowhere")
    (out / "sub-b").mkdir()
    (root / "sock").unlink()
    os.utime(root / "sub/deep/file", (7, 7))
    await given({0: str(out)}, root)
    assert sorted(each.name for each in out.iterdir()) == ["link", "old", "sub", "sub-b", "twin"]
    assert (out / "sub/deep/file").read_text() == "deep"
    assert (out / "sub/deep/file").stat().st_mtime == 7
    assert (out / "sub-b").stat().st_ino == (out / "twin").stat().st_ino
    assert os.readlink(out / "link") == "sub/deep"


async def test_an_archive_and_one_that_nobody_can_take() -> None:
    kept = io.BytesIO()
    kept.close = lambda: None  # type: ignore[method-assign]
    data = os.urandom(3_000_000)
    await given({0: lambda: kept}, data=data)
    assert kept.getvalue() == data

    def full() -> BinaryIO:
        raise OSError("no space left")

    with pytest.raises(RpcError, match="no space left"):
        await given({0: full}, data=data)
    with pytest.raises(RpcError, match="no such exporter: 0"):
        await given({}, data=data)


async def told(caller: Caller, path: str, target: str) -> None:
    """A builder that names a link, and then something at `path`."""
    number = [("buildkit-attachable-exporter-id", "0")]
    async with caller.stream(filesend.DIFF_COPY, Packet, number) as stream:
        for each in (
            Stat(path="link", mode=from_mode(0o120777), linkname=target),
            Stat(path=path, mode=0o644),
        ):
            await stream.send(Packet(type=Packet.PACKET_STAT, stat=each))
        while await stream.receive() is not None:
            pass


@pytest.mark.parametrize("path", ["../x", "link/x", "none/x", "a/../../x", "..", "/"])
async def test_a_builder_that_leads_elsewhere_is_refused(tmp_path: Path, path: str) -> None:
    async with called(Results({0: str(tmp_path / "out")}).service()) as caller:
        with pytest.raises(RpcError, match="invalid path in a result"):
            await told(caller, path, str(tmp_path))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out"]
