"""Drivers that send, without a container: a receiver that is slow, away, or comes back; and files that are packed."""

import gzip
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from knarr.runtime.shim.log import LogFile
from knarr.runtime.shim.logs.local import LocalLog
from knarr.runtime.shim.logs.packing import Packer
from knarr.runtime.shim.logs.sender import HIGH, Down, Sender
from knarr.runtime.shim.logs.syslog import Syslog
from knarr.runtime.shim.loop import Loop
from knarr.wire.locallog import Decoder
from tests.support.receivers import Receiver, until

WISH: dict[str, Any] = {"facility": 3, "format": "", "tag": "t", "hostname": "h", "room": 0, "attrs": {}}


@pytest.fixture
def loop() -> Iterator[Loop]:
    """A shim's loop, turned by `turning`."""
    made = Loop()
    yield made
    made.close()


def turning(loop: Loop, condition: Callable[[], object]) -> None:
    """Turns until the condition holds."""

    def once() -> object:
        loop.turn(0.01)
        return condition()

    until(once)


def syslog(loop: Loop, port: int, **more: Any) -> Syslog:
    return Syslog(loop, {**WISH, "address": ["tcp", "127.0.0.1", port], **more}, None)


def test_a_receiver_that_comes_back_gets_what_is_said_then(loop: Loop) -> None:
    first = Receiver(("127.0.0.1", 0))
    port = first.port
    log = syslog(loop, port)
    log.write(1, b"one\n")
    turning(loop, lambda: b": one\n" in first.data)
    first.close()
    turning(loop, lambda: log._sender._state == "down")
    log.write(1, b"two\n")
    second = Receiver(("127.0.0.1", port))
    turning(loop, lambda: b": two\n" in second.data)
    assert log.close(lambda: None)
    second.close()


def test_a_stuck_receiver_makes_the_writer_wait_and_is_told_when_it_goes_on(loop: Loop) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    told: list[bool] = []
    with server:
        log = syslog(loop, server.getsockname()[1])
        log.heed(lambda: told.append(True))
        while not log.full:
            log.write(1, b"x" * 8000 + b"\n")
        assert log._sender._waiting > HIGH
        connection, _ = server.accept()
        connection.setblocking(False)

        def drained() -> bool:
            try:
                connection.recv(1 << 20)
            except BlockingIOError:
                pass
            return bool(told)

        turning(loop, drained)
        assert log._sender._waiting <= HIGH
        connection.close()
    log._sender._shut()


def test_with_room_nobody_waits(loop: Loop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        log = syslog(loop, server.getsockname()[1], room=10_000)
        for _ in range(2000):
            log.write(1, b"x" * 8000 + b"\n")
        assert not log.full
        assert log._sender.lost > 100
        log._sender._shut()


def test_the_rest_is_sent_after_the_end(loop: Loop) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    gone: list[bool] = []
    with server:
        log = syslog(loop, server.getsockname()[1])
        while not log.full:
            log.write(1, b"x" * 8000 + b"\n")
        log.write(1, b"last")
        log.finish()
        assert not log.close(lambda: gone.append(True))
        connection, _ = server.accept()
        connection.setblocking(False)
        data = bytearray()

        def taken() -> bool:
            try:
                data.extend(connection.recv(1 << 20))
            except BlockingIOError:
                pass
            return bool(gone) and data.endswith(b": last\n")

        turning(loop, taken)
        connection.close()


def test_nobody_there_at_first() -> None:
    loop = Loop()
    with pytest.raises(Down, match=r"dial tcp 127\.0\.0\.1:1: connect: connection refused"):
        Sender(loop, "tcp", "127.0.0.1", 1).begin()
    loop.close()


def test_one_that_is_given_up_after_so_many_tries(loop: Loop) -> None:
    sender = Sender(loop, "tcp", "127.0.0.1", 1, again=0.05, retries=2, room=1 << 20)
    sender.begin_later()
    sender.push(b"x")
    turning(loop, lambda: sender.lost == 1)
    assert sender.close(lambda: None)


def test_older_files_are_packed(loop: Loop, tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = LogFile(str(path), 100, 3, Packer(loop))
    for number in range(4):
        file.append(b"%d" % number * 100)
        file.rotate()
    turning(loop, lambda: (tmp_path / "log.1.gz").exists() and not (tmp_path / "log.1").exists())
    assert gzip.decompress((tmp_path / "log.1.gz").read_bytes()) == b"3" * 100
    assert gzip.decompress((tmp_path / "log.2.gz").read_bytes()) == b"2" * 100
    assert not (tmp_path / "log.3.gz").exists()
    file.close()


def test_local(loop: Loop, tmp_path: Path) -> None:
    log = LocalLog(loop, {"path": str(tmp_path / "d" / "log"), "max_size": 0, "max_file": 1})
    log.write(1, b"one\ntwo" + b"y" * 20_000)
    log.write(2, b"err\n")
    log.write(1, b"\nend")
    log.finish()
    log.close()
    records = list(Decoder().feed((tmp_path / "d" / "log").read_bytes()))
    assert (
        b"".join(each.data for each in records if each.stream == "stdout")
        == b"one\ntwo" + b"y" * 20_000 + b"\nend"
    )
    assert [each.data for each in records if each.stream == "stderr"] == [b"err\n"]
