"""start: opens the door at which a created init waits."""

import socket

from knarr.model.errors import Conflict, KnarrError
from knarr.runtime.oci.container import CREATED, RUNNING, STOPPED, Container
from knarr.runtime.oci.launch import hear_end
from knarr.runtime.oci.session import Session


def run(session: Session) -> int:
    """Returns when the program runs and the poststart hooks have."""
    container = Container.load(session.root, session.call.id, lock=True)
    status = container.status()
    if status == STOPPED:
        raise Conflict("cannot start a container that has stopped")
    if status == RUNNING:
        raise Conflict("cannot start an already running container")
    if status != CREATED:
        raise Conflict(f"cannot start a container in the {status} state")
    line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    line.connect(container.record.door())
    container.record.shut()
    container.record.unlock()
    line.send(b"x")
    hear_end(line)
    try:
        container.run_hooks("poststart", RUNNING)
    except KnarrError:
        container.end(session.log)
        raise
    return 0
