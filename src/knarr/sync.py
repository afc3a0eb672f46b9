"""The library without `await`, for scripts and tests: `with Engine.connect() as engine: …`.

Thin: the objects of `knarr.library` on an event loop in a thread of its own. Values and errors are the same; `library` gives the
asynchronous object behind each. What is made here is its own context: `with engine.containers.run("nginx") as web: …`.
"""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping, Sequence
from os import PathLike
from typing import Any, Generic, Self, TypeVar, Unpack

from knarr.library import container as containers
from knarr.library import engine as engines
from knarr.library import networks, volumes
from knarr.library.feeds import Feed, Filters, Made, Moment, Transfer
from knarr.library.images import Login
from knarr.library.options import Command, Options
from knarr.library.values import (
    Address,
    ContainerDetails,
    ContainerSummary,
    Event,
    ExecResult,
    Exit,
    ImageDetails,
    ImageSummary,
    Info,
    LogLine,
    NetworkDetails,
    Progress,
    Pruned,
    Stats,
    Version,
    VolumeDetails,
)
from knarr.model.errors import NotFound

T = TypeVar("T")


class Loop:
    """An event loop in a thread; any thread may call."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="knarr", daemon=True)
        self._thread.start()

    def call(self, work: Awaitable[T]) -> T:
        """Waits for it here; Ctrl-C cancels it."""
        future = asyncio.run_coroutine_threadsafe(_settled(work), self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def iterate(self, items: AsyncIterator[T]) -> Iterator[T]:
        """Item by item, as they are asked for."""
        try:
            while True:
                try:
                    item = self.call(items.__anext__())
                except StopAsyncIteration:
                    return
                yield item
        finally:
            closing = getattr(items, "aclose", None)
            if closing is not None:
                self.call(closing())

    def close(self) -> None:
        """Ends the thread."""
        with contextlib.suppress(RuntimeError):
            self.call(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _settled(work: Awaitable[T]) -> T:
    return await work


class Lines(Generic[T]):
    """A feed as an iterator; with `with` it begins at once and ends with the block."""

    def __init__(self, loop: Loop, feed: Feed[T]):
        self._loop, self._feed = loop, feed

    def __iter__(self) -> Iterator[T]:
        return self._loop.iterate(self._feed)

    def __enter__(self) -> Self:
        self._loop.call(self._feed.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call(self._feed.aclose())


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


class Containers:
    """See knarr.library.containers."""

    def __init__(self, loop: Loop, library: engines.Engine):
        self._loop, self.library = loop, library.containers

    def create(self, image: str, command: Command = None, **options: Unpack[Options]) -> Container:
        """Makes a container and does not start it; `with` removes it at the end."""
        return self._made(self.library.create(image, command, **options))

    def run(self, image: str, command: Command = None, **options: Unpack[Options]) -> Container:
        """Makes a container and starts it; `with` removes it at the end."""
        return self._made(self.library.run(image, command, **options))

    def _made(self, made: Made[containers.Container]) -> Container:
        return Container(self._loop, self._loop.call(made))

    def output(
        self, image: str, command: Command = None, *, data: bytes | None = None, **options: Unpack[Options]
    ) -> ExecResult:
        """Runs a container to its end and removes it."""
        return self._loop.call(self.library.output(image, command, data=data, **options))

    def get(self, name: str) -> Container:
        """Raises NotFound."""
        return Container(self._loop, self._loop.call(self.library.get(name)))

    def list(self, *, all: bool = False, wanted: Filters = None) -> list[ContainerSummary]:  # noqa: A002
        """Those that run, or all."""
        return self._loop.call(self.library.list(all=all, wanted=wanted))

    def prune(self, wanted: Filters = None) -> Pruned:
        """Removes those that do not run."""
        return self._loop.call(self.library.prune(wanted))


class Images:
    """See knarr.library.images."""

    def __init__(self, loop: Loop, library: engines.Engine):
        self._loop, self.library = loop, library.images

    def pull(self, name: str, *, platform: str = "", login: Login | None = None) -> ImageDetails:
        """To its end. Raises NotFound, Denied, Unavailable."""
        return self._loop.call(self.library.pull(name, platform=platform, login=login))

    def pulling(self, name: str, *, platform: str = "", login: Login | None = None) -> Iterator[Progress]:
        """The same, line by line."""
        transfer: Transfer[ImageDetails] = self.library.pull(name, platform=platform, login=login)
        return self._loop.iterate(transfer.__aiter__())

    def push(self, name: str, *, login: Login | None = None) -> None:
        """To its end."""
        self._loop.call(self.library.push(name, login=login))

    def load(self, source: str | PathLike[str]) -> "list[str]":
        """An archive's images; their names."""
        return self._loop.call(self.library.load(source))

    def save(self, *names: str) -> Iterator[bytes]:
        """An archive, in pieces."""
        return self._loop.iterate(self.library.save(*names))

    def import_root(
        self, source: str | PathLike[str], name: str, *, changes: Sequence[str] = ()
    ) -> ImageDetails:
        """A tar of a root file system becomes an image."""
        return self._loop.call(self.library.import_root(source, name, changes=changes))

    def get(self, name: str) -> ImageDetails:
        """Raises NotFound."""
        return self._loop.call(self.library.get(name))

    def tag(self, name: str, new: str) -> None:
        """Another name."""
        self._loop.call(self.library.tag(name, new))

    def remove(self, name: str, *, force: bool = False) -> None:
        """Takes the name away, and with the last one the image."""
        self._loop.call(self.library.remove(name, force=force))

    def list(self, *, all: bool = False, wanted: Filters = None) -> list[ImageSummary]:  # noqa: A002
        """What is here."""
        return self._loop.call(self.library.list(all=all, wanted=wanted))


