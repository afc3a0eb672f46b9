"""The asyncio end of a shim: one connection to the process that holds a container.

Requests may overlap. When the connection breaks, every waiting request and `exited` raise Unavailable; the shim and its
container may well live: `Shim.connect` finds out. Sockets given to `attach` and `exec` belong to the shim afterwards: the
descriptor is duplicated into it and the caller closes its own.
"""

import asyncio
import json
import os
import socket
from binascii import b2a_base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self

from knarr.kernel import memfd
from knarr.loop.packets import PacketChannel, encode
from knarr.model.errors import Unavailable
from knarr.model.system import Step
from knarr.wire.zygote import INLINE, MEMFD, revive


class Exit(NamedTuple):
    """How a container or an exec ended: Docker's exit code, whether for lack of memory, when (nanoseconds)."""

    code: int
    oom: bool
    at: int


class ExecHandle:
    """A process beside the init. `exited` may be awaited by many (shield it)."""

    def __init__(self, shim: "Shim", exec_id: str, pid: int):
        self._shim, self.id, self.pid = shim, exec_id, pid
        self._exited = _future()

    @property
    def exited(self) -> "asyncio.Future[Exit]":
        """Done when it ended; Unavailable when the connection broke."""
        return self._exited

    async def resize(self, width: int, height: int) -> None:
        """Changes its terminal's size; nothing happens after its end."""
        if not self._exited.done():
            await self._shim.ask("exec-resize", exec=self.id, width=width, height=height)

    async def signal(self, number: int) -> None:
        """Raises NotFound after its end."""
        await self._shim.ask("exec-signal", exec=self.id, signal=number)


