"""The server against clients that are rude, many, or gone."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from knarr.kernel.mounts import MNT_DETACH, mount, umount2
from knarr.model.descriptor import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, Descriptor
from knarr.model.digest import Digest
from knarr.model.errors import Conflict
from knarr.registry.client.client import RegistryClient
from knarr.registry.server import uploads
from knarr.registry.server.server import RegistryServer
from tests.system.registry.world import Site, manifest_of, push_blob, raw

CONFIG = Descriptor(OCI_CONFIG, Digest.of(b"{}"), 2)


async def code(site: Site, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, str]:
    """The status and the error's code."""
    status, _, answer = await raw(site, method, path, body, **headers)
    return status, json.loads(answer)["errors"][0]["code"] if answer else ""


async def pushed(site: Site, client: RegistryClient, tmp_path: Path, *tags: str) -> Digest:
    """A manifest of the repository `a`."""
    await push_blob(client, site.reference("a"), b"{}", tmp_path)
    data = manifest_of(CONFIG)
    for tag in tags or ("latest",):
        await client.push_manifest(site.reference("a", tag), OCI_MANIFEST, data)
    return Digest.of(data)


async def test_the_version_is_told_everywhere(site: Site) -> None:
    for path in ("/v2/", "/v2/a/manifests/x", "/nothing"):
        assert (await raw(site, "GET", path))[1]["docker-distribution-api-version"] == "registry/2.0"


@pytest.mark.parametrize(
    ("method", "path", "wanted"),
    [
        ("GET", "/v2/a/manifests/latest", (404, "MANIFEST_UNKNOWN")),
        ("GET", "/v2/a/manifests/sha256:1", (400, "DIGEST_INVALID")),
        ("GET", "/v2/A/manifests/latest", (400, "NAME_INVALID")),
        ("GET", f"/v2/a/blobs/sha256:{'0' * 64}", (404, "BLOB_UNKNOWN")),
        ("GET", f"/v2/a/blobs/sha512:{'0' * 128}", (404, "BLOB_UNKNOWN")),
        ("GET", "/v2/a/blobs/x", (400, "DIGEST_INVALID")),
        ("GET", "/v2/a/tags/list", (404, "NAME_UNKNOWN")),
        ("GET", "/v2/a/tags/other", (404, "NAME_UNKNOWN")),
        ("GET", "/v2/%2e%2e/tags/list", (400, "NAME_INVALID")),
        ("GET", "/v2/a/blobs/uploads/x", (404, "BLOB_UPLOAD_UNKNOWN")),
        ("POST", "/v2/..%2f..%2fetc/blobs/uploads/", (400, "NAME_INVALID")),
        ("POST", "/v2/a/blobs/uploads/?digest=x", (400, "DIGEST_INVALID")),
        ("POST", "/v2/a/manifests/latest", (405, "UNSUPPORTED")),
        ("DELETE", "/v2/a/tags/list", (405, "UNSUPPORTED")),
        ("DELETE", "/v2/a/manifests/..%00", (404, "MANIFEST_UNKNOWN")),
        ("PUT", "/v2/a/manifests/latest", (400, "MANIFEST_INVALID")),
    ],
)
async def test_refusals(site: Site, method: str, path: str, wanted: tuple[int, str]) -> None:
    assert await code(site, method, path) == wanted


@pytest.mark.parametrize(
    "value",
    [
        [],
        3,
        {},
        {"schemaVersion": 1},
        {"schemaVersion": 2, "layers": 3},
        {"schemaVersion": 2, "layers": [3]},
        {"schemaVersion": 2, "layers": [{"digest": 3}]},
        {"schemaVersion": 2, "layers": [{"digest": str(Digest.of(b"unknown"))}]},
        {"schemaVersion": 2, "config": "x"},
        {"schemaVersion": 2, "subject": []},
        {"schemaVersion": 2, "subject": {"digest": "../../x"}},
        {"schemaVersion": 2, "annotations": 3},
        {"schemaVersion": 2, "mediaType": OCI_INDEX},
    ],
)
async def test_manifests_that_are_none(site: Site, value: Any) -> None:
    data = json.dumps(value).encode()
    answer = await code(site, "PUT", "/v2/a/manifests/latest", data, Content_Type=OCI_MANIFEST)
    assert answer == (400, "MANIFEST_INVALID")
    assert (await raw(site, "GET", "/v2/a/tags/list"))[0] == 404


