"""zygote: a warm process that carries commands out for callers with --zygote."""

import os

from knarr.model.errors import Conflict
from knarr.runtime.oci.errors import Usage
from knarr.runtime.oci.session import Session


def run(session: Session) -> int:
    """Serves until it is told to end. A socket that nobody listens on any more is replaced."""
    path = session.call.text("listen")
    if not path:
        raise Usage(f'{session.call.program}: "zygote" requires --listen')
    _clear(path)
    from knarr.runtime.oci import warm

    warm.serve(os.path.abspath(path))
    return 0


def _clear(path: str) -> None:
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
        try:
            line.connect(path)
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise Conflict(f"a zygote listens on {path} already")
