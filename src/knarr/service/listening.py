"""Where the API is served: unix://, tcp:// with or without TLS, fd:// of a service manager."""

import grp
import ipaddress
import logging
import os
import ssl
from collections.abc import Mapping
from typing import Any

from knarr.loop.http.server import Server
from knarr.model.errors import Invalid
from knarr.service.supervisor import Activation

log = logging.getLogger("knarrd")
DEFAULT_HOST = "unix:///run/knarr/knarr.sock"
_PORT, _TLS_PORT = 2375, 2376


def tls_context(values: Mapping[str, Any]) -> ssl.SSLContext | None:
    """The server's end of TLS, if it is asked for; with --tlsverify clients show a certificate. Raises Invalid."""
    verify = values.get("tlsverify", bool(os.environ.get("DOCKER_TLS_VERIFY")))
    if not (values.get("tls", False) or verify or "tlsverify" in values):
        return None
    if "tlsverify" not in values:
        verify = True
    home = (
        os.environ.get("DOCKER_CERT_PATH")
        or os.environ.get("DOCKER_CONFIG")
        or os.path.expanduser("~/.docker")
    )
    paths = {
        word: values.get(f"tls{word}") or os.path.join(home, f"{name}.pem")
        for word, name in (("cacert", "ca"), ("cert", "cert"), ("key", "key"))
    }
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(paths["cert"], paths["key"])
        if verify:
            context.load_verify_locations(paths["cacert"])
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise Invalid(
            f"invalid TLS configuration: cannot use {paths['cert']}, {paths['key']}"
            f"{', ' + paths['cacert'] if verify else ''}: {error}"
        ) from None
    return context


async def listen(server: Server, values: Mapping[str, Any], activation: Activation) -> list[str]:
    """Listens on every address that is asked for, and says where. Raises Invalid."""
    context = tls_context(values)
    hosts = values.get("hosts") or [DEFAULT_HOST]
    for host in hosts:
        scheme, _, rest = host.partition("://")
        if not _ and ":" not in scheme:
            scheme, rest = "unix" if host.startswith("/") else scheme, host
        if scheme == "unix":
            await server.listen_unix(rest or "/run/knarr/knarr.sock", gid=group(values.get("group")))
        elif scheme == "tcp":
            await _listen_tcp(server, rest, context)
        elif scheme == "fd":
            for sock in activation.take(rest):
                await server.listen(sock)
        else:
            raise Invalid(f"invalid bind address ({host}): unsupported proto: {scheme}")
    return list(hosts)


async def _listen_tcp(server: Server, rest: str, context: ssl.SSLContext | None) -> None:
    host, port = address(rest, _PORT if context is None else _TLS_PORT)
    if context is None or context.verify_mode != ssl.CERT_REQUIRED:
        log.warning(
            "[DEPRECATION NOTICE]: API is accessible on http%s://%s:%d without %s. Access to the remote API is equivalent to root "
            "access on the host.%s",
            "" if context is None else "s",
            host,
            port,
            "encryption" if context is None else "TLS client verification",
            "" if _is_loopback(host) else " Everyone who can reach this address can have it.",
        )
    await server.listen_tcp(host, port, context)


def address(text: str, default: int = 0) -> tuple[str, int]:
    """Host and port of HOST:PORT; the host may be empty, and so may the port where there is a default. Raises Invalid."""
    host, colon, port = text.rstrip("/").rpartition(":")
    if default and (not colon or text.endswith("]")):
        host, port = text, str(default)
    elif not colon or not port.isdigit() or int(port) > 65535:
        raise Invalid(f"invalid bind address format: {text}")
    return host.strip("[]") or "127.0.0.1", int(port)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def group(name: str | None) -> int:
    """The group's id; without a name docker's group, or root's where there is none. Raises Invalid."""
    try:
        return grp.getgrnam(name or "docker").gr_gid
    except KeyError:
        if name and name.isdigit():
            return int(name)
        if name:
            raise Invalid(f"group {name} not found") from None
        return 0
