"""create: a container whose init waits to be started."""

from knarr.runtime.oci.errors import saying
from knarr.runtime.oci.making import Making, adopt_orphans
from knarr.runtime.oci.session import Session


def run(session: Session) -> int:
    """Returns when the init stands at its door; nobody else stays."""
    try:
        making = Making(session, detach=True, waits=True)
        adopt_orphans()
        making.make()
    except Exception as error:
        raise saying(f"{session.call.program} create failed: ", error) from error
    return 0
