"""moby.buildkit.v1.frontend.LLBBridge: a client loads a Dockerfile inside its build, and says which result it wants.

Ping     what can be asked for
Solve    reads the Dockerfile (or answers a subrequest, as --check); nothing runs yet
Evaluate runs what a result needs, for builds that are inputs of others
Return   the result that Control/Solve shall give away, or the client's own failure
"""

import asyncio
from collections.abc import Iterable
from typing import Any

from knarr.build.errors import BuildFailed
from knarr.build.frontdoor import encoding, frontends
from knarr.build.frontdoor.jobs import Job, Jobs
from knarr.build.frontdoor.services import Service
from knarr.build.frontdoor.worker import Worker, pong
from knarr.build.port import Builder, CacheSpec, Loaded, Sessions, Wish
from knarr.build.proto import gateway_pb2 as pb
from knarr.grpc.calls import Metadata

_BUILD_ID = "buildkit-controlapi-buildid"


class Returned(BuildFailed):
    """What the client says went wrong; most often what it was told itself, so the details go back with it."""

    def __init__(self, text: str, details: Iterable[Any]):
        super().__init__(text or "the client gave up")
        self.details = tuple(details)


class Bridge:
    """The service's methods."""

    def __init__(self, builder: Builder, jobs: Jobs, sessions: Sessions, worker: Worker):
        self._builder = builder
        self._jobs = jobs
        self._sessions = sessions
        self._worker = worker

    def service(self) -> Service:
        """As gRPC has it."""
        service = Service("moby.buildkit.v1.frontend.LLBBridge")
        service.unary("Ping", self.ping, pb.PingRequest)
        service.unary("Solve", self.solve, pb.SolveRequest)
        service.unary("Evaluate", self.evaluate, pb.EvaluateRequest)
        service.unary("Return", self.returned, pb.ReturnRequest)
        service.unary("Warn", self.warn, pb.WarnRequest)
        return service

    async def ping(self, _: pb.PingRequest, metadata: Any) -> pb.PongResponse:
        """Also proves that the build is there."""
        await self._job(metadata)
        return pong(self._worker())

    async def solve(self, asked: pb.SolveRequest, metadata: Any) -> pb.SolveResponse:
        """Raises BuildFailed."""
        job = await self._job(metadata)
        if asked.definition.ops:
            loaded = self._jobs.result(encoding.referred(asked.definition))
        else:
            loaded = await self._load(job, asked)
        known = self._jobs.keep(job, loaded)
        if asked.Evaluate:
            await self._builder.solve(loaded, self._sessions, job.progress)
        return pb.SolveResponse(result=encoding.result(loaded, known))

    async def _load(self, job: Job, asked: pb.SolveRequest) -> Loaded:
        frontends.check(asked.Frontend, asked.FrontendOpt)
        wish = Wish(
            ref=job.ref,
            session=job.session,
            attrs=dict(asked.FrontendOpt),
            granted=job.granted,
            inputs={
                name: self._jobs.result(encoding.referred(definition))
                for name, definition in asked.FrontendInputs.items()
            },
            cache_from=[CacheSpec(type=each.Type, attrs=dict(each.Attrs)) for each in asked.CacheImports],
        )
        return await self._builder.load(wish, self._sessions, job.progress)

    async def evaluate(self, asked: pb.EvaluateRequest, metadata: Any) -> pb.EvaluateResponse:
        """Raises BuildFailed."""
        job = await self._job(metadata)
        await self._builder.solve(self._jobs.result(asked.Ref), self._sessions, job.progress)
        return pb.EvaluateResponse()

    async def returned(self, asked: pb.ReturnRequest, metadata: Any) -> pb.ReturnResponse:
        """The build goes on with what the client chose."""
        job = await self._job(metadata)
        if not job.returned.done():
            if asked.HasField("error"):
                job.returned.set_exception(Returned(asked.error.message, asked.error.details))
            else:
                ids = encoding.ids(asked.result)
                job.returned.set_result(self._jobs.result(ids[0]) if ids else None)
        await asyncio.sleep(0)
        return pb.ReturnResponse()

    async def warn(self, _: pb.WarnRequest, metadata: Any) -> pb.WarnResponse:
        """A client's own warning: there is nobody else to tell."""
        await self._job(metadata)
        return pb.WarnResponse()

    async def _job(self, metadata: Metadata) -> Job:
        ref = metadata.get(_BUILD_ID)
        if not ref:
            raise BuildFailed("no buildid found in the context")
        return await self._jobs.get(ref)