async def test_a_manifest_is_too_large_or_too_deep(site: Site) -> None:
    for data in (b"[" * 100_000, b" " * (5 << 20)):
        assert await code(site, "PUT", "/v2/a/manifests/x", data, Content_Type=OCI_MANIFEST) == (
            400,
            "MANIFEST_INVALID",
        )


async def test_a_media_type_cannot_write_headers(site: Site) -> None:
    data = json.dumps({"schemaVersion": 2, "mediaType": "a/b\r\nSet-Cookie: x"}).encode()
    assert await code(site, "PUT", "/v2/a/manifests/x", data) == (400, "MANIFEST_INVALID")


async def test_an_index_needs_its_manifests(site: Site, client: RegistryClient, tmp_path: Path) -> None:
    digest = await pushed(site, client, tmp_path)
    for child, wanted in ((Digest.of(b"other"), 400), (digest, 201)):
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [{"digest": str(child)}]}
        data = json.dumps(index).encode()
        assert (await raw(site, "PUT", "/v2/a/manifests/i", data, Content_Type=OCI_INDEX))[0] == wanted


async def test_a_blob_of_another_repository_is_not_ours(
    site: Site, client: RegistryClient, tmp_path: Path
) -> None:
    await push_blob(client, site.reference("a"), b"{}", tmp_path)
    assert await code(site, "GET", f"/v2/b/blobs/{CONFIG.digest}") == (404, "BLOB_UNKNOWN")
    refused = await code(site, "PUT", "/v2/b/manifests/x", manifest_of(CONFIG), Content_Type=OCI_MANIFEST)
    assert refused == (400, "MANIFEST_INVALID")
    status, headers, _ = await raw(site, "POST", f"/v2/b/blobs/uploads/?mount={CONFIG.digest}&from=../a")
    assert (status, "docker-upload-uuid" in headers) == (202, True)
    assert (await raw(site, "POST", f"/v2/b/blobs/uploads/?mount={CONFIG.digest}&from=a"))[0] == 201
    assert (await raw(site, "GET", f"/v2/b/blobs/{CONFIG.digest}"))[2] == b"{}"


async def test_many_write_the_same_at_once(site: Site, client: RegistryClient, tmp_path: Path) -> None:
    """Twenty clients push one blob and move one tag: each succeeds, and the bytes are there once."""
    digest = str(CONFIG.digest)

    async def one() -> list[int]:
        first, _, _ = await raw(site, "POST", f"/v2/a/blobs/uploads/?digest={digest}", b"{}")
        second, _, _ = await raw(
            site, "PUT", "/v2/a/manifests/x.tmp", manifest_of(CONFIG), Content_Type=OCI_MANIFEST
        )
        return [first, second]

    answers = await asyncio.gather(*(one() for _ in range(20)))
    assert answers == [[201, 201]] * 20
    assert await client.tags(site.reference("a")) == ["x.tmp"]
    registry = tmp_path / "registry"
    assert len(list((registry / "blobs" / "sha256").iterdir())) == 2
    assert list((registry / "partial").iterdir()) == list((registry / "ingest").iterdir()) == []


async def test_two_finish_one_upload(site: Site) -> None:
    place = (await raw(site, "POST", "/v2/a/blobs/uploads/"))[1]["location"]
    path = f"{place}?digest={CONFIG.digest}"
    answers = await asyncio.gather(*(raw(site, "PUT", path, b"{}") for _ in range(2)))
    assert sorted(status for status, _, _ in answers) == [201, 404]


