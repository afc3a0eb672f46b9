"""The client's own parts: queries, paths, and TLS against the server's."""

import asyncio
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from urllib.parse import quote as reference_quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.api.client.http import CannotConnect, Http, encode, quote
from knarr.loop.http.messages import Request, Response
from knarr.loop.http.server import Server


@given(st.text(), st.sampled_from(["", "/", "/:"]))
def test_quoting_is_urllibs(text: str, safe: str) -> None:
    text = text.encode(errors="replace").decode()
    assert quote(text, safe) == reference_quote(text, safe=safe)


def test_queries() -> None:
    query = encode({"a": True, "b": False, "c": None, "d": ["x", "y"], "e": {"k": ["v"]}, "f": 3, "g": ""})
    assert parse_qs(query[1:], keep_blank_values=True) == {
        "a": ["1"], "d": ["x", "y"], "e": ['{"k": ["v"]}'], "f": ["3"], "g": [""],
    }  # fmt: skip
    assert encode({}) == ""


@pytest.mark.parametrize("host", ["unix:///nowhere/sock", "tcp://127.0.0.1:1", "tcp://x:y", "ftp://x"])
def test_no_daemon(host: str) -> None:
    with pytest.raises(CannotConnect):
        Http(host).request("GET", "/_ping")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certificates")
    command = (
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost "
        f"-keyout {directory}/server.key -out {directory}/ca.pem -addext subjectAltName=DNS:localhost"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    return directory


async def test_tls(certificates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests and taken-over connections, each way ended alone."""
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(certificates))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "ca.pem", certificates / "server.key")

    def echo(sock: socket.socket, tail: bytes) -> None:
        with sock:
            sock.setblocking(True)
            data = bytearray(tail)
            while piece := sock.recv(1 << 16):
                data += piece
            sock.sendall(data)

    async def handle(request: Request) -> Response | None:
        if not request.head.upgrade:
            return Response(200, b'{"a": 1}')
        sock, tail = await request.hijack(b"HTTP/1.1 101 UPGRADED\r\n\r\n")
        await asyncio.to_thread(echo, sock, tail)
        return None

    sent = bytes(range(256)) * 2000

    def talk(http: Http) -> tuple[Any, bytes]:
        with http.request("GET", "/x") as answer:
            value = answer.json()
        taken = http.hijack("/y")
        with taken.sock as sock:
            sock.sendall(sent)
            sock.shutdown(socket.SHUT_WR)
            data = bytearray(taken.tail)
            while piece := sock.recv(1 << 16):
                data += piece
        return value, bytes(data)

    server = Server(handle)
    port = await server.listen_tcp("127.0.0.1", 0, context)
    try:
        value, received = await asyncio.to_thread(talk, Http(f"tcp://localhost:{port}"))
    finally:
        await server.close(1)
    assert value == {"a": 1}
    assert received == sent
