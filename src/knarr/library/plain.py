"""One container without `await`: each method is the asynchronous one's, waited for."""

import contextlib
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Self

from knarr.library import container as containers
from knarr.library.feeds import Moment
from knarr.library.threads import Lines, Loop
from knarr.library.values import Address, ContainerDetails, ExecResult, Exit, LogLine, Stats
from knarr.model.errors import NotFound


class Container:
    """See knarr.library.container."""

    def __init__(self, loop: Loop, library: containers.Container):
        self._loop, self.library = loop, library
        self.id = library.id

    def __repr__(self) -> str:
        return repr(self.library)

    @property
    def name(self) -> str:
        """As last seen."""
        return self.library.name

    @property
    def status(self) -> str:
        """As last seen."""
        return self.library.status

    @property
    def ip(self) -> str:
        """As last seen."""
        return self.library.ip

    @property
    def details(self) -> ContainerDetails:
        """As last seen."""
        return self.library.details

    def port(self, port: int | str) -> int:
        """The host's port that a port is published at. Raises NotFound."""
        return self.library.port(port)

    def address(self, port: int | str) -> Address:
        """Where a published port answers. Raises NotFound."""
        return self.library.address(port)

    def refresh(self) -> ContainerDetails:
        """Looks again."""
        return self._loop.call(self.library.refresh())

    def start(self) -> None:
        """Does nothing where it runs."""
        self._loop.call(self.library.start())

    def stop(self, timeout: int | None = None, signal: str = "") -> None:
        """After `timeout` seconds it is killed."""
        self._loop.call(self.library.stop(timeout, signal))

    def restart(self, timeout: int | None = None) -> None:
        """Stops it if it runs, and starts it."""
        self._loop.call(self.library.restart(timeout))

    def kill(self, signal: str | int = "KILL") -> None:
        """Sends a signal."""
        self._loop.call(self.library.kill(signal))

    def pause(self) -> None:
        """Freezes its processes."""
        self._loop.call(self.library.pause())

    def unpause(self) -> None:
        """And lets them go on."""
        self._loop.call(self.library.unpause())

    def remove(self, *, force: bool = False, volumes: bool = False) -> None:
        """With `volumes` its anonymous ones too."""
        self._loop.call(self.library.remove(force=force, volumes=volumes))

    def wait(self) -> Exit:
        """Until it does not run."""
        return self._loop.call(self.library.wait())

    def wait_healthy(self, timeout: float = 60) -> None:
        """Until its health check passes. Raises Invalid, TimeoutError."""
        self._loop.call(self.library.wait_healthy(timeout))

    def wait_log(self, text: str, timeout: float = 60, *, count: int = 1) -> LogLine:
        """Until `text` has been in `count` lines of its log. Raises Invalid, TimeoutError."""
        return self._loop.call(self.library.wait_log(text, timeout, count=count))

    def wait_port(self, port: int | str, timeout: float = 60) -> Address:
        """Until a published TCP port takes connections. Raises NotFound, TimeoutError."""
        return self._loop.call(self.library.wait_port(port, timeout))

    def logs(
        self,
        *,
        follow: bool = False,
        stdout: bool = True,
        stderr: bool = True,
        since: Moment = None,
        tail: int | None = None,
        timestamps: bool = False,
    ) -> Lines[LogLine]:
        """Its lines; with `follow` until it ends."""
        feed = self.library.logs(
            follow=follow, stdout=stdout, stderr=stderr, since=since, tail=tail, timestamps=timestamps
        )
        return Lines(self._loop, feed)

    def exec(
        self,
        command: str | Sequence[str],
        *,
        stdin: bytes | None = None,
        env: Mapping[str, str] | Sequence[str] = (),
        user: str = "",
        working_dir: str = "",
        privileged: bool = False,
    ) -> ExecResult:
        """Runs a command in it, to its end."""
        return self._loop.call(
            self.library.exec(
                command, stdin=stdin, env=env, user=user, working_dir=working_dir, privileged=privileged
            )
        )

    def read(self, path: str) -> bytes:
        """A file's content."""
        return self._loop.call(self.library.read(path))

    def write(self, path: str, data: bytes, *, mode: int = 0o644, uid: int = 0, gid: int = 0) -> None:
        """Makes or replaces a file."""
        self._loop.call(self.library.write(path, data, mode=mode, uid=uid, gid=gid))

    def copy_in(self, source: str | PathLike[str], target: str) -> None:
        """See knarr.library.container."""
        self._loop.call(self.library.copy_in(source, target))

    def copy_out(self, path: str, target: str | PathLike[str]) -> PathLike[str]:
        """See knarr.library.container."""
        return self._loop.call(self.library.copy_out(path, target))

    def stats(self) -> Lines[Stats]:
        """What it uses, about every second."""
        return Lines(self._loop, self.library.stats())

    def usage(self) -> Stats:
        """What it uses, seen for a second."""
        return self._loop.call(self.library.usage())

    def commit(self, name: str, *, changes: Sequence[str] = ()) -> str:
        """An image of it; its id."""
        return self._loop.call(self.library.commit(name, changes=changes))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(NotFound):
            self.remove(force=True, volumes=True)