async def test_a_chunk_in_the_wrong_place_says_where_it_belongs(site: Site, tmp_path: Path) -> None:
    place = (await raw(site, "POST", "/v2/a/blobs/uploads/"))[1]["location"]
    await raw(site, "PATCH", place, b"abc")
    status, headers, _ = await raw(site, "PATCH", place, b"x", Content_Range="9-9")
    assert (status, headers["range"], headers["location"]) == (416, "0-2", place)
    assert (await raw(site, "PATCH", place, b"xyz", Content_Range="3-4"))[0] == 416
    assert (await raw(site, "PATCH", place, b"x", Content_Range="nonsense"))[0] == 416
    assert (await raw(site, "DELETE", place))[0] == 204
    assert (await raw(site, "GET", place))[0] == 404
    assert list((tmp_path / "registry" / "ingest").iterdir()) == []


async def test_a_client_that_leaves_may_come_back(site: Site) -> None:
    place = (await raw(site, "POST", "/v2/a/blobs/uploads/"))[1]["location"]
    _, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(f"PATCH {place} HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc".encode())
    await writer.drain()
    writer.close()
    async with asyncio.timeout(60):
        while (await raw(site, "GET", place))[1]["range"] != "0-2":
            continue
    path = f"{place}?digest={Digest.of(b'abcdef')}"
    assert (await raw(site, "PUT", path, b"def", Content_Range="3-5"))[0] == 201


async def test_an_upload_goes_on_with_the_next_registry(site: Site, tmp_path: Path) -> None:
    place = (await raw(site, "POST", "/v2/a/blobs/uploads/"))[1]["location"]
    await raw(site, "PATCH", place, b"abc")
    site.registry.close()
    site.registry = RegistryServer(str(tmp_path / "registry"))
    site.handler = site.registry.handle
    elsewhere = place.replace("/v2/a/", "/v2/b/")
    assert (await raw(site, "GET", elsewhere))[0] == 404
    answers = await asyncio.gather(*(raw(site, "GET", place) for _ in range(5)))
    assert [(status, headers["range"]) for status, headers, _ in answers] == [(204, "0-2")] * 5
    path = f"{place}?digest={Digest.of(b'abcdef')}"
    assert (await raw(site, "PUT", path, b"def", Content_Range="3-5"))[0] == 201
    assert (await raw(site, "GET", f"/v2/a/blobs/{Digest.of(b'abcdef')}"))[2] == b"abcdef"
    assert (await raw(site, "GET", place))[0] == 404
    assert list((tmp_path / "registry" / "ingest").iterdir()) == []


async def test_partial_blobs_of_the_past_are_swept_while_it_runs(tmp_path: Path) -> None:
    now = 0.0
    registry = RegistryServer(str(tmp_path), lambda: now)
    site = await Site.open(registry.handle)
    try:
        left = tmp_path / "ingest" / "y.part"
        left.write_bytes(b"half")
        os.utime(left, (0, 0))
        await raw(site, "POST", "/v2/a/blobs/uploads/")
        assert left.exists()
        now = 3601.0
        await raw(site, "POST", "/v2/a/blobs/uploads/")
        assert not left.exists()
    finally:
        await site.close()
        registry.close()


async def test_uploads_that_nobody_ends_make_room(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "LIMIT", 3)
    places = [(await raw(site, "POST", "/v2/a/blobs/uploads/"))[1]["location"] for _ in range(5)]
    assert [(await raw(site, "GET", place))[0] for place in places] == [404, 404, 204, 204, 204]
    assert len(list((tmp_path / "registry" / "ingest").iterdir())) == 3


async def test_a_manifest_that_is_known_is_not_sent_again(
    site: Site, client: RegistryClient, tmp_path: Path
) -> None:
    digest = await pushed(site, client, tmp_path)
    _, headers, _ = await raw(site, "GET", "/v2/a/manifests/latest")
    assert headers["docker-content-digest"] == str(digest)
    status, _, body = await raw(site, "GET", "/v2/a/manifests/latest", If_None_Match=headers["etag"])
    assert (status, body) == (304, b"")


async def test_pages(site: Site, client: RegistryClient, tmp_path: Path) -> None:
    await pushed(site, client, tmp_path, "a", "b", "c")
    path, found = "/v2/a/tags/list?n=1", []
    while path:
        _, headers, body = await raw(site, "GET", path)
        found.append(json.loads(body)["tags"])
        path = headers.get("link", "").partition(">")[0].removeprefix("<")
    assert found == [["a"], ["b"], ["c"]]
    assert json.loads((await raw(site, "GET", "/v2/a/tags/list?n=0"))[2])["tags"] == []
    assert json.loads((await raw(site, "GET", "/v2/a/tags/list?n=x&last=a"))[2])["tags"] == ["b", "c"]


