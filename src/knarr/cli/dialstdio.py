"""`knarr system dial-stdio`: the daemon's socket on this process' standard streams; what ssh:// runs on the other side."""

import contextlib
import os
import select
import socket

from knarr.api.client.http import Http
from knarr.cli.flags import Options, Verb

DIAL_STDIO = Verb(
    "system dial-stdio",
    "Proxy the stdio stream to the daemon connection. Should not be invoked manually.",
    "",
    most=0,
)


def dial(http: Http, _: Options) -> int:
    """Until the daemon closes; the end of our input closes its half."""
    with http.dial() as sock:
        reading = [sock.fileno(), 0]
        while sock.fileno() in reading:
            ready = select.select(reading, [], [])[0]
            if 0 in ready:
                data = os.read(0, 65536)
                if data:
                    sock.sendall(data)
                else:
                    reading.remove(0)
                    with contextlib.suppress(OSError):
                        sock.shutdown(socket.SHUT_WR)
            if sock.fileno() in ready:
                data = sock.recv(65536)
                if not data:
                    return 0
                view = memoryview(data)
                while view:
                    view = view[os.write(1, view) :]
    return 0
