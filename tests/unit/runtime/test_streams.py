"""Clients and streams of a shim, on real sockets and pipes, without a container."""

import errno
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from knarr.kernel import terminal
from knarr.runtime.shim import client as client_module
from knarr.runtime.shim.client import Client, Spill
from knarr.runtime.shim.log import JsonLog
from knarr.runtime.shim.loop import READ, Loop
from knarr.runtime.shim.streams import Streams
from knarr.wire.detachkeys import Matcher
from knarr.wire.mux import encode

BOTH = frozenset({1, 2})


class Stage:
    """A loop, streams on pipes, and the process's ends of them."""

    def __init__(self, tmp_path: Path, stdin_once: bool = True) -> None:
        self.loop = Loop()
        self.tmp_path = tmp_path
        self.streams = Streams(self.loop, JsonLog(str(tmp_path / "log")), stdin_once)
        self.stdin, stdin = os.pipe()
        out, self.out = os.pipe()
        err, self.err = os.pipe()
        self.streams.pipes(stdin, out, err)

    def client(
        self, framed: bool = False, takes_input: bool = False, tail: bytes = b""
    ) -> tuple[Client, socket.socket]:
        mine, theirs = socket.socketpair()
        made = Client(self.loop, theirs, BOTH, framed, str(self.tmp_path))
        self.streams.add(made, takes_input, tail)
        return made, mine

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline
            self.loop.turn(0.01)

    def read_all(self, sock: socket.socket) -> bytes:
        sock.setblocking(False)
        data = b""

        def more() -> bool:
            nonlocal data
            try:
                while chunk := sock.recv(1 << 16):
                    data += chunk
            except BlockingIOError:
                return False
            return True

        self.until(more)
        return data


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    for fd in (made.stdin, made.out, made.err):
        try:
            os.close(fd)
        except OSError:
            continue
    made.streams.finish()
    made.loop.close()


def test_output_goes_to_the_log_and_to_every_client(stage: Stage) -> None:
    _, raw = stage.client()
    _, framed = stage.client(framed=True)
    os.write(stage.out, b"out\n")
    stage.until(lambda: (stage.tmp_path / "log").stat().st_size)
    os.write(stage.err, b"err\n")
    os.close(stage.out)
    stage.streams.finish()
    with raw, framed:
        assert stage.read_all(raw) == b"out\nerr\n"
        assert stage.read_all(framed) == encode(1, b"out\n") + encode(2, b"err\n")


def test_input_and_its_end(stage: Stage) -> None:
    _, sock = stage.client(takes_input=True, tail=b"tail ")
    with sock:
        sock.sendall(b"typed")
        sock.shutdown(socket.SHUT_WR)
        stage.until(lambda: stage.streams._stdin < 0)
        assert os.read(stage.stdin, 100) + os.read(stage.stdin, 100) == b"tail typed"


def test_input_that_nobody_takes_holds_its_client(stage: Stage) -> None:
    """The process reads nothing: what waits stays bounded, and all of it arrives once it reads."""
    _, sock = stage.client(takes_input=True)
    data = os.urandom(2_000_000)
    sent, got = 0, b""
    os.set_blocking(stage.stdin, False)
    with sock:
        sock.setblocking(False)
        while len(got) < len(data):
            try:
                sent += sock.send(data[sent : sent + 65536]) if sent < len(data) else 0
            except BlockingIOError:
                try:
                    got += os.read(stage.stdin, 65536)
                except BlockingIOError:
                    pass
            if sent == len(data):
                try:
                    got += os.read(stage.stdin, 65536)
                except BlockingIOError:
                    pass
            stage.loop.turn(0)
            assert stage.streams._waiting < 1 << 20
    assert got == data


def test_a_client_that_leaves_is_forgotten(stage: Stage) -> None:
    _, sock = stage.client(takes_input=True)
    sock.close()
    stage.until(lambda: not stage.streams.clients)
    os.write(stage.out, b"still logged\n")
    stage.until(lambda: (stage.tmp_path / "log").stat().st_size)