async def test_a_removed_manifest_leaves_the_catalog(
    site: Site, client: RegistryClient, tmp_path: Path
) -> None:
    digest = await pushed(site, client, tmp_path)
    assert (await raw(site, "DELETE", "/v2/a/manifests/latest"))[0] == 202
    assert (await raw(site, "HEAD", f"/v2/a/manifests/{digest}"))[0] == 200
    assert (await raw(site, "DELETE", f"/v2/a/manifests/{digest}"))[0] == 202
    assert (await raw(site, "HEAD", f"/v2/a/manifests/{digest}"))[0] == 404
    assert json.loads((await raw(site, "GET", "/v2/_catalog"))[2]) == {"repositories": []}


async def test_referrers(site: Site, client: RegistryClient, tmp_path: Path) -> None:
    """Also for a subject that is not here yet; filtered by type."""
    await pushed(site, client, tmp_path)
    subject = Digest.of(b"later")
    for kind in ("sig/x", "sbom/y"):
        value = json.loads(manifest_of(CONFIG)) | {
            "subject": {"digest": str(subject)},
            "artifactType": kind,
            "annotations": {"k": kind},
        }
        data = json.dumps(value).encode()
        path = f"/v2/a/manifests/{Digest.of(data)}"
        _, headers, _ = await raw(site, "PUT", path, data, Content_Type=OCI_MANIFEST)
        assert headers["oci-subject"] == str(subject)
    _, headers, body = await raw(site, "GET", f"/v2/a/referrers/{subject}")
    assert headers["content-type"] == OCI_INDEX
    assert {each["artifactType"] for each in json.loads(body)["manifests"]} == {"sig/x", "sbom/y"}
    _, headers, body = await raw(site, "GET", f"/v2/a/referrers/{subject}?artifactType=sig/x")
    assert headers["oci-filters-applied"] == "artifactType"
    assert [each["annotations"] for each in json.loads(body)["manifests"]] == [{"k": "sig/x"}]
    _, _, body = await raw(site, "GET", f"/v2/a/referrers/{Digest.of(b'nobody')}")
    assert json.loads(body)["manifests"] == []


async def test_a_directory_has_one_registry(tmp_path: Path) -> None:
    first = RegistryServer(str(tmp_path / "registry"))
    with pytest.raises(Conflict, match="another registry"):
        RegistryServer(str(tmp_path / "registry"))
    first.close()
    RegistryServer(str(tmp_path / "registry")).close()


async def test_what_a_killed_registry_left_is_swept(tmp_path: Path) -> None:
    registry = RegistryServer(str(tmp_path))
    registry.close()
    for left in (tmp_path / "partial" / "x", tmp_path / "ingest" / "y.part"):
        left.write_bytes(b"half")
        os.utime(left, (0, 0))
    RegistryServer(str(tmp_path)).close()
    assert list((tmp_path / "partial").iterdir()) == list((tmp_path / "ingest").iterdir()) == []


async def test_a_full_disk_leaves_nothing(site: Site, tmp_path: Path) -> None:
    """Half an upload on a file system of 1 MB; afterwards there is room again."""
    small = tmp_path / "small"
    small.mkdir()
    mount("tmpfs", str(small), "tmpfs", 0, "size=1m")
    try:
        registry = RegistryServer(str(small))
        site.handler = registry.handle
        data = b"x" * 2_000_000
        place = (await raw(site, "POST", "/v2/a/blobs/uploads/"))[1]["location"]
        status, code_ = await code(site, "PATCH", place, data)
        assert (status, code_) == (500, "UNKNOWN")
        assert (await raw(site, "GET", place))[0] == 404
        assert list((small / "ingest").iterdir()) == []
        fits = data[:500_000]
        path = f"/v2/a/blobs/uploads/?digest={Digest.of(fits)}"
        assert (await raw(site, "POST", path, fits))[0] == 201
        registry.close()
    finally:
        umount2(str(small), MNT_DETACH)
