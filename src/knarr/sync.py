"""The library without `await`, for scripts and tests: `with Engine.connect() as engine: …`.

Thin: the objects of `knarr.library` on an event loop in a thread of its own. Values and errors are the same; `library` gives the
asynchronous object behind each. What is made here is its own context: `with engine.containers.run("nginx") as web: …`.
"""

import contextlib
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from os import PathLike
from typing import Any, Self, TypeVar, Unpack

from knarr.library import container as containers
from knarr.library import engine as engines
from knarr.library import networks, volumes
from knarr.library.feeds import Filters, Made, Moment, Transfer
from knarr.library.images import Login
from knarr.library.options import Command, Options
from knarr.library.plain import Container as Container
from knarr.library.threads import Lines, Loop
from knarr.library.values import (
    ContainerSummary,
    Event,
    ExecResult,
    ImageDetails,
    ImageSummary,
    Info,
    NetworkDetails,
    Progress,
    Pruned,
    Version,
    VolumeDetails,
)
from knarr.model.errors import NotFound

T = TypeVar("T")


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

    def list(self, *, all: bool = False, wanted: Filters = None) -> list[ContainerSummary]:
        """Those that run, or all."""
        return self._loop.call(self.library.list(all=all, wanted=wanted))

    def prune(self, wanted: Filters = None) -> Pruned:
        """Removes those that do not run."""
        return self._loop.call(self.library.prune(wanted))


class Images:
    """See knarr.library.images."""

    def __init__(self, loop: Loop, library: engines.Engine):
        self._loop, self.library = loop, library.images

    def build(
        self,
        context: str | PathLike[str],
        *,
        tag: str = "",
        dockerfile: str = "Dockerfile",
        args: Mapping[str, str] | None = None,
        target: str = "",
    ) -> ImageDetails:
        """From a directory; for the rest of its settings, and its steps, see `library`."""
        made = self.library.build(context, tag=tag, dockerfile=dockerfile, args=args, target=target)
        return self._loop.call(made)

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

    def list(self, *, all: bool = False, wanted: Filters = None) -> list[ImageSummary]:
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
