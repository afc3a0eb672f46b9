"""The door itself: what POST /grpc and POST /session hand their connections to."""

import socket
from collections.abc import Callable, Sequence

from knarr.build.context.store import Files
from knarr.build.frontdoor.annals import Annals
from knarr.build.frontdoor.bridge import Bridge
from knarr.build.frontdoor.control import Control
from knarr.build.frontdoor.direct import Direct
from knarr.build.frontdoor.jobs import Jobs
from knarr.build.frontdoor.lending import Lenders
from knarr.build.frontdoor.worker import Facts
from knarr.build.port import Builder, Cache, Records
from knarr.grpc.server import serve


class FrontDoor:
    """One for a daemon."""

    def __init__(
        self,
        builder: Builder,
        files: Files,
        cache: Cache,
        records: Records,
        facts: Facts,
    ):
        jobs = Jobs()
        self.lenders = Lenders(files)
        annals = Annals(records)
        control = Control(builder, cache, jobs, self.lenders, facts, annals)
        self.direct = Direct(control, jobs)
        self._services = (
            control.service(),
            Bridge(builder, jobs, self.lenders, facts.record).service(),
            annals.service(),
        )

    async def grpc(self, sock: socket.socket, tail: bytes) -> None:
        """Serves a client until it goes."""
        await serve(sock, tail, self._services)

    async def session(
        self, sock: socket.socket, tail: bytes, headers: Callable[[str], Sequence[str]]
    ) -> None:
        """Holds a client's session until it goes. `headers`: all values of a header by its lower-case name."""
        await self.lenders.hold(sock, tail, headers)
