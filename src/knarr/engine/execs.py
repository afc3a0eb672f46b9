"""Processes beside a container's own: create, start, look, resize. They are kept until the container's next life."""

import asyncio
import contextlib
import socket

from knarr.engine.bundle import exec_process
from knarr.engine.errors import NoSuchExec
from knarr.engine.live import Exec, Live, Roster
from knarr.engine.names import new_id
from knarr.engine.shims import ExecHandle, Exit
from knarr.engine.world import World
from knarr.engine.zygote_jobs import RootView
from knarr.kernel.files import read_text
from knarr.loop.blocking import blocking
from knarr.model.container import ExecSpec, ExecView
from knarr.model.errors import CannotExecute, Conflict, Invalid, NoSuchCommand, NotFound, Unavailable
from knarr.runtime.users import find_user
from knarr.snapshots.errors import NoSuchPath

_KEPT = 1000


class Execs:
    """All execs of one engine."""

    def __init__(self, world: World, roster: Roster) -> None:
        self._world = world
        self._roster = roster

    async def create(self, container: str, spec: ExecSpec) -> str:
        """The new exec's id. Raises NotRunning, IsPaused, IsRestarting, Invalid (an unknown user, too)."""
        live = self._roster.find(container)
        live.unpaused_shim(container)
        if not spec.command or not spec.command[0]:
            raise Invalid("No exec command specified")
        await self._check_user(live, spec.user)
        made = Exec(new_id(), live, spec)
        live.execs[made.id] = made
        self._roster.execs[made.id] = made
        self._forget_old(live)
        self._world.tell(live.event(f"exec_create: {_words(spec)}", execID=made.id))
        return made.id

    async def _check_user(self, live: Live, user: str) -> None:
        """A name is looked up as the exec itself will look it up; a number needs no entry."""
        if user and not user.replace(":", "").isdigit():
            files = [await self._file(live, path) for path in ("/etc/passwd", "/etc/group")]
            find_user(user, (), *files)

    async def _file(self, live: Live, path: str) -> str:
        try:
            data = await self._world.zygote.read(RootView(pid=live.state.pid), path)
        except NoSuchPath:
            return ""
        return data.decode(errors="replace")

    def _forget_old(self, live: Live) -> None:
        """A health check that runs for a year leaves no year of rows."""
        if len(live.execs) > _KEPT:
            for old in [each for each in live.execs.values() if each.started and not each.running][:100]:
                del live.execs[old.id]
                self._roster.execs.pop(old.id, None)

    def _find(self, exec_id: str) -> Exec:
        try:
            return self._roster.execs[exec_id]
        except KeyError:
            raise NoSuchExec(exec_id) from None

    async def check(self, exec_id: str) -> ExecView:
        """What is refused before the answer's head is sent. Raises NoSuchExec, NotRunning, IsPaused, IsRestarting."""
        found = self._find(exec_id)
        found.container.unpaused_shim()
        return _view(found)

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

        `console_size` is (height, width), `tty` whether the client expects raw bytes, not frames. Raises NoSuchExec, Conflict if it was started, NoSuchCommand, CannotExecute.
        """
        found = self._find(exec_id)
        live = found.container
        shim = live.unpaused_shim()
        if found.started:
            state = "is already running" if found.running else "has already run"
            raise Conflict(f"exec command {exec_id} {state}")
        found.started = found.running = True
        spec = found.spec
        process = exec_process(
            live.spec,
            spec,
            self._world.capabilities,
            console_size=console_size,
            no_new_privileges_default=self._world.settings.no_new_privileges,
        )
        attached = sock is not None and not detach
        self._world.tell(live.event(f"exec_start: {_words(spec)}", execID=exec_id))
        try:
            found.handle = await shim.exec(
                exec_id,
                process,
                sock_fd=sock.fileno() if attached and sock is not None else None,
                stdin=attached and spec.attach_stdin,
                stdout=attached and spec.attach_stdout,
                stderr=attached and spec.attach_stderr,
                framed=not (spec.tty if tty is None else tty),
                detach_keys=spec.detach_keys,
                tail=tail,
            )
        except BaseException as error:
            found.running = False
            found.exit_code = _refused(error)
            raise
        found.pid = found.handle.pid
        self._watch(found, found.handle)

    async def ended(self, exec_id: str) -> int:
        """Its exit code, when it has ended. Raises Unavailable if its shim is gone."""
        handle = self._find(exec_id).handle
        return (await asyncio.shield(handle.exited)).code if handle is not None else 0

    async def kill(self, exec_id: str) -> None:
        """Ends it, if it still runs."""
        found = self._roster.execs.get(exec_id)
        if found is not None and found.handle is not None:
            with contextlib.suppress(NotFound, Unavailable):
                await found.handle.signal(9)

    def forget(self, exec_id: str) -> None:
        """Nobody will ask for it again."""
        found = self._roster.execs.pop(exec_id, None)
        if found is not None:
            found.container.execs.pop(exec_id, None)

    async def adopt(self, live: Live, handle: ExecHandle) -> None:
        """An exec that an earlier daemon began; what it runs is what the kernel says."""
        command = await blocking(_command, handle.pid)
        found = Exec(handle.id, live, ExecSpec(command=command), handle, True, True, None, handle.pid)
        live.execs[found.id] = found
        self._roster.execs[found.id] = found
        self._watch(found, handle)

    def _watch(self, found: Exec, handle: ExecHandle) -> None:
        handle.exited.add_done_callback(lambda done: self._over(found, done))

    def _over(self, found: Exec, done: "asyncio.Future[Exit]") -> None:
        if self._world.closing:
            return
        end = done.result() if done.exception() is None else Exit(137, False, 0)
        self._ended(found, end)
        self._world.tell(found.container.event("exec_die", execID=found.id, exitCode=str(end.code)))

    def _ended(self, found: Exec, end: Exit) -> None:
        found.running = False
        found.exit_code = end.code

    async def inspect(self, exec_id: str) -> ExecView:
        """What it was before the question: an end that the shim told already is known. Raises NoSuchExec."""
        found = self._find(exec_id)
        if found.running and found.handle is not None and found.container.shim is not None:
            with contextlib.suppress(Unavailable):
                await found.container.shim.pids()
            if found.handle.exited.done() and not found.handle.exited.exception():
                self._ended(found, found.handle.exited.result())
        return _view(found)

    async def resize(self, exec_id: str, width: int, height: int) -> None:
        """Raises NoSuchExec, Conflict before it runs."""
        found = self._find(exec_id)
        if found.handle is None:
            raise Conflict(f"exec {exec_id} is not running")
        await found.handle.resize(width, height)


def _view(found: Exec) -> ExecView:
    """The shim's word counts at once: a client asks for the exit code right after its streams have ended."""
    code = found.exit_code
    if code is None and found.handle is not None:
        exited = found.handle.exited
        if exited.done() and not exited.cancelled() and exited.exception() is None:
            code = exited.result().code
    return ExecView(
        id=found.id,
        container_id=found.container.id,
        spec=found.spec,
        running=found.running and code is None,
        exit_code=code,
        pid=found.pid,
        can_remove=found.started and not found.running,
    )


def _words(spec: ExecSpec) -> str:
    """The program, a space, its arguments: the space is there without arguments, too, as with Docker."""
    return f"{spec.command[0]} {' '.join(spec.command[1:])}"


def _refused(error: BaseException) -> int:
    """Docker's exit codes of what could not be executed."""
    if isinstance(error, NoSuchCommand):
        return 127
    return 126 if isinstance(error, CannotExecute) else 128


def _command(pid: int) -> tuple[str, ...]:
    """proc_pid_cmdline(5); of one that has ended meanwhile nothing is known."""
    try:
        words = read_text(f"/proc/{pid}/cmdline").rstrip("\0").split("\0")
    except OSError:
        words = []
    return tuple(words) if words and words[0] else ("?",)
