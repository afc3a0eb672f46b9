"""TLS below the server, with Python's own ssl as the client."""

import asyncio
import contextlib
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator

import pytest

from knarr.loop.http.connection import Handler
from knarr.loop.http.messages import Request, Response
from knarr.loop.http.server import Server


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's and the client's, of one self-signed certificate."""
    directory = tmp_path_factory.mktemp("tls")
    key, certificate = directory / "key.pem", directory / "cert.pem"
    subprocess.run(
        (
            f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {key} -out {certificate} "
            "-days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
        ).split(),
        check=True,
        capture_output=True,
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    client = ssl.create_default_context(cafile=str(certificate))
    return server, client


@contextlib.asynccontextmanager
async def serving(context: ssl.SSLContext, handler: Handler) -> AsyncIterator[int]:
    server = Server(handler)
    port = await server.listen_tcp("127.0.0.1", 0, context)
    try:
        yield port
    finally:
        await server.close(1)


def connect(port: int, context: ssl.SSLContext) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", port), timeout=60)
    return context.wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False)


def read_all(client: ssl.SSLSocket) -> bytes:
    data = bytearray()
    while piece := client.recv(1 << 16):
        data += piece
    return bytes(data)


async def echo(request: Request) -> Response:
    return Response(200, await request.read())


async def test_requests_are_answered(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    body = bytes(range(256)) * 4000

    def talk(port: int) -> bytes:
        with connect(port, contexts[1]) as client:
            head = f"POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
            client.sendall(head.encode() + body)
            return read_all(client)

    async with serving(contexts[0], echo) as port:
        answer = await asyncio.to_thread(talk, port)
    assert answer.partition(b"\r\n\r\n")[2] == body


async def test_what_is_no_tls_ends(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async with serving(contexts[0], echo) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert not (await asyncio.wait_for(reader.read(), 60)).startswith(b"HTTP")
        writer.close()


async def test_a_taken_connection_carries_both_ways_and_ends_each_way_alone(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    sent, reply = b"to the container " * 20_000, b"from the container " * 50_000

    async def take(request: Request) -> None:
        assert await request.read() == b"{}"
        sock, tail = await request.hijack(b"HTTP/1.1 101 UPGRADED\r\n\r\n")
        await asyncio.to_thread(serve, sock, tail)

    received: list[bytes] = []

    def serve(sock: socket.socket, tail: bytes) -> None:
        """The whole input to its end, and only then the output: each end of a stream must come through alone."""
        with sock:
            sock.setblocking(True)
            data = bytearray(tail)
            while piece := sock.recv(1 << 16):
                data += piece
            received.append(bytes(data))
            sock.sendall(reply)

    def talk(port: int) -> bytes:
        plain = socket.create_connection(("127.0.0.1", port), timeout=60)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = contexts[1].wrap_bio(incoming, outgoing, server_hostname="localhost")
        with plain:
            drive(plain, incoming, outgoing, client.do_handshake)
            client.write(
                b"POST / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 2\r\n\r\n{}"
            )
            client.write(sent)
            with contextlib.suppress(ssl.SSLWantReadError):
                client.unwrap()
            plain.sendall(outgoing.read())
            data = bytearray()
            with contextlib.suppress(ssl.SSLZeroReturnError):
                while piece := drive(plain, incoming, outgoing, lambda: client.read(1 << 16)):
                    data += piece
            return bytes(data)

    async with serving(contexts[0], take) as port:
        answer = await asyncio.to_thread(talk, port)
    assert received == [sent]
    assert answer == b"HTTP/1.1 101 UPGRADED\r\n\r\n" + reply


def drive(plain: socket.socket, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, step):  # type: ignore[no-untyped-def]
    """Repeats a step of TLS until it has the bytes that it needs."""
    while True:
        try:
            return step()
        except ssl.SSLWantReadError:
            if outgoing.pending:
                plain.sendall(outgoing.read())
            data = plain.recv(1 << 16)
            if data:
                incoming.write(data)
            else:
                incoming.write_eof()
        finally:
            if outgoing.pending:
                plain.sendall(outgoing.read())
