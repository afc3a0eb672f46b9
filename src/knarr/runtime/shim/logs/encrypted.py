"""TLS to a receiver of logs; only a shim that needs it loads it."""

import socket
import ssl
from collections.abc import Mapping
from typing import Any

from knarr.runtime.shim.loop import READ, WRITE


def encrypted(sock: socket.socket, host: str, wish: Mapping[str, Any]) -> ssl.SSLSocket:
    """The socket with TLS around it; hands are yet to be shaken. `wish`: ca, cert, key (paths or ""), verify."""
    context = ssl.create_default_context(cafile=wish.get("ca") or None)
    if wish.get("cert"):
        context.load_cert_chain(wish["cert"], wish.get("key") or None)
    if not wish.get("verify", True):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)


def shake(sock: ssl.SSLSocket) -> int:
    """What to wait for before the next try, 0 when hands are shaken. Raises OSError."""
    try:
        sock.do_handshake()
    except ssl.SSLWantReadError:
        return READ
    except ssl.SSLWantWriteError:
        return WRITE
    return 0
