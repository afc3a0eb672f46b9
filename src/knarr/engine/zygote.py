"""The asyncio end of the fork server: requests in, shims, namespaces and archives out.

Every method is one packet to the zygote and one answer from the child that it forked. A dead zygote is started again by
the next request. Errors are the child's own (`model.errors`, `snapshots.errors`, OSError); a child that died without an
answer is Unavailable.
"""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import knarr
from knarr.engine.birth import Birth
from knarr.engine.shims import Shim
from knarr.engine.userns import Ids
from knarr.engine.zygote_jobs import Archiving, FileStat, Netns, Reply, RootView, Unpacking, told
from knarr.kernel import limits, memfd, mounts
from knarr.kernel.libc import AT_EMPTY_PATH
from knarr.kernel.sockets import socketpair
from knarr.loop.blocking import blocking
from knarr.loop.packets import PacketChannel, encode
from knarr.model.errors import Unavailable
from knarr.model.mount import Mount
from knarr.snapshots.maketar import TarOptions
from knarr.snapshots.untar import UntarOptions
from knarr.wire.shim import folded
from knarr.wire.zygote import INLINE, MEMFD

_FIRST = ("loop", "packets", "log", "client", "streams", "control", "main")
"""Modules of the shim, imported before any other: what each shim writes to (if only by counting references) then lies side by
side, on some 20 pages fewer."""

STUB = (
    "import sys; sys.path.insert(0, sys.argv[1]); import knarr.runtime.slim; "
    f"import {', '.join(f'knarr.runtime.shim.{name}' for name in _FIRST)}; "
    "from knarr.zygote import main; main(int(sys.argv[2]))"
)


