"""What the zygote's jobs are asked with and what they hold: values, pipe ends and the one answer of each."""

import os
import socket
from collections.abc import Mapping
from typing import Any, NamedTuple

from knarr.loop.packets import PacketChannel
from knarr.model.errors import Unavailable
from knarr.model.mount import Mount
from knarr.snapshots import errors as snapshot_errors
from knarr.snapshots.maketar import Archived
from knarr.snapshots.untar import Unpacked
from knarr.wire.zygote import revive

_KNOWN = {name: kind for name, kind in vars(snapshot_errors).items() if isinstance(kind, type)}


class Netns(NamedTuple):
    """A network namespace without a name. The holder closes it: `fd`, `route` (a NETLINK_ROUTE socket inside it) and, if it
    is not -1, `owner`, the user namespace that it belongs to."""

    inode: int
    fd: int
    route: socket.socket
    owner: int = -1

    @property
    def paths(self) -> dict[str, str]:
        """Where other processes find the namespaces, by kind, while they are held here (proc_pid_fd(5))."""
        held = {"network": self.fd, "user": self.owner}
        return {kind: f"/proc/{os.getpid()}/fd/{fd}" for kind, fd in held.items() if fd >= 0}

    def keep(self) -> int:
        """The descriptor of the network namespace; the others are closed."""
        if self.owner >= 0:
            os.close(self.owner)
        self.route.close()
        return self.fd

    def close(self) -> None:
        """Its descriptors."""
        os.close(self.keep())


class RootView(NamedTuple):
    """A container's root as a job shall see it: of process `pid`, or the mounts of a stopped one, over them `binds` (source,
    target, "" or what is below the source). `bare`: the root of the process without what is mounted in it.

    One overlay must not be mounted twice at a time: the caller lets jobs on one stopped container follow each other.
    """

    pid: int = 0
    mounts: tuple[Mount, ...] = ()
    binds: tuple[tuple[str, str, str], ...] = ()
    bare: bool = False


class FileStat(NamedTuple):
    """What docker cp asks: `mode` is st_mode, `mtime` nanoseconds, `link_target` "" unless it is a symbolic link."""

    name: str
    size: int
    mode: int
    mtime: int
    link_target: str


class Reply:
    """The answer to one request, once."""

    def __init__(self, channel: PacketChannel):
        self._channel = channel

    async def facts(self) -> tuple[dict[str, Any], list[int]]:
        """Waits for it. Raises what the job raised, or Unavailable."""
        try:
            message, fds = await self._channel.receive()
        finally:
            self._channel.close()
        return told(message), fds

    def close(self) -> None:
        """Nobody waits any more."""
        self._channel.close()


def told(message: Mapping[str, Any] | None) -> dict[str, Any]:
    """The facts of an answer. Raises what the job raised, or Unavailable."""
    if message is None:
        raise Unavailable("a job of the zygote ended without an answer")
    if "error" in message:
        raise revive(message["error"], _KNOWN)
    facts: dict[str, Any] = message["ok"]
    return facts


class Unpacking:
    """A running unpack: write the plain tar to `feed` (blocking pipe end), close it, then await `result()`."""

    def __init__(self, feed: int, reply: Reply):
        self.feed = feed
        self._reply = reply

    def close_feed(self) -> None:
        """Ends the stream; may be called again."""
        if self.feed >= 0:
            os.close(self.feed)
            self.feed = -1

    async def result(self) -> Unpacked:
        """Waits for the end. Raises BadArchive, OSError."""
        facts, _ = await self._reply.facts()
        return Unpacked(**facts)


class Archiving:
    """A running archive_get: read the tar from `drain` (pipe end) until its end, then await `result()`."""

    def __init__(self, drain: int, reply: Reply):
        self.drain = drain
        self._reply = reply

    async def result(self) -> Archived:
        """Waits for the end. Raises NoSuchPath, NotADirectory, OSError."""
        facts, _ = await self._reply.facts()
        return Archived(**facts)

    def give_away(self) -> None:
        """Somebody else reads what it writes."""
        if self.drain >= 0:
            os.close(self.drain)
            self.drain = -1

    def close(self) -> None:
        """Lets go, read to the end or not; may be called again."""
        if self.drain >= 0:
            os.close(self.drain)
            self.drain = -1
        self._reply.close()
