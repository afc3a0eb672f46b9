"""kill: a signal to the init."""

import signal

from knarr.model.errors import Invalid
from knarr.runtime.oci.container import Container
from knarr.runtime.oci.errors import NotRunning
from knarr.runtime.oci.session import Session


def run(session: Session) -> int:
    """Sends it; with --all a container that does not run is no error."""
    call = session.call
    container = Container.load(session.root, call.id)
    number = parse_signal(call.arguments[1] if len(call.arguments) > 1 else "SIGTERM")
    try:
        container.signal(number)
    except NotRunning:
        if not call.on("all"):
            raise
    return 0


def parse_signal(word: str) -> int:
    """A number or a name, with SIG or without. Raises Invalid."""
    try:
        return int(word)
    except ValueError:
        pass
    name = word.upper() if word.upper().startswith("SIG") else f"SIG{word.upper()}"
    found = getattr(signal, name, None)
    if not isinstance(found, signal.Signals):
        raise Invalid(f'unknown signal "{word}"')
    return int(found)
