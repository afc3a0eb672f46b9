"""A content store between a client's directory and the builder's end."""

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from knarr.build.client.stores import Stores, found, put
from knarr.build.errors import BuildFailed
from knarr.build.frontdoor.contents import ClientContents
from knarr.model.digest import Digest
from knarr.model.errors import NotFound
from tests.unit.build.client.support import called

DATA = bytes(range(256)) * 10_000


@contextlib.asynccontextmanager
async def store(root: Path, name: str = "local:x") -> AsyncIterator[ClientContents]:
    async with called(Stores({"local:x": str(root)}).service()) as caller:
        yield ClientContents(caller, name)


async def chunks(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 100_000):
        yield data[start : start + 100_000]


async def test_what_is_written_is_read(tmp_path: Path) -> None:
    digest = Digest.of(DATA)
    async with store(tmp_path / "new") as contents:
        with pytest.raises(NotFound):
            await contents.size(digest)
        assert await contents.write(digest, len(DATA), chunks(DATA))
        assert not await contents.write(digest, len(DATA), chunks(DATA))
        assert await contents.size(digest) == len(DATA)
        assert b"".join([piece async for piece in contents.read(digest)]) == DATA
        assert b"".join([piece async for piece in contents.read(digest, len(DATA) - 3)]) == DATA[-3:]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["blobs"]


async def test_what_is_not_what_it_should_be_leaves_nothing(tmp_path: Path) -> None:
    async with store(tmp_path) as contents:
        with pytest.raises(BuildFailed, match="unexpected commit digest"):
            await contents.write(Digest.of(b"other"), len(DATA), chunks(DATA))
    assert list(tmp_path.rglob("*")) == []
    async with store(tmp_path, "local:y") as contents:
        with pytest.raises(NotFound, match="no content store local:y"):
            await contents.size(Digest.of(DATA))


def test_the_index_has_names(tmp_path: Path) -> None:
    assert found(str(tmp_path)) == ""
    put(str(tmp_path), {"digest": "sha256:1"})
    put(str(tmp_path), {"digest": "sha256:2"}, "two")
    put(str(tmp_path), {"digest": "sha256:3"})
    assert (found(str(tmp_path)), found(str(tmp_path), "two")) == ("sha256:3", "sha256:2")
    assert found(str(tmp_path), "none") == ""
    assert json.loads((tmp_path / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    (tmp_path / "index.json").write_text('{"manifests": [{"digest": "sha256:9"}]}')
    assert found(str(tmp_path)) == "sha256:9"
