"""What a shim does for a walk, and around a container's life, because its configuration asks: hooks, and the seccomp agent.

Docker's API has no hooks: containers of the engine cost nothing here.
"""

from collections.abc import Mapping
from typing import Any

from knarr.model.errors import KnarrError
from knarr.runtime.hooks import base_state, run_hooks, state_of
from knarr.runtime.listener import hand_over


class Chores:
    """Of one container; `agent` is OCI's linux.seccomp as far as execs need it."""

    __slots__ = ("_base", "_hooks", "agent")

    def __init__(self, order: Mapping[str, Any]):
        wish = order.get("chores") or {}
        self._hooks: Mapping[str, Any] = wish.get("hooks") or {}
        self.agent: Mapping[str, Any] = wish.get("agent") or {}
        self._base = base_state(order, wish.get("annotations") or {})

    def do(self, message: Mapping[str, Any], status: str, pid: int, pidfd: int) -> None:
        """What a walk asks for. Raises KnarrError."""
        state = state_of(self._base, status, pid)
        if "listener" in message:
            hand_over(pidfd, message["listener"], pid, self.agent, state)
        for name in message.get("hooks") or ():
            run_hooks(name, self._hooks[name], state)

    def started(self, pid: int) -> None:
        """poststart. Raises KnarrError."""
        if self._hooks.get("poststart"):
            run_hooks("poststart", self._hooks["poststart"], state_of(self._base, "running", pid))

    def stopped(self) -> None:
        """poststop: one that fails keeps nothing alive, and the others run (runtime.md, "Lifecycle")."""
        for hook in self._hooks.get("poststop") or ():
            try:
                run_hooks("poststop", [hook], state_of(self._base, "stopped", 0))
            except KnarrError:
                continue