class Network:
    """See knarr.library.networks."""

    def __init__(self, loop: Loop, library: networks.Network):
        self._loop, self.library = loop, library
        self.id, self.name = library.id, library.name

    def refresh(self) -> NetworkDetails:
        """Looks again."""
        return self._loop.call(self.library.refresh())

    def connect(
        self, container: Container, *, aliases: Sequence[str] = (), ipv4: str = "", ipv6: str = ""
    ) -> None:
        """Running or not."""
        self._loop.call(self.library.connect(container.library, aliases=aliases, ipv4=ipv4, ipv6=ipv6))

    def disconnect(self, container: Container, *, force: bool = False) -> None:
        """Running or not."""
        self._loop.call(self.library.disconnect(container.library, force=force))

    def remove(self) -> None:
        """Raises Denied while containers are in it."""
        self._loop.call(self.library.remove())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(NotFound):
            self.remove()


class Volume:
    """See knarr.library.volumes."""

    def __init__(self, loop: Loop, library: volumes.Volume):
        self._loop, self.library = loop, library
        self.name, self.details = library.name, library.details

    def remove(self, *, force: bool = False) -> None:
        """Raises Conflict while a container uses it."""
        self._loop.call(self.library.remove(force=force))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(NotFound):
            self.remove()


class Networks:
    """See knarr.library.networks."""

    def __init__(self, loop: Loop, library: engines.Engine):
        self._loop, self.library = loop, library.networks

    def create(self, name: str, *, driver: str = "", subnet: str = "", internal: bool = False) -> Network:
        """`with` removes it at the end; for the rest of its settings see `library`."""
        made = self.library.create(name, driver=driver, subnet=subnet, internal=internal)
        return Network(self._loop, self._loop.call(made))

    def get(self, name: str) -> Network:
        """Raises NotFound."""
        return Network(self._loop, self._loop.call(self.library.get(name)))

    def list(self, wanted: Filters = None) -> list[NetworkDetails]:
        """What is here."""
        return self._loop.call(self.library.list(wanted))


class Volumes:
    """See knarr.library.volumes."""

    def __init__(self, loop: Loop, library: engines.Engine):
        self._loop, self.library = loop, library.volumes

    def create(self, name: str = "", *, labels: Mapping[str, str] | None = None) -> Volume:
        """`with` removes it at the end; for the rest of its settings see `library`."""
        return Volume(self._loop, self._loop.call(self.library.create(name, labels=labels)))

    def get(self, name: str) -> Volume:
        """Raises NotFound."""
        return Volume(self._loop, self._loop.call(self.library.get(name)))

    def list(self, wanted: Filters = None) -> list[VolumeDetails]:
        """What is here."""
        return self._loop.call(self.library.list(wanted))


class Engine:
    """See knarr.library.engine. `library` belongs to this object's own event loop: reach it through `call`."""

    def __init__(self, library: engines.Engine):
        self._loop = Loop()
        self.library = library
        self.containers = Containers(self._loop, library)
        self.images = Images(self._loop, library)
        self.networks = Networks(self._loop, library)
        self.volumes = Volumes(self._loop, library)

    @classmethod
    def connect(cls, host: str = "", *, tls: str | PathLike[str] = "", version: str = "") -> Self:
        """See knarr.library.engine."""
        return cls(engines.Engine.connect(host, tls=tls, version=version))

    @classmethod
    def embedded(cls, data_root: str | PathLike[str] = "", **settings: Any) -> Self:
        """See knarr.library.engine."""
        return cls(engines.Engine.embedded(data_root, **settings))

    def call(self, work: Awaitable[T]) -> T:
        """Something of `library`, waited for."""
        return self._loop.call(work)

    def open(self) -> Self:
        """Connects, or starts the engine."""
        try:
            self._loop.call(self.library.open())
        except BaseException:
            self._loop.close()
            raise
        return self

    def close(self) -> None:
        """Lets go; a daemon lives on."""
        try:
            self._loop.call(self.library.close())
        finally:
            self._loop.close()

    def version(self) -> Version:
        """What the daemon is."""
        return self._loop.call(self.library.version())

    def info(self) -> Info:
        """The daemon and its host."""
        return self._loop.call(self.library.info())

    def events(self, wanted: Filters = None, *, since: Moment = None, until: Moment = None) -> Lines[Event]:
        """What happens, as it happens."""
        return Lines(self._loop, self.library.events(wanted, since=since, until=until))

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()
