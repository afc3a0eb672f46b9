"""The asyncio end of a shim: one connection to the process that holds a container.

Requests may overlap. When the connection breaks, every waiting request and `exited` raise Unavailable; the shim and its
container may well live: `Shim.connect` finds out. Sockets given to `attach` and `exec` belong to the shim afterwards: the
descriptor is duplicated into it and the caller closes its own.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self

from knarr.model.system import Step


class Exit(NamedTuple):
    """How a container or an exec ended: Docker's exit code, whether for lack of memory, when (nanoseconds)."""

    code: int
    oom: bool
    at: int


class ExecHandle:
    """A process beside the init. `exited` may be awaited by many."""

    id: str
    pid: int

    @property
    def exited(self) -> "asyncio.Future[Exit]":
        """Done when it ended; Unavailable when the connection broke."""
        raise NotImplementedError

    async def resize(self, width: int, height: int) -> None:
        """Changes its terminal's size; nothing happens after its end."""
        raise NotImplementedError

    async def signal(self, number: int) -> None:
        """Raises NotFound after its end."""
        raise NotImplementedError


class Shim:
    """A container's shim. `container` is its id, `pid` the init's, `steps` what the init walked (for --explain)."""

    container: str
    pid: int
    started: bool
    paused: bool
    steps: tuple[Step, ...]
    warnings: tuple[str, ...]
    execs: Mapping[str, ExecHandle]
    on_detach: Callable[[str | None], None] | None
    """Called with an exec's id, or None for an attach, when a client typed the detach keys."""
    on_oom: Callable[[], None] | None

    @classmethod
    async def connect(cls, run_dir: str) -> Self:
        """Takes up a living shim again, execs included. Raises Unavailable if none listens there.

        A shim that is gone may have left `exit.json`: see `read_exit`.
        """
        raise NotImplementedError

    @property
    def exited(self) -> "asyncio.Future[Exit]":
        """Done when the container ended (exit.json is on disk); Unavailable when the connection broke."""
        raise NotImplementedError

    async def attach(
        self,
        sock_fd: int,
        *,
        stdin: bool,
        stdout: bool,
        stderr: bool,
        framed: bool,
        detach_keys: str = "",
        tail: bytes = b"",
    ) -> None:
        """Hands a client's stream socket over; its answer head must have been sent. Before `start` nothing is missed."""
        raise NotImplementedError

    async def start(self) -> None:
        """Opens the exec gate. Raises NoSuchCommand, CannotExecute with Docker's text; then the container has exited."""
        raise NotImplementedError

    async def signal(self, number: int) -> None:
        """To the init. Raises NotFound after its end."""
        raise NotImplementedError

    async def signal_all(self, number: int) -> None:
        """To every process of the container."""
        raise NotImplementedError

    async def resize(self, width: int, height: int) -> None:
        """Changes the terminal's size. Raises Invalid without a terminal."""
        raise NotImplementedError

    async def exec(
        self,
        exec_id: str,
        process: Mapping[str, Any],
        *,
        sock_fd: int | None = None,
        stdin: bool = False,
        stdout: bool = False,
        stderr: bool = False,
        framed: bool = True,
        detach_keys: str = "",
        tail: bytes = b"",
    ) -> ExecHandle:
        """Runs an OCI process (terminal: `process["terminal"]`) in the container; `sock_fd` is its client's socket.

        Raises NoSuchCommand, CannotExecute with Docker's text ("OCI runtime exec failed: …"), Invalid.
        """
        raise NotImplementedError

    async def pause(self) -> None:
        """Freezes every process."""
        raise NotImplementedError

    async def resume(self) -> None:
        """Thaws."""
        raise NotImplementedError

    async def update(self, resources: Mapping[str, Any]) -> None:
        """Applies OCI linux.resources to the running container."""
        raise NotImplementedError

    async def pids(self) -> Sequence[int]:
        """The host's pids of all its processes."""
        raise NotImplementedError

    async def stats(self) -> dict[str, Any]:
        """The cgroup's numbers."""
        raise NotImplementedError

    async def release(self) -> None:
        """The exit is on record: the shim ends, and this connection with it. Also closes; never raises for a dead shim."""
        raise NotImplementedError

    async def close(self) -> None:
        """Closes the connection; the shim stays."""
        raise NotImplementedError


def read_exit(run_dir: str) -> Exit | None:
    """What a shim that is gone left in `exit.json`; None if it left nothing."""
    raise NotImplementedError
