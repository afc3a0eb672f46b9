"""resume: lets a suspended container go on."""

from knarr.model.errors import Conflict
from knarr.runtime.oci.container import PAUSED, Container
from knarr.runtime.oci.session import Session


def run(session: Session) -> int:
    """Thaws its cgroup."""
    container = Container.load(session.root, session.call.id, lock=True)
    if container.status() != PAUSED:
        raise Conflict("container not paused")
    container.thaw()
    return 0
