"""Processes beside a container's own: create, start, look, resize."""

import socket

from knarr.model.container import ExecSpec, ExecView


class Execs:
    """All execs of one engine; they live as long as their container runs."""

    async def create(self, container: str, spec: ExecSpec) -> str:
        """The new exec's id. Raises NotRunning, IsPaused, IsRestarting, Invalid."""
        raise NotImplementedError

    async def start(
        self,
        exec_id: str,
        *,
        sock: socket.socket | None = None,
        tail: bytes = b"",
        detach: bool = False,
        tty: bool | None = None,
        console_size: tuple[int, int] = (0, 0),
    ) -> None:
        """Takes the client's socket over (its answer head has been sent) and returns; the caller closes its own object.

        `console_size` is (height, width). Raises NoSuchExec, Conflict if it was started, NoSuchCommand, CannotExecute.
        """
        raise NotImplementedError

    async def inspect(self, exec_id: str) -> ExecView:
        """Raises NoSuchExec."""
        raise NotImplementedError

    async def resize(self, exec_id: str, width: int, height: int) -> None:
        """Raises NoSuchExec."""
        raise NotImplementedError
