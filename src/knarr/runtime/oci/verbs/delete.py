"""delete: takes away what is left of a container."""

from knarr.model.errors import Conflict
from knarr.runtime.oci.container import CREATED, STOPPED, Container
from knarr.runtime.oci.errors import NoSuchContainer
from knarr.runtime.oci.records import Record
from knarr.runtime.oci.session import Session


def run(session: Session) -> int:
    """A stopped one, or one that was never started; with --force any, and a missing one is no error."""
    name, force = session.call.id, session.call.on("force")
    try:
        container = Container.load(session.root, name, lock=True)
    except NoSuchContainer:
        _clear(session.root, name)
        if force:
            return 0
        raise
    status = container.status()
    if force or status == CREATED:
        container.end(session.log)
    elif status == STOPPED:
        container.destroy(session.log)
    else:
        raise Conflict(f"cannot delete container {name} that is not stopped: {status}")
    return 0


def _clear(root: str, name: str) -> None:
    """A directory without a state is of a create that died, unless somebody is at it now."""
    try:
        record = Record.open(root, name)
    except NoSuchContainer:
        return
    if record.idle():
        record.remove()
