"""moby.buildkit.v1.Control: builds, what they tell, and the sessions that come through the same connection.

A build ends with its call: a client that goes away cancels it.
"""

import asyncio
import socket
from datetime import UTC, datetime
from typing import Any

from knarr.build import entitlements
from knarr.build.caching import wishes
from knarr.build.frontdoor import encoding, frontends
from knarr.build.frontdoor.annals import Annals
from knarr.build.frontdoor.jobs import Job, Jobs
from knarr.build.frontdoor.lending import Lenders
from knarr.build.frontdoor.services import Service
from knarr.build.frontdoor.worker import VERSION, Facts
from knarr.build.port import Builder, Cache, CacheSpec, Exported, Exporter, Sessions, Wish
from knarr.build.proto import control_pb2 as pb
from knarr.build.pruning import Pruning
from knarr.grpc.services import Call

_PIECE = 64 << 10
_PACE = 0.05


class Control:
    """The service's methods."""

    def __init__(
        self,
        builder: Builder,
        cache: Cache,
        jobs: Jobs,
        lenders: Lenders,
        facts: Facts,
        annals: Annals,
    ):
        self._builder = builder
        self._cache = cache
        self._jobs = jobs
        self._lenders = lenders
        self._facts = facts
        self._annals = annals

    def service(self) -> Service:
        """As gRPC has it."""
        service = Service("moby.buildkit.v1.Control")
        service.unary("ListWorkers", self.list_workers, pb.ListWorkersRequest)
        service.unary("Info", self.info, pb.InfoRequest)
        service.unary("Solve", self.solve, pb.SolveRequest)
        service.unary("DiskUsage", self.disk_usage, pb.DiskUsageRequest)
        service.streaming("Prune", self.prune, pb.PruneRequest)
        service.streaming("Status", self.status, pb.StatusRequest)
        service.streaming("ListenBuildHistory", self._annals.listen, pb.BuildHistoryRequest)
        service.unary(
            "UpdateBuildHistory",
            self._annals.update,
            pb.UpdateBuildHistoryRequest,
        )
        service.streaming("Session", self.session, pb.BytesMessage)
        return service

    async def list_workers(self, _: pb.ListWorkersRequest, __: Any) -> pb.ListWorkersResponse:
        """There is one."""
        return pb.ListWorkersResponse(record=[self._facts.record()])

    async def info(self, _: pb.InfoRequest, __: Any) -> pb.InfoResponse:
        """The version of the protocol that is spoken."""
        return pb.InfoResponse(buildkitVersion=VERSION)

    async def disk_usage(self, asked: pb.DiskUsageRequest, _: Any) -> pb.DiskUsageResponse:
        """What the cache has."""
        found = await self._cache.usage(asked.filter, asked.ageLimit)
        return pb.DiskUsageResponse(record=map(encoding.usage, found))

    async def prune(self, stream: Call[pb.PruneRequest]) -> None:
        """What is let go, record by record."""
        asked = await stream.receive() or pb.PruneRequest()
        wish = Pruning(
            all=asked.all,
            filters=tuple(asked.filter),
            unused=asked.keepDuration,
            reserved=asked.reservedSpace,
            max_used=asked.maxUsedSpace,
            min_free=asked.minFreeSpace,
        )
        for record in await self._cache.prune(wish):
            await stream.send(encoding.usage(record))

    async def solve(self, asked: pb.SolveRequest, _: Any) -> pb.SolveResponse:
        """The whole build. Raises BuildFailed."""
        return await self.build(asked, self._lenders)

    async def build(self, asked: pb.SolveRequest, sessions: Sessions) -> pb.SolveResponse:
        """The same, with files of whoever `sessions` are. Raises BuildFailed."""
        job = self._jobs.begin(asked.Ref, asked.Session)
        made: Exported | None = None
        failed: BaseException | None = None
        try:
            job.granted = entitlements.check_asked(asked.Entitlements, self._facts.allowed)
            self._annals.begin(asked)
            cache_to = [CacheSpec(type=each.Type, attrs=dict(each.Attrs)) for each in asked.Cache.Exports]
            wishes.exports(cache_to)
            loaded = await (self._load(job, asked, sessions) if asked.Frontend else job.returned)
            if loaded is None or not loaded.platforms:
                return pb.SolveResponse()
            made = await self._builder.export(
                loaded,
                exporters(asked),
                cache_to,
                asked.Session,
                sessions,
                job.progress,
            )
            return pb.SolveResponse(ExporterResponse=made.response)
        except BaseException as error:
            failed = error
            raise
        finally:
            self._jobs.end(job)
            self._annals.end(job, made, failed)

    async def _load(self, job: Job, asked: pb.SolveRequest, sessions: Sessions) -> Any:
        frontends.check(asked.Frontend, asked.FrontendAttrs)
        wish = Wish(
            ref=job.ref,
            session=job.session,
            attrs=dict(asked.FrontendAttrs),
            granted=job.granted,
            cache_from=[CacheSpec(type=each.Type, attrs=dict(each.Attrs)) for each in asked.Cache.Imports],
        )
        return await self._builder.load(wish, sessions, job.progress)

    async def status(self, stream: Call[pb.StatusRequest]) -> None:
        """All that a build tells, until it ends."""
        asked = await stream.receive()
        ref = asked.Ref if asked else ""
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        if not self._jobs.known(ref) and await self._annals.replay(ref, stream):
            return
        job = await self._jobs.heard(ref)
        await stream.send_headers([("buildkit-current-timestamp", now)])
        async for updates in job.progress.follow(_PACE):
            await stream.send(encoding.response(updates))

    async def session(self, stream: Call[pb.BytesMessage]) -> None:
        """A session whose bytes travel inside this stream."""
        await stream.send_headers()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)

        with ours:
            pumps = [
                asyncio.create_task(_inwards(stream, ours)),
                asyncio.create_task(_outwards(stream, ours)),
            ]
            holding = asyncio.create_task(self._lenders.hold(theirs, b"", stream.metadata.all))
            try:
                await asyncio.wait([*pumps, holding], return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (*pumps, holding):
                    task.cancel()
                await asyncio.wait([*pumps, holding])


async def _inwards(stream: Call[pb.BytesMessage], sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    while messages := await stream.receive_many():
        await loop.sock_sendall(sock, b"".join([message.data for message in messages]))


async def _outwards(stream: Call[pb.BytesMessage], sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(sock, _PIECE):
        await stream.send(pb.BytesMessage(data=data))


def exporters(asked: pb.SolveRequest) -> list[Exporter]:
    """Where the results go; clients before several exporters name one in other fields."""
    if asked.Exporters:
        return [Exporter(type=each.Type, attrs=dict(each.Attrs)) for each in asked.Exporters]
    if asked.ExporterDeprecated:
        return [Exporter(type=asked.ExporterDeprecated, attrs=dict(asked.ExporterAttrsDeprecated))]
    return []
