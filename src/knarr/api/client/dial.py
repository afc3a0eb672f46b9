"""Ways to a daemon for an event loop: each call gives a connected, non-blocking stream socket, whatever lies below it.

TLS and ssh are relayed through a socket pair, so that everything above may half-close and hand descriptors on.
"""

import asyncio
import os
import socket
import subprocess
import threading
from collections.abc import Awaitable, Callable

from knarr.loop.blocking import blocking
from knarr.model.errors import Invalid, Unavailable

Dial = Callable[[], Awaitable[socket.socket]]
DEFAULT_HOST = "unix:///run/knarr/knarr.sock"


def default_host() -> str:
    """KNARR_HOST, DOCKER_HOST, or knarrd's own socket."""
    return os.environ.get("KNARR_HOST") or os.environ.get("DOCKER_HOST") or DEFAULT_HOST


def dialer(host: str, tls: str = "") -> Dial:
    """For `unix:///path`, `tcp://name:port` (over TLS with `tls`, the directory of ca.pem, cert.pem and key.pem) or
    `ssh://[user@]name[:port]`. Raises Invalid."""
    scheme, _, rest = host.partition("://")
    address = rest.partition("/")[0]
    if scheme == "unix" and rest:
        return lambda: _unix(rest)
    if scheme == "tcp" and address:
        name, _, port = address.rpartition(":")
        if port.isdigit():
            return lambda: _tcp(host, name.strip("[]") or "127.0.0.1", int(port), tls)
    if scheme == "ssh":
        from knarr.api.client import ssh

        try:
            argv = ssh.arguments(host)
        except ValueError as error:
            raise Invalid(f"unable to parse docker host `{host}`: {error}") from None
        return lambda: _ssh(host, argv)
    raise Invalid(f"unable to parse docker host `{host}`")


async def _unix(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(sock, path)
    except OSError as error:
        sock.close()
        raise _nobody(f"unix://{path}", error) from None
    except BaseException:
        sock.close()
        raise
    return sock


async def _tcp(host: str, name: str, port: int, tls: str) -> socket.socket:
    try:
        return await blocking(_connect, name, port, tls)
    except OSError as error:
        raise _nobody(host, error) from None


def _connect(name: str, port: int, tls: str) -> socket.socket:
    sock = socket.create_connection((name, port), timeout=60)
    sock.settimeout(None)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls:
        from knarr.api.client import tls as room

        sock = room.wrap(sock, name, room.of_directory(tls))
    sock.setblocking(False)
    return sock


async def _ssh(host: str, argv: list[str]) -> socket.socket:
    try:
        return await blocking(_spawn, argv)
    except OSError as error:
        raise _nobody(host, error) from None


def _spawn(argv: list[str]) -> socket.socket:
    mine, theirs = socket.socketpair()
    with theirs:
        try:
            process = subprocess.Popen(argv, stdin=theirs.fileno(), stdout=theirs.fileno())
        except BaseException:
            mine.close()
            raise
    # It ends with its connection; somebody has to take its exit status.
    threading.Thread(target=process.wait, name="ssh", daemon=True).start()
    mine.setblocking(False)
    return mine


def _nobody(host: str, error: OSError) -> Unavailable:
    return Unavailable(f"Cannot connect to the knarr daemon at {host}. Is the daemon running? ({error})")