class Zygote:
    """One fork server; `exec_root` is the daemon's own."""

    def __init__(self, exec_root: str):
        self._place = f"{exec_root}/view"
        self._starting = asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: PacketChannel | None = None

    @classmethod
    async def start(cls, exec_root: str) -> Self:
        """Starts the process and waits until it is ready."""
        zygote = cls(exec_root)
        await zygote._begin()
        return zygote

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid if self._process is not None else 0

    async def _begin(self) -> PacketChannel:
        await blocking(os.makedirs, self._place, 0o700, exist_ok=True)
        process, sock = await blocking(_spawn)
        self._process = process
        channel = PacketChannel(sock)
        ready, _ = await channel.receive()
        if ready is None:
            channel.close()
            code = await blocking(process.wait)
            raise Unavailable(f"the zygote did not start: exit code {code}")
        self._channel = channel
        return channel

    async def close(self) -> None:
        """Ends the process; shims live on."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        process, self._process = self._process, None
        if process is not None:
            await blocking(process.wait)

    async def _alive(self, dead: PacketChannel | None) -> PacketChannel:
        """The channel; a new process's, if the present one is `dead`."""
        async with self._starting:
            if self._channel is None or self._channel is dead:
                if self._process is None:
                    raise Unavailable("the zygote is closed")
                if self._channel is not None:
                    self._channel.close()
                    self._channel = None
                    await blocking(self._process.wait)
                return await self._begin()
            return self._channel

    async def _request(self, message: Mapping[str, Any], fds: Sequence[int] = ()) -> PacketChannel:
        """Sends it; the channel on which the child will answer."""
        mine, theirs = socketpair()
        given = [theirs.fileno(), *fds]
        large = -1
        text = encode(message)
        if len(text) > INLINE:
            large = memfd.sealed("order", text)
            given.append(large)
            text = MEMFD
        try:
            channel = await self._alive(None)
            try:
                await channel.send_text(text, given)
            except OSError:
                await (await self._alive(channel)).send_text(text, given)
        except BaseException:
            mine.close()
            raise
        finally:
            theirs.close()
            if large >= 0:
                os.close(large)
        return PacketChannel(mine)

    async def _answered(
        self,
        channel: PacketChannel,
        message: Mapping[str, Any],
        again: Callable[[PacketChannel], None] | None = None,
    ) -> tuple[PacketChannel, dict[str, Any] | None, list[int]]:
        """A zygote that dies with a request in its queue leaves no trace of it, so the request is sent again, once;
        `again` repeats what was said behind it."""
        for last in (False, True):
            try:
                first, given = await _first_word(channel)
            except BaseException:
                channel.close()
                raise
            if first is not None or last or not await self._died():
                break
            channel.close()
            channel = await self._request(message)
            if again is not None:
                again(channel)
        return channel, first, given

    async def _died(self) -> bool:
        process = self._process
        if process is None:
            return True
        try:
            await blocking(process.wait, 1)
        except subprocess.TimeoutExpired:
            return False
        return True

    async def _call(self, message: Mapping[str, Any]) -> tuple[dict[str, Any], list[int]]:
        channel, first, given = await self._answered(await self._request(message), message)
        channel.close()
        return told(first), given

    async def _ask(self, message: Mapping[str, Any], fds: Sequence[int] = ()) -> Reply:
        return Reply(await self._request(message, fds))

    async def owned_netns(self, ids: Ids, user: str = "") -> Netns:
        """One that is owned by a new user namespace with these mappings, or by the one at path `user`."""
        message = {"job": "owned-netns", "uids": ids.uids, "gids": ids.gids, "user": user}
        facts, (owner, fd, route) = await self._call(message)
        return Netns(facts["inode"], fd, socket.socket(fileno=route), owner)

    async def unpack(self, root: str, options: UntarOptions) -> Unpacking:
        """Begins to unpack a tar stream into directory `root`."""
        return await self._unpack({"job": "unpack", "root": root, "options": options._asdict()})

    async def archive_put(self, view: RootView, options: UntarOptions) -> Unpacking:
        """Begins to unpack below `options.directory` of the view."""
        message = {"job": "archive-put", "view": self._view(view), "options": options._asdict()}
        return await self._unpack(message)

    async def _unpack(self, message: Mapping[str, Any]) -> Unpacking:
        drain, feed = os.pipe()
        try:
            return Unpacking(feed, await self._ask(message, [drain]))
        except BaseException:
            os.close(feed)
            raise
        finally:
            os.close(drain)

    async def file_act(self, view: RootView, act: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """One of snapshots.acting's. Raises NoSuchPath, NotADirectory, OSError."""
        message = {"job": "file-act", "view": self._view(view), "act": act, "arguments": dict(arguments)}
        facts, _ = await self._call(message)
        return facts

    async def archive_copy(self, source: "Archiving", view: RootView, options: UntarOptions) -> Unpacking:
        """As `archive_put`, with what another job archives; `source` has nothing to read then but its result."""
        message = {"job": "archive-put", "view": self._view(view), "options": options._asdict()}
        return Unpacking(-1, await self._ask(message, [source.drain]))

    async def archive_stat(self, view: RootView, path: str) -> FileStat:
        """Raises NoSuchPath."""
        facts, _ = await self._call({"job": "archive-stat", "view": self._view(view), "path": path})
        return FileStat(**facts)

    async def archive_get(self, view: RootView, path: str, options: TarOptions) -> Archiving:
        """Begins to archive `path`."""
        message = {"job": "archive-get", "view": self._view(view), "path": path, "options": options._asdict()}
        drain, feed = os.pipe()
        try:
            return Archiving(drain, await self._ask(message, [feed]))
        except BaseException:
            os.close(drain)
            raise
        finally:
            os.close(feed)

    async def read(self, view: RootView, path: str, limit: int = 1 << 20) -> bytes:
        """A small file of a container, at most `limit` bytes. Raises NoSuchPath."""
        message = {"job": "read", "view": self._view(view), "path": path, "limit": limit}
        _, (file,) = await self._call(message)
        try:
            return memfd.contents(file)
        finally:
            os.close(file)

    async def mount(self, source: str, target: str, kind: str, flags: int, data: str) -> None:
        """mount(2) on the host, however long it takes. Raises OSError."""
        asked = {"source": source, "target": target, "kind": kind, "flags": flags, "data": data}
        await self._call({"job": "mount", **asked})

    async def mount_root(self, mount: Mount, target: str, *, writable: bool) -> None:
        """A snapshot on the host. Raises OSError."""
        told = [mount.type, mount.source, list(mount.options)]
        await self._call({"job": "mount-root", "mount": told, "target": target, "writable": writable})

    async def copy_up(self, view: RootView, path: str, target: str) -> None:
        """Copies what the view has at directory `path` into `target` on the host; a missing path is no error."""
        message = {"job": "copy-up", "view": self._view(view), "path": path, "target": target}
        await self._call(message)

    def _view(self, view: RootView) -> dict[str, Any]:
        if view.pid:
            return {"pid": view.pid, "bare": view.bare}
        mounted = [[mount.type, mount.source, list(mount.options)] for mount in view.mounts]
        return {"mounts": mounted, "binds": [list(bind) for bind in view.binds], "place": self._place}

    async def launch(self, order: Mapping[str, Any]) -> Shim:
        """Forks a shim and its init up to the gate. Raises NoSuchCommand, CannotExecute, Invalid, OSError, KnarrError.

        After an error nothing of the container is left. `order` is wire.shim's ORDER.
        """
        return await (await self.begin(order)).shim()

    async def begin(self, order: Mapping[str, Any]) -> Birth:
        """As `launch`, for who has something to say before the shim has."""
        message = {"job": "shim", "order": folded(order)}
        channel = await self._request(message)

        async def answered(repeat: Callable[[PacketChannel], None]) -> Shim:
            spoken, hello, _ = await self._answered(channel, message, repeat)
            return Shim.of(spoken, hello)

        return Birth(channel, answered)


async def _first_word(channel: PacketChannel) -> tuple[dict[str, Any] | None, list[int]]:
    """What is no answer to something that was said before."""
    while True:
        first, given = await channel.receive()
        if first is None or "id" not in first:
            return first, given


def _spawn() -> tuple["subprocess.Popen[bytes]", socket.socket]:
    """The interpreter runs from a read-only clone of its mount: a container that gets hold of /proc/PID/exe of anything
    that the zygote forks cannot write to it (CVE-2019-5736)."""
    mine, theirs = socketpair()
    executable = os.path.realpath(sys.executable)
    clone = mounts.bind_tree(executable, recursive=False)
    try:
        mounts.mount_setattr(clone, "", AT_EMPTY_PATH, attr_set=mounts.MOUNT_ATTR_RDONLY)
        package = str(Path(knarr.__file__).resolve().parent.parent)
        process = subprocess.Popen(
            [executable, "-I", "-S", "-c", STUB, package, str(theirs.fileno())],
            executable=f"/proc/self/fd/{clone}",
            pass_fds=(theirs.fileno(), clone),
            stdin=subprocess.DEVNULL,
            cwd="/",
            env={},
        )
        limits.as_inherited(process.pid)
    except BaseException:
        mine.close()
        raise
    finally:
        theirs.close()
        os.close(clone)
    return process, mine
