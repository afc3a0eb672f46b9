"""What breaks on the way: uploads that go on, answers that are lost, ranges that are wrong, registries that are odd."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from knarr.loop.http.messages import Request, Response
from knarr.model.descriptor import OCI_LAYER, Descriptor
from knarr.model.digest import Digest
from knarr.model.errors import Invalid, KnarrError, NotFound, Unavailable
from knarr.registry.client.client import RegistryClient
from tests.system.registry.world import Site, push_blob, raw, read

BLOB = bytes(range(256)) * 8000
LAYER = Descriptor(OCI_LAYER, Digest.of(BLOB), len(BLOB))


async def test_an_upload_that_breaks_goes_on(site: Site, client: RegistryClient, tmp_path: Path) -> None:
    """The connection ends after some 300 kB of the first PATCH."""
    honest, cut = site.handler, 0

    async def cutting(request: Request) -> Response | None:
        nonlocal cut
        if request.method != "PATCH" or cut:
            return await honest(request)
        cut += 1
        whole = request.body

        async def part() -> AsyncIterator[bytes]:
            seen = 0
            async with contextlib.aclosing(whole()) as pieces:  # type: ignore[type-var]
                async for piece in pieces:
                    yield piece
                    seen += len(piece)
                    if seen > 300_000:
                        raise ConnectionResetError

        request.body = part  # type: ignore[method-assign]
        return await honest(request)

    site.handler = cutting
    sent: list[int] = []
    (tmp_path / "blob").write_bytes(BLOB)
    assert await client.push_blob(site.reference("a"), LAYER, tmp_path / "blob", progress=sent.append)
    assert await read(client, site.reference("a"), LAYER) == BLOB
    assert sent[-1] == len(BLOB)
    second = [request for request in site.requests if request.method == "PATCH"][1]
    assert int(second.headers["content-range"].partition("-")[0]) > 300_000


async def test_a_final_answer_that_is_lost(site: Site, client: RegistryClient, tmp_path: Path) -> None:
    honest = site.handler

    async def losing(request: Request) -> Response | None:
        response = await honest(request)
        if request.method == "PUT":
            raise ConnectionResetError
        return response

    site.handler = losing
    await push_blob(client, site.reference("a"), BLOB, tmp_path)
    methods = [request.method for request in site.requests]
    assert methods[:4] == ["HEAD", "POST", "PATCH", "PUT"]
    assert methods[-1] == "HEAD"


async def test_a_registry_that_is_ill_for_a_moment(
    site: Site, client: RegistryClient, tmp_path: Path
) -> None:
    """Every request fails once."""
    honest, seen = site.handler, set[tuple[str, str]]()

    async def ill(request: Request) -> Response | None:
        key = (request.method, request.path.rpartition("/")[0])
        if key not in seen:
            seen.add(key)
            return Response(503)
        return await honest(request)

    site.handler = ill
    await push_blob(client, site.reference("a"), BLOB, tmp_path)
    assert await read(client, site.reference("a"), LAYER) == BLOB


async def test_a_registry_that_stays_ill(site: Site, client: RegistryClient) -> None:
    async def ill(_: Request) -> Response:
        return Response(500, b"<html>no</html>")

    site.handler = ill
    with pytest.raises(Unavailable, match="received unexpected HTTP status: 500 Internal Server Error"):
        await client.resolve(site.reference("a"))


async def test_too_many_requests_for_good(site: Site, client: RegistryClient) -> None:
    async def busy(_: Request) -> Response:
        return Response(
            429, b'{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}', {"Retry-After": "0"}
        )

    site.handler = busy
    with pytest.raises(Unavailable, match="toomanyrequests: slow down"):
        await client.fetch_manifest(site.reference("a"), Digest.of(b""))


async def test_a_registry_without_ranges(site: Site, client: RegistryClient) -> None:
    async def whole(request: Request) -> Response:
        return Response(200, BLOB)

    site.handler = whole
    assert await read(client, site.reference("a"), LAYER, 1_000_001) == BLOB[1_000_001:]


async def test_a_registry_that_sends_another_range(site: Site, client: RegistryClient) -> None:
    async def off(request: Request) -> Response:
        if "range" not in request.headers:
            return Response(404)
        return Response(206, BLOB[7:], {"Content-Range": f"bytes 7-{len(BLOB) - 1}/{len(BLOB)}"})

    site.handler = off
    assert await read(client, site.reference("a"), LAYER, 1000) == BLOB[1000:]
    with pytest.raises(Unavailable, match="not the range"):
        await read(client, site.reference("a"), LAYER, 3)


async def test_a_blob_that_is_not_there(site: Site, client: RegistryClient, tmp_path: Path) -> None:
    await push_blob(client, site.reference("a"), b"x", tmp_path)
    with pytest.raises(NotFound, match="unknown blob"):
        await read(client, site.reference("a"), LAYER)


async def test_an_empty_blob(site: Site, client: RegistryClient, tmp_path: Path) -> None:
    empty = await push_blob(client, site.reference("a"), b"", tmp_path)
    assert await read(client, site.reference("a"), empty) == b""
    assert (await raw(site, "GET", f"/v2/a/blobs/{empty.digest}"))[0] == 200


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'"tags"', b"[" * 100_000, b"\xff"])
async def test_answers_that_are_none(site: Site, client: RegistryClient, body: bytes) -> None:
    async def odd(_: Request) -> Response:
        return Response(200, body, {"WWW-Authenticate": "?"})

    site.handler = odd
    with pytest.raises(KnarrError):
        await client.resolve(site.reference("a"))
    with contextlib.suppress(Invalid):
        assert await client.tags(site.reference("a")) == []


@pytest.mark.parametrize("body", [b"", b"[]", b'{"token": 3}', b'{"token": "a\\nb"}', b'{"expires_in": "x"}'])
async def test_token_servers_that_are_none(site: Site, client: RegistryClient, body: bytes) -> None:
    async def odd(request: Request) -> Response:
        if request.path == "/token":
            return Response(200, body)
        return Response(401, b"", {"WWW-Authenticate": f'Bearer realm="http://{site.domain}/token"'})

    site.handler = odd
    with pytest.raises(Unavailable, match="did not include a token"):
        await client.resolve(site.reference("a"))


async def test_requests_at_once_ask_for_one_token(site: Site, client: RegistryClient) -> None:
    honest = site.handler

    async def handle(request: Request) -> Response | None:
        if request.path == "/token":
            return Response(200, b'{"access_token": "T"}')
        if request.headers.get("authorization") != "Bearer T":
            return Response(401, b"", {"WWW-Authenticate": f'Bearer realm="http://{site.domain}/token"'})
        return await honest(request)

    site.handler = handle
    answers = await asyncio.gather(
        *(client.resolve(site.reference("a")) for _ in range(10)), return_exceptions=True
    )
    assert all(isinstance(answer, NotFound) for answer in answers)
    assert sum(request.path == "/token" for request in site.requests) == 1


async def test_a_download_that_is_dropped_lets_go(site: Site, client: RegistryClient, tmp_path: Path) -> None:
    await push_blob(client, site.reference("a"), BLOB, tmp_path)
    pieces = client.open_blob(site.reference("a"), LAYER)
    assert await anext(pieces)
    await pieces.aclose()  # type: ignore[attr-defined]
    assert await read(client, site.reference("a"), LAYER) == BLOB
