"""The client against a socket that answers what it is told to."""

import socket
import threading
from pathlib import Path

import pytest
from bench.client import Client, Failed

JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n"


def serve(path: Path, *answers: bytes) -> threading.Thread:
    """Answers one request after the other on one connection, then closes it."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def run() -> None:
        with listener:
            connection, _ = listener.accept()
            with connection:
                for answer in answers:
                    connection.recv(65536)
                    connection.sendall(answer)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_one_connection_serves_many_requests(tmp_path: Path) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    empty = b"HTTP/1.1 204 No Content\r\n\r\n"
    thread = serve(tmp_path / "s", JSON + b'{"a": 1}', chunked, empty)
    with Client(tmp_path / "s") as client:
        assert client.request("GET", "/a") == {"a": 1}
        assert client.request("POST", "/b", {"x": 1}) == b"abcde"
        assert client.request("DELETE", "/c") == b""
    thread.join()


def test_a_stream_is_read_to_its_end(tmp_path: Path) -> None:
    thread = serve(tmp_path / "s", b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\nall of it")
    with Client(tmp_path / "s") as client:
        assert client.stream("POST", "/exec/x/start", {}) == b"all of it"
    thread.join()


def test_an_error_shows_what_the_daemon_said(tmp_path: Path) -> None:
    thread = serve(tmp_path / "s", b"HTTP/1.1 404 Not Found\r\nContent-Length: 7\r\n\r\nno such")
    with Client(tmp_path / "s") as client, pytest.raises(Failed, match="404 no such"):
        client.request("GET", "/a")
    thread.join()


def test_a_cut_answer_is_an_error(tmp_path: Path) -> None:
    thread = serve(tmp_path / "s", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nno")
    with Client(tmp_path / "s") as client, pytest.raises(Failed, match="middle"):
        client.request("GET", "/a")
    thread.join()
