"""Containers as the API and embedders use them: each method is one use case.

`name` is an id, a unique id prefix or a name. Unknown: NoSuchContainer. Docker's words are in `engine.errors`.
"""

import socket
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence

from knarr.engine.values import (
    AttachOptions,
    Change,
    Created,
    LogLine,
    LogOptions,
    PathStat,
    Processes,
    Pruned,
    Waited,
)
from knarr.model.container import ContainerSpec, ContainerView, Resources, RestartPolicy
from knarr.model.system import Step


class Containers:
    """All containers of one engine."""

    async def create(self, spec: ContainerSpec, *, name: str | None) -> Created:
        """Raises NoSuchImage, NameTaken, Invalid."""
        raise NotImplementedError

    async def start(self, name: str, *, detach_keys: str = "", explain: bool = False) -> tuple[Step, ...]:
        """Returns the walked steps when `explain`. Raises AlreadyStarted, NoSuchCommand, CannotExecute, PortTaken."""
        raise NotImplementedError

    async def stop(self, name: str, *, signal: str = "", timeout: int | None = None) -> None:
        """Returns when it has ended; after `timeout` seconds (-1: never) it is killed. Raises NotStarted."""
        raise NotImplementedError

    async def kill(self, name: str, signal: str = "SIGKILL") -> None:
        """Raises NotRunning, Invalid for an unknown signal."""
        raise NotImplementedError

    async def restart(self, name: str, *, signal: str = "", timeout: int | None = None) -> None:
        """Stops it if it runs, and starts it."""
        raise NotImplementedError

    async def pause(self, name: str) -> None:
        """Raises NotRunning, Conflict."""
        raise NotImplementedError

    async def unpause(self, name: str) -> None:
        """Raises Conflict if it is not paused."""
        raise NotImplementedError

    async def rename(self, name: str, new: str) -> None:
        """Raises NameTaken, Invalid."""
        raise NotImplementedError

    async def remove(
        self, name: str, *, force: bool = False, volumes: bool = False, link: bool = False
    ) -> None:
        """`volumes` takes its anonymous volumes too. Raises CannotRemove, RemovalInProgress."""
        raise NotImplementedError

    async def inspect(self, name: str, *, size: bool = False) -> ContainerView:
        """What it was asked to be and what it is."""
        raise NotImplementedError

    async def list(
        self,
        *,
        all: bool = False,  # noqa: A002 - Docker's word
        limit: int = 0,
        size: bool = False,
        filters: Mapping[str, Sequence[str]] | None = None,
    ) -> list[ContainerView]:
        """Newest first; only running ones unless `all`, `limit` or a filter of status says otherwise."""
        raise NotImplementedError

    async def wait(self, name: str, condition: str = "not-running") -> Waited:
        """Until the condition ("not-running", "next-exit", "removed") holds."""
        raise NotImplementedError

    async def begin_wait(self, name: str, condition: str = "not-running") -> Awaitable[Waited]:
        """Registered when it returns: nothing that happens afterwards is missed."""
        raise NotImplementedError

    async def logs(self, name: str, options: LogOptions) -> AsyncIterator[LogLine]:
        """Awaited, it gives the lines; the caller closes the iterator. Raises Unsupported for driver "none"."""
        raise NotImplementedError

    async def attach(self, name: str, sock: socket.socket, options: AttachOptions, tail: bytes = b"") -> None:
        """Takes the client's socket over (its answer head has been sent) and returns; the caller closes its own object.

        A container that was created only is attached to when it starts: nothing of its output is missed.
        """
        raise NotImplementedError

    async def check_attach(self, name: str) -> ContainerView:
        """What attach would refuse, before the answer's head is sent. Raises IsPaused, IsRestarting."""
        raise NotImplementedError

    async def resize(self, name: str, width: int, height: int) -> None:
        """Raises NotRunning."""
        raise NotImplementedError

    async def top(self, name: str, ps_args: str = "-ef") -> Processes:
        """Raises NotRunning, IsRestarting."""
        raise NotImplementedError

    async def archive_stat(self, name: str, path: str) -> PathStat:
        """Raises NoSuchPathInContainer."""
        raise NotImplementedError

    async def archive_get(self, name: str, path: str) -> tuple[PathStat, AsyncIterator[bytes]]:
        """A tar of `path`, named by its last component. The caller closes the iterator."""
        raise NotImplementedError

    async def archive_put(
        self,
        name: str,
        path: str,
        body: AsyncIterator[bytes],
        *,
        no_overwrite_dir_non_dir: bool = False,
        copy_uid_gid: bool = False,
    ) -> None:
        """Unpacks a tar (plain, gzip, bzip2, xz or zstd) into directory `path`."""
        raise NotImplementedError

    async def export(self, name: str) -> AsyncIterator[bytes]:
        """A tar of its whole root."""
        raise NotImplementedError

    async def changes(self, name: str) -> Sequence[Change]:
        """What differs from the image."""
        raise NotImplementedError

    async def update(
        self, name: str, resources: Resources, restart: RestartPolicy | None = None
    ) -> tuple[str, ...]:
        """Fields at their defaults stay as they are; returns warnings."""
        raise NotImplementedError

    async def prune(self, filters: Mapping[str, Sequence[str]] | None = None) -> Pruned:
        """Removes every stopped container that the filters (label, label!, until) allow."""
        raise NotImplementedError
