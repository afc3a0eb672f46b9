"""The asyncio end of the fork server: requests in, shims, namespaces and archives out.

Every method is one packet to the zygote and one answer from the child that it forked. A dead zygote is started again by
the next request. Errors are the child's own (`model.errors`, `snapshots.errors`, OSError); a child that died without an
answer is Unavailable.
"""

import socket
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

from knarr.engine.shims import Shim
from knarr.model.mount import Mount
from knarr.snapshots.maketar import Archived, TarOptions
from knarr.snapshots.untar import Unpacked, UntarOptions


class Netns(NamedTuple):
    """A named network namespace. The holder closes `fd` and `route` (a NETLINK_ROUTE socket inside it)."""

    path: str
    inode: int
    fd: int
    route: socket.socket


class RootView(NamedTuple):
    """A container's root as a job shall see it: of process `pid`, or the mounts of a stopped one, `binds` over them."""

    pid: int = 0
    mounts: tuple[Mount, ...] = ()
    binds: tuple[tuple[str, str], ...] = ()


class FileStat(NamedTuple):
    """What docker cp asks: `mode` is st_mode, `mtime` nanoseconds, `link_target` "" unless it is a symbolic link."""

    name: str
    size: int
    mode: int
    mtime: int
    link_target: str


class Unpacking:
    """A running unpack: write the plain tar to `feed` (blocking pipe end), close it, then await `result()`."""

    feed: int

    def close_feed(self) -> None:
        """Ends the stream; may be called again."""
        raise NotImplementedError

    async def result(self) -> Unpacked:
        """Waits for the end. Raises BadArchive, OSError."""
        raise NotImplementedError


class Archiving:
    """A running archive_get: read the tar from `drain` (pipe end) until its end, then await `result()`."""

    drain: int

    async def result(self) -> Archived:
        """Waits for the end. Raises NoSuchPath, NotADirectory, OSError."""
        raise NotImplementedError

    def close(self) -> None:
        """Lets go, read to the end or not; may be called again."""
        raise NotImplementedError


class Zygote:
    """One fork server; `exec_root` is the daemon's own."""

    @classmethod
    async def start(cls, exec_root: str) -> Self:
        """Starts the process and waits until it is ready."""
        raise NotImplementedError

    async def close(self) -> None:
        """Ends the process; shims live on."""
        raise NotImplementedError

    async def netns(self, path: str) -> Netns:
        """Makes a network namespace, lo up, bind-mounted on `path` (its directory is made)."""
        raise NotImplementedError

    async def remove_netns(self, path: str) -> None:
        """Unmounts and removes `path`; a missing one is not an error."""
        raise NotImplementedError

    async def unpack(self, root: str, options: UntarOptions) -> Unpacking:
        """Begins to unpack a tar stream into directory `root`."""
        raise NotImplementedError

    async def archive_stat(self, view: RootView, path: str) -> FileStat:
        """Raises NoSuchPath."""
        raise NotImplementedError

    async def archive_get(self, view: RootView, path: str, options: TarOptions) -> Archiving:
        """Begins to archive `path`."""
        raise NotImplementedError

    async def archive_put(self, view: RootView, options: UntarOptions) -> Unpacking:
        """Begins to unpack below `options.directory` of the view."""
        raise NotImplementedError

    async def read(self, view: RootView, path: str, limit: int = 1 << 20) -> bytes:
        """A small file of a container, at most `limit` bytes. Raises NoSuchPath."""
        raise NotImplementedError

    async def copy_up(self, view: RootView, path: str, target: str) -> None:
        """Copies what the view has at directory `path` into `target` on the host; a missing path is no error."""
        raise NotImplementedError

    async def launch(self, order: Mapping[str, Any], fds: Sequence[int] = ()) -> Shim:
        """Forks a shim and its init up to the gate. Raises NoSuchCommand, CannotExecute, Invalid, OSError, KnarrError.

        After an error nothing of the container is left. `order` is wire.shim's ORDER.
        """
        raise NotImplementedError
