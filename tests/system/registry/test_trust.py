"""Who is told what: credentials stay with their registry, certificates count, mirrors and proxies get nothing secret."""

import asyncio
import base64
import json
import socket
import ssl
from pathlib import Path

import pytest
from yarl import URL

from knarr.loop.http.messages import Request, Response
from knarr.model.descriptor import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Descriptor
from knarr.model.digest import Digest
from knarr.model.errors import Denied, Invalid, NotFound, Unauthorized, Unavailable
from knarr.model.reference import Reference
from knarr.registry.client.client import RegistryClient
from knarr.registry.client.hosts import Endpoint
from knarr.registry.client.transport import Transport
from tests.system.registry.world import Credentials, Handler, Site, manifest_of, push_blob, read, self_signed

USER = Credentials(username="u", password="p")
BASIC = "Basic " + base64.b64encode(b"u:p").decode()
BLOB = Descriptor(OCI_LAYER, Digest.of(b"hello"), 5)


def protected(honest: Handler) -> Handler:
    """Lets only USER in."""

    async def handle(request: Request) -> Response | None:
        if request.headers.get("authorization") != BASIC:
            return Response(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})
        return await honest(request)

    return handle


async def test_a_redirect_takes_no_credentials_along(client: RegistryClient) -> None:
    async def stored(_: Request) -> Response:
        return Response(200, b"hello")

    storage = await Site.open(stored)

    async def redirect(_: Request) -> Response:
        return Response(307, b"", {"Location": f"http://127.0.0.1:{storage.port}/x?sign=a%2Bb%3D"})

    site = await Site.open(protected(redirect))
    try:
        assert await read(client, site.reference("a"), BLOB, 0, USER) == b"hello"
        assert BASIC in site.secrets()
        assert storage.secrets() == []
        assert storage.requests[0].head.target == "/x?sign=a%2Bb%3D"
        assert storage.requests[0].headers["user-agent"] == "knarr/test"
    finally:
        await site.close()
        await storage.close()


async def test_an_upload_that_goes_elsewhere_takes_no_credentials_along(
    site: Site, client: RegistryClient, tmp_path: Path
) -> None:
    """The registry answers the POST with a place on another port."""
    honest = site.handler
    elsewhere = await Site.open(honest)

    async def handle(request: Request) -> Response | None:
        response = await honest(request)
        if response is not None and request.method == "POST":
            response.headers["Location"] = f"http://127.0.0.1:{elsewhere.port}{response.headers['Location']}"
        return response

    site.handler = protected(handle)
    try:
        await push_blob(client, site.reference("a"), b"hello", tmp_path, USER)
        assert await read(client, site.reference("a"), BLOB, 0, USER) == b"hello"
        assert [request.method for request in elsewhere.requests] == ["PATCH", "PUT"]
        assert elsewhere.secrets() == []
    finally:
        await elsewhere.close()


async def test_a_mirror_gets_no_credentials(site: Site, tmp_path: Path) -> None:
    mirror = await Site.open(protected(site.handler))
    client = RegistryClient(mirrors={site.domain: [f"http://{mirror.domain}"]}, pause=0.01)
    honest, site.handler = site.handler, protected(site.handler)
    try:
        await push_blob(client, site.reference("a"), b"hello", tmp_path, USER)
        assert mirror.requests == []
        assert await read(client, site.reference("a"), BLOB, 0, USER) == b"hello"
        assert mirror.requests
        assert mirror.secrets() == []
        mirror.handler = honest
        before = len(site.requests)
        assert await read(client, site.reference("a"), BLOB, 0, USER) == b"hello"
        assert len(site.requests) == before
    finally:
        await client.close()
        await mirror.close()


async def test_a_mirror_that_lies_is_not_believed(site: Site, tmp_path: Path) -> None:
    async def lying(_: Request) -> Response:
        return Response(200, b'{"schemaVersion":2}', {"Content-Type": OCI_MANIFEST})

    mirror = await Site.open(lying)
    client = RegistryClient(mirrors={site.domain: [f"http://{mirror.domain}"]}, pause=0.01)
    try:
        config = (await push_blob(client, site.reference("a"), b"{}", tmp_path))._replace(
            media_type=OCI_CONFIG
        )
        data = manifest_of(config)
        digest = await client.push_manifest(site.reference("a"), OCI_MANIFEST, data)
        assert await client.fetch_manifest(site.reference("a"), digest) == data
        assert (await client.resolve(site.reference("a")._replace(tag=None, digest=digest))).size == len(data)
    finally:
        await client.close()
        await mirror.close()


async def test_a_certificate_must_be_signed(site: Site, certificate: ssl.SSLContext) -> None:
    safe = await Site.open(site.handler, certificate)
    transport = Transport("knarr/test", pause=0.01)
    try:
        with pytest.raises(Unavailable, match="certificate signed by unknown authority"):
            await transport.fetch("GET", Endpoint(f"https://{safe.domain}"), "/v2/", scope="", auth=None)
        assert safe.requests == []
    finally:
        await transport.close()
        await safe.close()


