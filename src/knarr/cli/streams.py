"""The terminal and a taken-over connection: raw mode, window size, bytes both ways, detach keys."""

import contextlib
import os
import select
import signal
import socket
import sys
import termios
import tty
from collections.abc import Callable, Iterator

from knarr.api.client.http import Hijacked
from knarr.wire import detachkeys, mux


class Detached(Exception):
    """The person typed the detach keys."""


@contextlib.contextmanager
def raw(active: bool) -> Iterator[None]:
    """The terminal in raw mode while `active`, as it was afterwards."""
    if not active:
        yield
        return
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    tty.setraw(fd)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def window() -> tuple[int, int] | None:
    """The terminal's columns and rows; None without one."""
    for fd in (1, 0, 2):
        try:
            size = os.get_terminal_size(fd)
        except OSError:
            continue
        return size.columns, size.lines
    return None


@contextlib.contextmanager
def following_size(resize: Callable[[int, int], None]) -> Iterator[None]:
    """Tells `resize` the window's size now and whenever it changes."""

    def tell(*_: object) -> None:
        size = window()
        if size:
            with contextlib.suppress(Exception):
                resize(*size)

    before = signal.signal(signal.SIGWINCH, tell)
    tell()
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


def pump(connection: Hijacked, *, stdin: bool, keys: bytes | None = None) -> None:
    """Moves bytes until the daemon closes. `keys` are looked for in the input (terminals). Raises Detached."""
    sock = connection.sock
    decoder = mux.Decoder() if connection.framed else None
    matcher = detachkeys.Matcher(keys) if keys else None
    _write_out(decoder, connection.tail)
    reading = [sock.fileno()] + ([0] if stdin else [])
    while True:
        ready, _, _ = select.select(reading, [], [])
        if sock.fileno() in ready:
            try:
                data = sock.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                return
            _write_out(decoder, data)
        if 0 in ready:
            data = os.read(0, 65536)
            detach = False
            if matcher and data:
                data, detach = matcher.feed(data)
            if data:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    sock.sendall(data)
            if detach:
                raise Detached
            if not data and not matcher:
                reading.remove(0)
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_WR)


def _write_out(decoder: mux.Decoder | None, data: bytes) -> None:
    if not data:
        return
    if decoder is None:
        _write(1, data)
        return
    for frame in decoder.feed(data):
        _write(2 if frame.stream == mux.STDERR else 1, frame.data)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            select.select([], [fd], [])


@contextlib.contextmanager
def forwarding_signals(send: Callable[[str], None]) -> Iterator[None]:
    """Passes the signals that a person or a supervisor sends us on to the container, as docker's --sig-proxy does."""
    forwarded = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2]

    def forward(number: int, _: object) -> None:
        with contextlib.suppress(Exception):
            send(str(number))

    before = {number: signal.signal(number, forward) for number in forwarded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
