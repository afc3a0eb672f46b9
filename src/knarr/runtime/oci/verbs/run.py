"""run: create and start in one, and unless it detaches the container's whole life."""

from knarr.runtime.oci import foreground
from knarr.runtime.oci.errors import saying
from knarr.runtime.oci.making import Making, adopt_orphans, run_behind, run_in_front
from knarr.runtime.oci.session import Session


def run(session: Session) -> int:
    """The exit code is the container's."""
    call = session.call
    detach = call.on("detach")
    try:
        making = Making(session, detach=detach, waits=False)
        if not call.on("no-subreaper"):
            adopt_orphans()
        if not detach and session.orders < 0:
            foreground.hold()
        container, child = making.make()
        if detach:
            run_behind(making, container, child)
            return 0
        return run_in_front(making, container, child, keep=call.on("keep"))
    except Exception as error:
        raise saying(f"{call.program} run failed: ", error) from error
