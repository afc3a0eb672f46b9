"""Acts of hooks, and of what a parent has to do for a walk meanwhile. Named in `plan.py`."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from knarr.model.errors import Unavailable
from knarr.runtime.hooks import run_hooks, state_of
from knarr.runtime.state import Walk

_USUAL_UMASK = 0o022


def warn(walk: Walk, text: str) -> None:
    """What the plan found worth telling."""
    walk.warnings.append(text)


def parent_hooks(walk: Walk, names: Sequence[str]) -> None:
    """The parent runs them in the runtime's namespaces, answers one byte, or closes if one fails."""
    walk.tell({"hooks": list(names)})
    if not walk.control.recv(1):
        raise Unavailable("a hook failed")


def create_hooks(walk: Walk, hooks: Sequence[Mapping[str, Any]]) -> None:
    """createContainer: in the container's namespaces, their paths still the runtime's, the root as working directory."""
    os.fchdir(walk.root.fileno())
    umask = os.umask(_USUAL_UMASK)
    run_hooks("createContainer", hooks, state_of(walk.state, "creating", _pid_on_host()))
    os.umask(umask)


def _pid_on_host() -> int:
    """/proc is still the host's, and numbers processes as the host does."""
    return int(os.readlink("/proc/self"))


def start_hooks(walk: Walk, hooks: Sequence[Mapping[str, Any]]) -> None:
    """startContainer hooks wait for the gate."""
    pid = _pid_on_host()

    def run() -> None:
        run_hooks("startContainer", hooks, state_of(walk.state, "created", pid), walk.environment)

    walk.after_gate = run
