"""`Engine`: a daemon behind a socket, or an engine in this process. The same objects, values and errors either way.

Both speak the Engine API: what differs is only where a connection leads (docs/decisions/0013).
"""

import socket
from collections.abc import AsyncIterator, Mapping
from os import PathLike, fspath
from typing import Any, Protocol, Self

from knarr.api.client.aio import Answer, Http
from knarr.api.client.dial import default_host, dialer
from knarr.library import reading
from knarr.library.containers import Containers
from knarr.library.feeds import Feed, Filters, Moment, filters, json_lines, moment
from knarr.library.images import Images
from knarr.library.networks import Networks
from knarr.library.values import Event, Info, Version
from knarr.library.volumes import Volumes


class Back(Protocol):
    """Where an engine is: `host` is where its containers' published ports answer."""

    host: str

    async def open(self) -> None:
        """Makes ready what `dial` needs."""
        ...

    async def dial(self) -> socket.socket:
        """A connection."""
        ...

    async def close(self) -> None:
        """Lets go of everything."""
        ...


class _Remote:
    """A daemon."""

    def __init__(self, address: str, tls: str):
        self._dial = dialer(address, tls)
        scheme, _, rest = address.partition("://")
        name = rest.partition("/")[0].rpartition("@")[2]
        self.host = (name.rpartition(":")[0].strip("[]") or name) if scheme in ("tcp", "ssh") else "127.0.0.1"

    async def open(self) -> None:
        """Nothing is needed."""

    async def dial(self) -> socket.socket:
        """A connection to it."""
        return await self._dial()

    async def close(self) -> None:
        """It lives on."""


class Engine:
    """Use it with `async with`, or call `open` and `close`. Made by `connect` or `embedded`."""

    containers: Containers
    images: Images
    networks: Networks
    volumes: Volumes

    def __init__(self, back: Back, version: str = ""):
        self._back = back
        self._http = Http(back.dial, version)
        self.images = Images(self._http)
        self.containers = Containers(self._http, self.images, back.host)
        self.networks = Networks(self._http)
        self.volumes = Volumes(self._http)

    @classmethod
    def connect(cls, host: str = "", *, tls: str | PathLike[str] = "", version: str = "") -> Self:
        """The daemon at `unix:///path`, `tcp://name:port` or `ssh://[user@]name`; without `host` the one that KNARR_HOST or
        DOCKER_HOST names, or knarrd's own socket. `tls` is the directory of ca.pem, cert.pem and key.pem. dockerd will do."""
        return cls(_Remote(host or default_host(), fspath(tls)), version)

    @classmethod
    def embedded(
        cls,
        data_root: str | PathLike[str] = "",
        *,
        exec_root: str | PathLike[str] = "",
        bridge: str = "",
        bip: str = "",
        listen: str | PathLike[str] = "",
        **settings: Any,
    ) -> Self:
        """An engine of this process and this event loop: it needs root, and no daemon. At the path `listen` it answers docker and
        other clients too. `settings` are the other fields of
        `knarr.engine.settings.Settings`. Containers outlive it in `data_root`; without one it is a passing engine: what it
        keeps is in a temporary directory, and at its end containers, networks and all are taken away."""
        from knarr.library.embedded import Embedded

        return cls(Embedded(fspath(data_root), fspath(exec_root), bridge, bip, fspath(listen), settings))

    async def open(self) -> Self:
        """Connects, or starts the engine. Raises Unavailable, Invalid."""
        await self._back.open()
        try:
            await self._http.negotiate()
        except BaseException:
            await self.close()
            raise
        return self

    async def close(self) -> None:
        """Lets go; a daemon lives on."""
        await self._http.close()
        await self._back.close()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def api_version(self) -> str:
        """What is spoken."""
        return self._http.version

    async def version(self) -> Version:
        """What the daemon is."""
        return reading.read(Version, await self._http.ask("GET", "/version"))

    async def info(self) -> Info:
        """The daemon and its host."""
        return reading.read_whole(Info, await self._http.ask("GET", "/info"))

    def events(self, wanted: Filters = None, *, since: Moment = None, until: Moment = None) -> Feed[Event]:
        """What happens, as it happens; `wanted` are docker's filters, such as `{"type": "container"}`."""

        async def items(answer: Answer) -> AsyncIterator[Event]:
            async for line in answer.lines():
                yield reading.read(Event, line)

        query = {"filters": filters(wanted), "since": moment(since), "until": moment(until)}
        return Feed(json_lines(self._http, "/events", query), items)

    async def ask(
        self, method: str, path: str, query: Mapping[str, Any] | None = None, body: Any = None
    ) -> Any:
        """One request of the Engine API, for what has no name here; the answer's JSON."""
        return await self._http.ask(method, path, query, body)
