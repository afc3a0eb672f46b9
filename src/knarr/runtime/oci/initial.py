"""The life of a container's init, from its birth to its program, by a recipe that may come before the birth or after it."""

import os
import socket
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

from knarr.kernel.cgroups.open import open_paths
from knarr.kernel.sockets import socketpair
from knarr.runtime.oci.launch import Child
from knarr.runtime.plan import Step, plan_init
from knarr.runtime.plan_namespaces import namespaces
from knarr.runtime.prelude import remaining, walk_prelude
from knarr.runtime.state import Walk
from knarr.runtime.walk import walk_to_execve


class Recipe(NamedTuple):
    """All that an init needs to know; descriptors are those of its own process."""

    config: dict[str, Any]
    root: str
    group: dict[str, str]
    filter: bytes
    preserved: int
    stdio: tuple[int, int, int]
    state: dict[str, Any]
    no_pivot: bool = False
    no_keyring: bool = False


class Birth:
    """One init: `prelude` and `life` are for `runtime.birth.bear`, in whatever processes it runs them.

    With `early`, the line of a process that is there already, it plans and then waits for a byte: its cgroup is being made.
    """

    def __init__(
        self, recipe: Recipe, doorway: socket.socket | None = None, early: socket.socket | None = None
    ):
        self._mine: socket.socket | None = None
        self._recipe, self._early = recipe, early
        line = early
        if line is None:
            self._mine, line = socketpair()
        self.walk = walk = Walk(line, recipe.stdio)
        walk.preserved, walk.doorway = recipe.preserved, doorway
        walk.load(recipe.config["process"])
        walk.cgroup = open_paths(recipe.group)
        walk.filter, walk.run_dir = recipe.filter, recipe.root
        walk.state = recipe.state
        walk.space = namespaces(recipe.config.get("linux") or {})

    def _prepare(self, walk: Walk) -> Sequence[Step]:
        recipe = self._recipe
        steps = plan_init(
            recipe.config,
            [["bind", recipe.root, ["rbind"]]],
            seccomp=bool(recipe.filter),
            die_with_shim=False,
            no_pivot=recipe.no_pivot,
            no_keyring=recipe.no_keyring,
        )
        if self._early is not None and not self._early.recv(1):
            os._exit(0)
        return steps

    def prelude(self) -> None:
        """What is acted ahead, with the host's privileges."""
        walk_prelude(self.walk, self._prepare, "")

    def life(self) -> NoReturn:
        """Walks to execve."""
        walk_to_execve(self.walk, remaining(self.walk, self._prepare), "")

    def child(self, bear: Callable[[], tuple[int, int]]) -> Child:
        """Bears it; the parent's end."""
        assert self._mine is not None
        try:
            pid, pidfd = bear()
        except BaseException:
            self._mine.close()
            raise
        finally:
            self.walk.control.close()
        return Child(self._mine, pid, pidfd)
