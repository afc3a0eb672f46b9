"""The registry's two ends against each other over loopback, and the client against registries that misbehave."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from knarr.engine.images.settled import closing
from knarr.loop.http.messages import Request, Response
from knarr.model.descriptor import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Descriptor
from knarr.model.digest import Digest
from knarr.model.errors import Denied, Invalid, KnarrError, NotFound, Unavailable
from knarr.model.reference import Reference
from knarr.registry.client.client import RegistryClient
from knarr.registry.server.server import RegistryServer
from tests.system.registry.world import Credentials, Handler, Site, manifest_of, push_blob, raw, read

BLOB = bytes(range(256)) * 4000


async def test_push_and_pull(site: Site, client: RegistryClient, tmp_path: Path) -> None:
    ref = site.reference("a/b")
    layer = await push_blob(client, ref, BLOB, tmp_path)
    config = (await push_blob(client, ref, b"{}", tmp_path))._replace(media_type=OCI_CONFIG)
    data = manifest_of(config, layer)
    digest = await client.push_manifest(ref, OCI_MANIFEST, data)
    found = await client.resolve(ref)
    assert found == Descriptor(OCI_MANIFEST, digest, len(data))
    assert await client.fetch_manifest(ref, digest) == data
    assert await read(client, ref, layer) == BLOB
    assert await read(client, ref, layer, 1_000_000) == BLOB[1_000_000:]
    assert await client.tags(ref) == ["latest"]
    assert (await client.resolve(ref._replace(tag=None, digest=digest))).digest == digest
    index = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [{"mediaType": OCI_MANIFEST, "digest": str(digest), "size": len(data)}],
        }
    ).encode()
    await client.push_manifest(ref._replace(tag="index"), OCI_INDEX, index)
    assert (await client.resolve(ref._replace(tag="index"))).media_type == OCI_INDEX


async def test_what_is_there_is_not_sent_again(site: Site, client: RegistryClient, tmp_path: Path) -> None:
    ref = site.reference("a")
    layer = await push_blob(client, ref, BLOB, tmp_path)
    assert not await client.push_blob(ref, layer, tmp_path / "blob")
    other = site.reference("other")
    assert await client.mount_blob(other, layer, ref)
    assert await read(client, other, layer) == BLOB
    assert not await client.mount_blob(other, layer._replace(digest=Digest.of(b"unknown")), ref)


async def test_what_is_not_there(site: Site, client: RegistryClient, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"pull access denied for|manifest unknown"):
        await client.resolve(site.reference("nobody"))
    await push_blob(client, site.reference("a"), b"x", tmp_path)
    with pytest.raises(NotFound, match="manifest unknown"):
        await client.resolve(site.reference("a", "nothing"))


async def test_nobody_listens(client: RegistryClient) -> None:
    with pytest.raises(Unavailable, match="connection refused"):
        await client.resolve(Reference("127.0.0.1:1", "a", "b"))


async def test_a_manifest_needs_its_parts(site: Site, client: RegistryClient) -> None:
    missing = Descriptor(OCI_LAYER, Digest.of(b"missing"), 7)
    with pytest.raises(KnarrError, match="unknown blob"):
        await client.push_manifest(site.reference("a"), OCI_MANIFEST, manifest_of(missing))


async def test_a_blob_that_is_not_its_digest_is_refused(
    site: Site, client: RegistryClient, tmp_path: Path
) -> None:
    (tmp_path / "blob").write_bytes(b"other")
    with pytest.raises(KnarrError, match="digest invalid"):
        await client.push_blob(
            site.reference("a"), Descriptor(OCI_LAYER, Digest.of(b"right"), 5), tmp_path / "blob"
        )
    assert not list((tmp_path / "registry" / "ingest").iterdir())
    assert not list((tmp_path / "registry" / "blobs" / "sha256").iterdir())


async def test_a_registry_that_closes_mid_blob_is_asked_for_the_rest(
    site: Site, client: RegistryClient, tmp_path: Path
) -> None:
    ref = site.reference("a")
    layer = await push_blob(client, ref, BLOB, tmp_path)
    honest = site.handler

    async def cutting(request: Request) -> Response | None:
        response = await honest(request)
        if (
            request.method == "GET"
            and "/blobs/" in request.path
            and response is not None
            and not isinstance(response.body, bytes)
        ):
            whole = response.body

            async def part() -> AsyncIterator[bytes]:
                async with closing(whole):
                    async for piece in whole:
                        yield piece[:200_000]
                        raise ConnectionResetError

            response.body = part()
        return response

    site.handler = cutting
    assert await read(client, ref, layer) == BLOB
    ranges = [request.headers["range"] for request in site.requests if "range" in request.headers]
    assert len(ranges) >= 4


async def test_a_registry_that_always_closes_is_given_up(site: Site, client: RegistryClient) -> None:
    async def closing(_: Request) -> Response | None:
        raise ConnectionResetError

    site.handler = closing
    with pytest.raises(Unavailable):
        await read(client, site.reference("a"), Descriptor(OCI_LAYER, Digest.of(b"x"), 1))


async def test_a_false_manifest_is_refused(site: Site, client: RegistryClient) -> None:
    async def lying(_: Request) -> Response:
        return Response(200, b'{"schemaVersion":2}', {"Content-Type": OCI_MANIFEST})

    site.handler = lying
    with pytest.raises(Invalid, match="manifest verification failed"):
        await client.fetch_manifest(site.reference("a"), Digest.of(b"other"))


async def test_too_many_requests_are_waited_out(site: Site, client: RegistryClient) -> None:
    honest, asked = site.handler, 0

    async def busy(request: Request) -> Response | None:
        nonlocal asked
        asked += 1
        return Response(429, b"", {"Retry-After": "0"}) if asked < 3 else await honest(request)

    site.handler = busy
    with pytest.raises(NotFound):
        await client.resolve(site.reference("a"))
    assert asked >= 3


def guarded(site: Site, honest: Handler) -> Handler:
    """Asks for a token that its own /token gives to user "u" with password "p", or to the identity token "id"."""

    async def handle(request: Request) -> Response | None:
        if request.path == "/token":
            if request.method == "POST":
                allowed = b"refresh_token=id" in await request.read()
            else:
                allowed = request.headers.get("authorization") == "Basic " + base64.b64encode(b"u:p").decode()
            return Response(
                200,
                json.dumps({"token": "T" if allowed else "guest", "expires_in": 300}).encode(),
                {"Content-Type": "application/json"},
            )
        if request.headers.get("authorization") != "Bearer T":
            realm = f'Bearer realm="http://127.0.0.1:{site.port}/token",service="s"'
            return Response(401, b"", {"WWW-Authenticate": realm})
        return await honest(request)

    return handle


@pytest.mark.parametrize(
    "auth",
    [
        Credentials(username="u", password="p"),
        Credentials(identitytoken="id"),
        Credentials(auth=base64.b64encode(b"u:p").decode()),
    ],
)
async def test_tokens(site: Site, client: RegistryClient, tmp_path: Path, auth: Credentials) -> None:
    site.handler = guarded(site, site.handler)
    await push_blob(client, site.reference("a"), BLOB, tmp_path, auth)
    asked = sum(1 for request in site.requests if request.path == "/token")
    assert asked == 1


async def test_without_credentials_a_token_is_not_enough(
    site: Site, client: RegistryClient, tmp_path: Path
) -> None:
    site.handler = guarded(site, site.handler)
    with pytest.raises(NotFound, match="pull access denied"):
        await client.resolve(site.reference("a"))
    with pytest.raises(Denied, match="requested access to the resource is denied"):
        await push_blob(client, site.reference("a"), b"x", tmp_path)


async def test_basic_credentials(site: Site, client: RegistryClient, tmp_path: Path) -> None:
    honest = site.handler

    async def handle(request: Request) -> Response | None:
        if request.headers.get("authorization") != "Basic " + base64.b64encode(b"u:p").decode():
            return Response(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})
        return await honest(request)

    site.handler = handle
    await push_blob(client, site.reference("a"), BLOB, tmp_path, Credentials(username="u", password="p"))


async def test_a_mirror_is_asked_first_and_may_fail(site: Site, tmp_path: Path) -> None:
    broken = Site(lambda _: _answer(Response(500)))
    broken.port = await broken.server.listen_tcp("127.0.0.1", 0)
    domain = f"127.0.0.1:{site.port}"
    client = RegistryClient(mirrors={domain: [f"http://127.0.0.1:{broken.port}"]}, pause=0.01)
    try:
        ref = site.reference("a")
        config = (await push_blob(client, ref, b"{}", tmp_path))._replace(media_type=OCI_CONFIG)
        digest = await client.push_manifest(ref, OCI_MANIFEST, manifest_of(config))
        assert not broken.requests
        assert (await client.resolve(ref)).digest == digest
        assert broken.requests
    finally:
        await client.close()
        await broken.server.close(1)


async def _answer(response: Response) -> Response:
    await asyncio.sleep(0)
    return response


async def test_images_outlive_the_server(site: Site, client: RegistryClient, tmp_path: Path) -> None:
    ref = site.reference("a")
    config = (await push_blob(client, ref, b"{}", tmp_path))._replace(media_type=OCI_CONFIG)
    digest = await client.push_manifest(ref, OCI_MANIFEST, manifest_of(config))
    site.registry.close()
    site.registry = RegistryServer(str(tmp_path / "registry"))
    site.handler = site.registry.handle
    assert (await client.resolve(ref)).digest == digest


async def test_chunked_uploads_must_follow_each_other(site: Site) -> None:
    status, headers, _ = await raw(site, "POST", "/v2/a/blobs/uploads/")
    assert status == 202
    place = headers["location"]
    status, headers, _ = await raw(site, "PATCH", place, b"abc", Content_Range="0-2")
    assert (status, headers["range"]) == (202, "0-2")
    assert (await raw(site, "PATCH", place, b"x", Content_Range="7-7"))[0] == 416
    assert (await raw(site, "GET", place))[1]["range"] == "0-2"
    status, headers, _ = await raw(
        site, "PUT", f"{place}?digest={Digest.of(b'abcdef')}", b"def", Content_Range="3-5"
    )
    assert status == 201
    assert (await raw(site, "GET", headers["location"]))[2] == b"abcdef"
    assert (await raw(site, "PUT", f"{place}?digest={Digest.of(b'')}"))[0] == 404


async def test_pages_ranges_deletion_and_referrers(
    site: Site, client: RegistryClient, tmp_path: Path
) -> None:
    ref = site.reference("a")
    config = (await push_blob(client, ref, b"{}", tmp_path))._replace(media_type=OCI_CONFIG)
    data = manifest_of(config)
    for tag in "cab":
        digest = await client.push_manifest(ref._replace(tag=tag), OCI_MANIFEST, data)
    status, headers, body = await raw(site, "GET", "/v2/a/tags/list?n=2")
    assert json.loads(body)["tags"] == ["a", "b"]
    assert 'rel="next"' in headers["link"]
    assert await client.tags(ref) == ["a", "b", "c"]
    assert json.loads((await raw(site, "GET", "/v2/_catalog"))[2]) == {"repositories": ["a"]}
    status, headers, body = await raw(site, "GET", f"/v2/a/blobs/{config.digest}", Range="bytes=1-")
    assert (status, headers["content-range"], body) == (206, "bytes 1-1/2", b"}")
    assert (await raw(site, "GET", f"/v2/a/blobs/{config.digest}", Range="bytes=9-"))[0] == 416
    subject = json.loads(data) | {
        "subject": {"mediaType": OCI_MANIFEST, "digest": str(digest), "size": len(data)},
        "artifactType": "x/y",
    }
    status, headers, _ = await raw(
        site, "PUT", "/v2/a/manifests/signed", json.dumps(subject).encode(), Content_Type=OCI_MANIFEST
    )
    assert (status, headers["oci-subject"]) == (201, str(digest))
    found = json.loads((await raw(site, "GET", f"/v2/a/referrers/{digest}"))[2])["manifests"]
    assert [each["artifactType"] for each in found] == ["x/y"]
    assert (await raw(site, "DELETE", f"/v2/a/manifests/{digest}"))[0] == 202
    assert await client.tags(ref) == ["signed"]
    assert (await raw(site, "GET", "/v2/a/manifests/a"))[0] == 404
    assert (await raw(site, "DELETE", f"/v2/a/blobs/{config.digest}"))[0] == 202
    assert (await raw(site, "GET", f"/v2/a/blobs/{config.digest}"))[0] == 404
    assert (await raw(site, "GET", "/v2/../manifests/x"))[0] in (400, 404)
