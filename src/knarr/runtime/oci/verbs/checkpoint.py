"""checkpoint: not supported."""

from knarr.model.errors import Unsupported
from knarr.runtime.oci.session import Session


def run(session: Session) -> int:
    """Always an error that says so."""
    raise Unsupported(
        f"{session.call.program} checkpoint: containers cannot be checkpointed or restored by this runtime"
    )
