"""The door itself: what POST /grpc and POST /session hand their connections to."""

import socket
from collections.abc import Callable, Sequence

from knarr.build.context.store import Files
from knarr.build.frontdoor.annals import Annals
from knarr.build.frontdoor.bridge import Bridge
from knarr.build.frontdoor.control import Control
from knarr.build.frontdoor.jobs import Jobs
from knarr.build.frontdoor.lending import Lenders
from knarr.build.frontdoor.worker import record
from knarr.build.port import Builder, Cache, Records
from knarr.build.proto.worker_pb2 import WorkerRecord
from knarr.grpc.server import serve
from knarr.model.platform import Platform

_STORE = "org.mobyproject.buildkit.worker.snapshotter"


class FrontDoor:
    """One for a daemon. `name` is its worker; `platforms` tells what runs here at the moment."""

    def __init__(
        self,
        builder: Builder,
        files: Files,
        cache: Cache,
        records: Records,
        name: str,
        platforms: Callable[[], Sequence[Platform]],
    ):
        jobs = Jobs()

        def worker() -> WorkerRecord:
            return record(name, platforms(), {_STORE: "overlay2"})

        self.lenders = Lenders(files)
        annals = Annals(records)
        self._services = (
            Control(builder, cache, jobs, self.lenders, worker, annals).service(),
            Bridge(builder, jobs, self.lenders, worker).service(),
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