async def test_certificates_of_docker(site: Site, tmp_path: Path) -> None:
    """The authority is taken from the directory, the client's certificate too; without either nothing works."""
    certificate, key = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    context.load_verify_locations(tmp_path / "cert.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    safe = await Site.open(site.handler, context)
    domain = f"localhost:{safe.port}"
    own = tmp_path / "certs.d" / domain
    own.mkdir(parents=True)
    transport = Transport("knarr/test", 0.01, str(own.parent))

    async def ask() -> bytes:
        answer = await transport.fetch("GET", Endpoint(f"https://{domain}"), "/v2/", scope="", auth=None)
        return answer.data

    try:
        with pytest.raises(Unavailable, match="certificate signed by unknown authority"):
            await ask()
        (own / "ca.crt").write_bytes(certificate)
        with pytest.raises(Unavailable):
            await ask()
        (own / "client.cert").write_bytes(certificate)
        with pytest.raises(Invalid, match=r"missing key client\.key for client certificate client\.cert"):
            await ask()
        (own / "client.key").write_bytes(key)
        assert await ask() == b"{}"
    finally:
        await transport.close()
        await safe.close()


async def test_an_insecure_registry_may_have_any_certificate(
    site: Site, client: RegistryClient, certificate: ssl.SSLContext, tmp_path: Path
) -> None:
    safe = await Site.open(site.handler, certificate)
    try:
        await push_blob(client, safe.reference("a"), b"hello", tmp_path)
        assert await read(client, safe.reference("a"), BLOB) == b"hello"
    finally:
        await safe.close()


async def test_plain_http_where_https_was_meant(site: Site) -> None:
    transport = Transport("knarr/test")
    try:
        with pytest.raises(Unavailable, match="server gave HTTP response to HTTPS client"):
            await transport.fetch("GET", Endpoint(f"https://{site.domain}"), "/v2/", scope="", auth=None)
    finally:
        await transport.close()


async def test_a_registry_that_changes_to_tls_is_found_again(
    site: Site, client: RegistryClient, certificate: ssl.SSLContext, tmp_path: Path
) -> None:
    await push_blob(client, site.reference("a"), b"hello", tmp_path)
    port = site.port
    await site.close()
    safe = Site(site.handler)
    safe.port = await safe.server.listen_tcp("127.0.0.1", port, certificate)
    try:
        assert await read(client, safe.reference("a"), BLOB) == b"hello"
    finally:
        await safe.close()


async def test_credentials_are_not_sent_to_a_plain_token_server(
    site: Site, certificate: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A registry by HTTPS that names a realm by HTTP."""
    plain = await Site.open(site.handler)

    async def ask(_: Request) -> Response:
        return Response(401, b"", {"WWW-Authenticate": f'Bearer realm="http://{plain.domain}/token"'})

    safe = await Site.open(ask, certificate)
    transport = Transport("knarr/test", pause=0.01)
    session = transport.session()
    request = session.request

    def believing(method: str, url: URL, **options: object) -> object:
        return request(method, url, **{**options, "ssl": False})  # type: ignore[arg-type]

    monkeypatch.setattr(session, "request", believing)
    try:
        with pytest.raises(Denied, match="it is not encrypted"):
            await transport.fetch("GET", Endpoint(f"https://{safe.domain}"), "/v2/", scope="", auth=USER)
        assert plain.requests == []
    finally:
        await transport.close()
        await safe.close()
        await plain.close()


async def test_login(site: Site, client: RegistryClient) -> None:
    site.handler = protected(site.handler)
    await client.ping(site.domain, USER)
    with pytest.raises(
        Unauthorized, match=r"login attempt to http://.*/v2/ failed with status: 401 Unauthorized"
    ):
        await client.ping(site.domain, Credentials(username="u", password="x"))
    with pytest.raises(Unauthorized, match="wrong"):
        site.handler = _refusing("UNAUTHORIZED", "wrong")
        await client.ping(site.domain, Credentials(username="u", password="x"))


def _refusing(code: str, message: str) -> Handler:
    async def handle(_: Request) -> Response:
        body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
        return Response(
            401, body, {"WWW-Authenticate": 'Basic realm="x"', "Content-Type": "application/json"}
        )

    return handle


async def test_tokens_of_two_users_are_two(site: Site, client: RegistryClient) -> None:
    """The second user has another identity token, and must not ride on the first one's bearer token."""
    honest = site.handler

    async def handle(request: Request) -> Response | None:
        if request.path == "/token":
            return Response(
                200, json.dumps({"token": str(b"refresh_token=good" in await request.read())}).encode()
            )
        if request.headers.get("authorization") != "Bearer True":
            return Response(401, b"", {"WWW-Authenticate": f'Bearer realm="http://{site.domain}/token"'})
        return await honest(request)

    site.handler = handle
    await client.ping(site.domain, Credentials(identitytoken="good"))
    with pytest.raises(Unauthorized):
        await client.ping(site.domain, Credentials(identitytoken="bad"))


async def test_a_host_that_does_not_exist(client: RegistryClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_: object, **__: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(Unavailable) as caught:
        await client.resolve(Reference("nosuch.invalid", "a", "b"))
    assert (
        str(caught.value) == 'Get "https://nosuch.invalid/v2/": dial tcp: lookup nosuch.invalid: no such host'
    )


async def test_gos_words_for_nobody_there(client: RegistryClient) -> None:
    with pytest.raises(Unavailable) as caught:
        await client.resolve(Reference("127.0.0.1:1", "a", "b"))
    assert (
        str(caught.value) == 'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused'
    )


async def test_dockers_words_for_what_is_not_there(site: Site, client: RegistryClient) -> None:
    ref = site.reference("nobody", "1")
    with pytest.raises(NotFound) as caught:
        await client.resolve(ref)
    assert str(caught.value) == f"manifest for {ref.familiar} not found: manifest unknown: manifest unknown"
    site.handler = protected(site.handler)
    with pytest.raises(NotFound) as caught:
        await client.resolve(ref)
    assert str(caught.value) == (
        f"pull access denied for {ref.familiar_name}, repository does not exist or may require 'docker login': "
        "denied: requested access to the resource is denied"
    )