class Shim:
    """A container's shim. `container` is its id, `pid` the init's, `steps` what the init walked (for --explain)."""

    def __init__(self, channel: PacketChannel, hello: Mapping[str, Any]):
        self._channel = channel
        self._next = 0
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._exited = _future()
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.container: str = hello["container"]
        self.pid: int = hello["pid"]
        self.started: bool = hello["started"]
        self.paused: bool = hello["paused"]
        self.steps = tuple(Step(room="runtime", **step) for step in hello.get("steps") or ())
        self.warnings: tuple[str, ...] = tuple(hello.get("warnings") or ())
        self._execs = {
            entry["exec"]: ExecHandle(self, entry["exec"], entry["pid"]) for entry in hello["execs"]
        }
        self.on_detach: Callable[[str | None], None] | None = None
        """Called with an exec's id, or None for an attach, when a client typed the detach keys."""
        self.on_oom: Callable[[], None] | None = None
        if hello["exit"]:
            self._exited.set_result(Exit(**hello["exit"]))
        channel.listen(self._hear)

    @classmethod
    def of(cls, channel: PacketChannel, hello: Mapping[str, Any] | None) -> Self:
        """A shim from a connection and what it said first: hello, or why there is none."""
        if hello is None:
            channel.close()
            raise Unavailable("the shim ended without a word")
        if "error" in hello:
            channel.close()
            raise revive(hello["error"])
        return cls(channel, hello)

    @classmethod
    async def connect(cls, run_dir: str) -> Self:
        """Takes up a living shim again, execs included. Raises Unavailable if none listens there.

        A shim that is gone may have left `exit.json`: see `read_exit`.
        """
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            directory = os.open(run_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                sock.connect(f"/proc/self/fd/{directory}/shim.sock")
            finally:
                os.close(directory)
        except OSError as error:
            sock.close()
            raise Unavailable(f"no shim listens in {run_dir}: {error.strerror}") from None
        channel = PacketChannel(sock)
        try:
            hello, _ = await channel.receive()
        except BaseException:
            channel.close()
            raise
        return cls.of(channel, hello)

    @property
    def execs(self) -> Mapping[str, ExecHandle]:
        """The execs that run, by id."""
        return self._execs

    @property
    def exited(self) -> "asyncio.Future[Exit]":
        """Done when the container ended (exit.json is on disk); Unavailable when the connection broke."""
        return self._exited

    def _hear(self, message: Mapping[str, Any] | None) -> None:
        if message is None:
            self._lost()
            return
        self._heard(message)

    def _heard(self, message: Mapping[str, Any]) -> None:
        event = message.get("event")
        if event is None:
            waiter = self._waiting.pop(message["id"], None)
            if waiter is not None and not waiter.done():
                if "error" in message:
                    waiter.set_exception(revive(message["error"]))
                else:
                    waiter.set_result(message["ok"])
        elif event == "exited":
            _settle(self._exited, Exit(message["code"], message["oom"], message["at"]))
        elif event == "exec-exited":
            handle = self._execs.pop(message["exec"], None)
            if handle is not None:
                _settle(handle.exited, Exit(message["code"], False, message["at"]))
        elif event == "detached" and self.on_detach is not None:
            self.on_detach(message["exec"])
        elif event == "oom" and self.on_oom is not None:
            self.on_oom()

    def _lost(self) -> None:
        self._channel.close()
        error = Unavailable(f"the connection to the shim of {self.container[:12]} is lost")
        futures: list[asyncio.Future[Any]] = [*self._waiting.values(), self._exited]
        futures += [handle.exited for handle in self._execs.values()]
        for future in futures:
            if not future.done():
                future.set_exception(error)
        self._waiting.clear()
        if not self._gone.done():
            self._gone.set_result(None)

    async def ask(self, name: str, fds: Sequence[int] = (), **fields: Any) -> dict[str, Any]:
        """One request and its answer (wire.shim). Raises the shim's error, or Unavailable."""
        if self._channel.fileno() < 0:
            raise Unavailable(f"the connection to the shim of {self.container[:12]} is lost")
        self._next += 1
        number = self._next
        message: dict[str, Any] = {"id": number, "do": name, **fields}
        waiter = self._waiting[number] = asyncio.get_running_loop().create_future()
        large = -1
        try:
            text = encode(message)
            if len(text) > INLINE:
                large = memfd.sealed("request", text)
                text, fds = MEMFD, [*fds, large]
            try:
                await self._channel.send_text(text, fds)
            except OSError:
                raise Unavailable(f"the connection to the shim of {self.container[:12]} is lost") from None
            facts: dict[str, Any] = await waiter
            return facts
        finally:
            self._waiting.pop(number, None)
            if large >= 0:
                os.close(large)

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
        options = attachment(
            stdin=stdin, stdout=stdout, stderr=stderr, framed=framed, detach_keys=detach_keys, tail=tail
        )
        await self.ask("attach", [sock_fd], **options)

    async def start(self) -> None:
        """Opens the exec gate. What execve itself refuses is on the container's standard error, exit code 255, as runc's."""
        await self.ask("start")
        self.started = True

    async def signal(self, number: int) -> None:
        """To the init. Raises NotFound after its end."""
        await self.ask("signal", signal=number)

    async def signal_all(self, number: int) -> None:
        """To every process of the container."""
        await self.ask("signal", signal=number, all=True)

    async def resize(self, width: int, height: int) -> None:
        """Changes the terminal's size; without a terminal nothing happens."""
        await self.ask("resize", width=width, height=height)

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
        fields = attachment(
            stdin=stdin, stdout=stdout, stderr=stderr, framed=framed, detach_keys=detach_keys, tail=tail
        )
        handle = self._execs[exec_id] = ExecHandle(self, exec_id, 0)
        try:
            fds = [] if sock_fd is None else [sock_fd]
            handle.pid = (await self.ask("exec", fds, exec=exec_id, process=process, **fields))["pid"]
        except BaseException:
            self._execs.pop(exec_id, None)
            raise
        return handle

    async def pause(self) -> None:
        """Freezes every process."""
        await self.ask("pause")
        self.paused = True

    async def resume(self) -> None:
        """Thaws."""
        await self.ask("resume")
        self.paused = False

    async def update(self, resources: Mapping[str, Any]) -> None:
        """Applies OCI linux.resources to the running container."""
        await self.ask("update", resources=resources)

    async def pids(self) -> Sequence[int]:
        """The host's pids of all its processes."""
        pids: list[int] = (await self.ask("pids"))["pids"]
        return pids

    async def stats(self) -> dict[str, Any]:
        """The cgroup's numbers."""
        return await self.ask("stats")

    async def release(self) -> None:
        """The exit is on record: the shim ends, and this connection with it. Never raises for a dead shim.

        A container that was launched but never started is killed. One that runs raises Conflict.
        """
        try:
            await self.ask("release")
            await self._gone
        except Unavailable:
            pass
        self._lost()

    async def close(self) -> None:
        """Closes the connection; the shim stays."""
        self._lost()


def read_exit(run_dir: str) -> Exit | None:
    """What a shim that is gone left in `exit.json`; None if it left nothing."""
    try:
        with open(f"{run_dir}/exit.json", "rb") as file:
            return Exit(**json.load(file))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def attachment(
    *, stdin: bool, stdout: bool, stderr: bool, framed: bool, detach_keys: str = "", tail: bytes = b""
) -> dict[str, Any]:
    """The fields of a request that brings a client."""
    text = b2a_base64(tail, newline=False).decode()
    return {
        "stdin": stdin,
        "stdout": stdout,
        "stderr": stderr,
        "framed": framed,
        "keys": detach_keys,
        "tail": text,
    }


def _future() -> "asyncio.Future[Exit]":
    """A future whose error nobody need retrieve."""
    future: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    return future


def _settle(future: "asyncio.Future[Exit]", value: Exit) -> None:
    if not future.done():
        future.set_result(value)