def test_detach_keys(stage: Stage) -> None:
    made, sock = stage.client()
    detached: list[bool] = []
    chained = made.on_close

    def closed(gone: Client, by_keys: bool) -> None:
        detached.append(by_keys)
        chained(gone, by_keys)

    made.on_close, made.takes_input, made.matcher = closed, True, Matcher(b"\x10\x11")
    with sock:
        sock.sendall(b"abc\x10\x11")
        assert stage.read_all(sock) == b""
    assert detached == [True]
    assert os.read(stage.stdin, 10) == b"abc"


def test_a_stalled_client_spills_and_loses_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "HIGH", 100_000)
    monkeypatch.setattr(client_module, "PATIENCE", 0.05)
    made, sock = stage.client()
    sent = []
    for number in range(100):
        piece = bytes([number]) * 20_000
        made.send(1, piece)
        sent.append(piece)
        if number == 50:
            assert made.full
            stage.until(lambda: not made.full)
    assert not made.full
    made.finish()
    with sock:
        assert stage.read_all(sock) == b"".join(sent)
    assert made.closed


def test_a_full_spill_makes_the_process_wait(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "HIGH", 100_000)
    monkeypatch.setattr(client_module, "PATIENCE", 0.01)
    monkeypatch.setattr(client_module, "SPILL", 50_000)
    made, sock = stage.client()
    made.send(1, b"x" * 1_000_000)
    stage.until(lambda: not made.full)
    made.send(1, b"y" * 60_000)
    assert made.full
    with sock:
        made.finish()
        assert len(stage.read_all(sock)) == 1_060_000


def test_a_spill_is_a_queue(tmp_path: Path) -> None:
    spill = Spill(str(tmp_path))
    spill.put(b"one")
    spill.put(b"two")
    assert (len(spill), spill.get(), len(spill)) == (6, b"onetwo", 0)
    spill.put(b"three")
    assert spill.get() == b"three"
    spill.close()
    assert list(tmp_path.iterdir()) == []


def test_timers_and_callbacks() -> None:
    loop = Loop()
    read, write = os.pipe()
    seen: list[str] = []
    loop.watch(read, READ, lambda events: seen.append("ready"))
    loop.after("late", 60, lambda: seen.append("late"))
    loop.after("soon", 0.01, loop.stop)
    loop.cancel("late")
    loop.cancel("unknown")
    os.write(write, b"x")
    loop.turn(1)
    loop.forget(read)
    loop.forget(read)
    loop.run()
    assert seen == ["ready"]
    os.close(read)
    os.close(write)
    loop.close()


def test_an_event_is_only_its_own_descriptors() -> None:
    """Both hang up at once: whichever comes first closes the other, whose number the next one gets."""
    loop = Loop()
    pairs = [os.pipe(), os.pipe()]
    seen: list[int] = []
    fresh: list[int] = []

    def take(mine: int, other: int) -> None:
        seen.append(mine)
        loop.forget(mine)
        loop.forget(other)
        os.close(other)
        fresh.extend(os.pipe())
        assert other in fresh
        loop.watch(other, READ, lambda events: seen.append(-events))

    (first, _), (second, _) = pairs
    loop.watch(first, READ, lambda events: take(first, second))
    loop.watch(second, READ, lambda events: take(second, first))
    for _, write in pairs:
        os.close(write)
    loop.turn(1)
    loop.turn(0)
    assert len(seen) == 1
    for fd in (seen[0], *fresh):
        os.close(fd)
    loop.close()


def test_what_a_terminals_last_user_wrote_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may say that nobody is there any more before it gives what they wrote."""
    master, slave = os.openpty()
    os.set_blocking(master, False)
    with pytest.raises(BlockingIOError):
        terminal.read_master(master, 100)
    os.write(slave, b"last line\n")
    os.close(slave)
    once = [OSError(errno.EIO, "too early")]
    real = os.read

    def read(fd: int, size: int) -> bytes:
        if once:
            raise once.pop()
        return real(fd, size)

    monkeypatch.setattr(os, "read", read)
    assert terminal.read_master(master, 100) == b"last line\r\n"
    assert terminal.read_master(master, 100) == b""
    os.close(master)
