"""pause: suspends every process of a container."""

from knarr.model.errors import NotFound
from knarr.runtime.oci.container import CREATED, RUNNING, Container
from knarr.runtime.oci.errors import NotRunning
from knarr.runtime.oci.session import Session


def run(session: Session) -> int:
    """Freezes its cgroup."""
    container = Container.load(session.root, session.call.id, lock=True)
    if container.status() not in (CREATED, RUNNING):
        raise NotRunning
    group = container.cgroup()
    if group is None:
        raise NotFound("cannot pause: the container has no cgroup")
    group.freeze()
    return 0
