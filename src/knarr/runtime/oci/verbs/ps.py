"""ps: the processes of a container, as the host's ps shows them or as a list of numbers."""

import json
import os

from knarr.model.errors import Invalid, KnarrError
from knarr.runtime.oci.container import Container
from knarr.runtime.oci.log import say
from knarr.runtime.oci.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def run(session: Session) -> int:
    """Prints them."""
    call = session.call
    container = Container.load(session.root, call.id)
    pids = container.pids()
    form = call.text("format") or "table"
    if form == "json":
        say(json.dumps(pids or None, separators=(",", ":")) + "\n")
        return 0
    if form != "table":
        raise Invalid("invalid format option")
    say(only(_ps(call.arguments[1:] or ["-ef"], session.environment), set(pids)))
    return 0


def only(output: str, pids: "set[int]") -> str:
    """The header, and the lines whose PID column names one of `pids`. Pure. Raises KnarrError."""
    header, *lines = output.splitlines()
    try:
        column = header.split().index("PID")
    except ValueError:
        raise KnarrError("couldn't find PID field in ps output") from None
    kept = [line for line in lines if line and int(line.split()[column]) in pids]
    return "\n".join([header, *kept]) + "\n"


def _ps(arguments: "list[str]", environment: "Mapping[str, str]") -> str:
    """Runs ps(1) with its output in a file of memory."""
    output = os.memfd_create("ps", os.MFD_CLOEXEC)
    actions = [(os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)]
    pid = os.posix_spawnp("ps", ["ps", *arguments], environment, file_actions=actions)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    text = os.pread(output, os.fstat(output).st_size, 0).decode(errors="replace")
    os.close(output)
    if code:
        raise KnarrError(f"exit status {code}: {text}")
    return text
