"""Build history: Control's ListenBuildHistory and UpdateBuildHistory, and the content service that gives what records name.

A record is written after its build was answered; who asks for records waits for those that are on their way.
"""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

from knarr.build.frontdoor import filtering, recording, tracing
from knarr.build.frontdoor.jobs import Job
from knarr.build.frontdoor.services import Service
from knarr.build.port import Exported, Records
from knarr.build.proto import content_pb2 as content
from knarr.build.proto import control_pb2 as pb
from knarr.grpc.services import Call
from knarr.grpc.status import RpcError
from knarr.grpc.status import Status as Code

_PIECE = 1 << 20
_Listening = Call[pb.BuildHistoryRequest]


class Annals:
    """Those of one daemon."""

    def __init__(self, records: Records):
        self._records = records
        self._running: dict[str, pb.BuildHistoryRecord] = {}
        self._writing: set[asyncio.Task[None]] = set()
        self._listeners: set[asyncio.Queue[pb.BuildHistoryEvent]] = set()

    def service(self) -> Service:
        """The content service: to be read only."""
        service = Service("containerd.services.content.v1.Content")
        service.unary("Info", self.info, content.InfoRequest)
        service.streaming("Read", self.read, content.ReadContentRequest)
        return service

    def begin(self, asked: pb.SolveRequest) -> None:
        """A build runs. Those that clients make for themselves are not recorded."""
        if asked.Internal:
            return
        record = self._running[asked.Ref] = recording.begun(asked, time.time_ns())
        self._tell(pb.BuildHistoryEvent(type=pb.STARTED, record=record))

    def end(self, job: Job, exported: Exported | None, error: BaseException | None) -> None:
        """It is over."""
        record = self._running.pop(job.ref, None)
        if record is None:
            return
        now = time.time_ns()

        async def write() -> None:
            done = recording.ended(record, job.progress.told, exported, error, now)
            await self._records.put(job.ref, now, done.record.SerializeToString(), done.blobs, done.documents)
            self._tell(pb.BuildHistoryEvent(type=pb.COMPLETE, record=done.record))

        task = asyncio.create_task(write(), name=f"record {job.ref}")
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _written(self) -> None:
        if self._writing:
            await asyncio.wait(set(self._writing))

    def _tell(self, event: pb.BuildHistoryEvent) -> None:
        for each in self._listeners:
            each.put_nowait(event)

    async def listen(self, stream: _Listening) -> None:
        """Builds that run, then those that are over, then what comes."""
        asked = await stream.receive() or pb.BuildHistoryRequest()
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        await stream.send_headers([("buildkit-current-timestamp", now)])
        news: asyncio.Queue[pb.BuildHistoryEvent] = asyncio.Queue()
        self._listeners.add(news)
        try:
            await self._written()
            for record in list(self._running.values()):
                if asked.Ref in ("", record.Ref):
                    await stream.send(pb.BuildHistoryEvent(type=pb.STARTED, record=record))
            if not asked.ActiveOnly:
                for record in filtering.matching(await self._all(asked.Ref), asked.Filter, asked.Limit):
                    await stream.send(pb.BuildHistoryEvent(type=pb.COMPLETE, record=record))
            while not asked.EarlyExit:
                event = await news.get()
                if asked.Ref in ("", event.record.Ref):
                    await stream.send(event)
        finally:
            self._listeners.discard(news)

    async def _all(self, ref: str) -> list[pb.BuildHistoryRecord]:
        found = []
        for data, pinned in await self._records.all(ref):
            record = pb.BuildHistoryRecord.FromString(data)
            record.pinned = pinned
            found.append(record)
        return found

    async def update(self, asked: pb.UpdateBuildHistoryRequest, _: Any) -> pb.UpdateBuildHistoryResponse:
        """Pins a record, lets it go, or waits until it is whole: its trace is made when somebody asks for it."""
        await self._written()
        if asked.Delete:
            known = await self._records.remove(asked.Ref)
            event = pb.BuildHistoryEvent(type=pb.DELETED, record=pb.BuildHistoryRecord(Ref=asked.Ref))
            self._tell(event)
        elif asked.Finalize:
            known = await self._traced(asked.Ref)
        else:
            known = await self._records.pin(asked.Ref, asked.Pinned)
        if not known:
            raise RpcError(Code.UNKNOWN, f"failed to retrieve ref {asked.Ref}: file does not exist")
        return pb.UpdateBuildHistoryResponse()

    async def _traced(self, ref: str) -> bool:
        for record in await self._all(ref) if ref else ():
            if not record.HasField("trace"):
                data = tracing.trace(record, await self._log(record))
                record.trace.CopyFrom(recording.described(data, tracing.TRACE))
                await self._records.add(ref, record.SerializeToString(), data)
            return True
        return ref in self._running

    async def _log(self, record: pb.BuildHistoryRecord) -> list[pb.StatusResponse]:
        data = bytearray()
        while piece := await self._records.read(record.logs.digest, len(data), _PIECE):
            data += piece
        return list(recording.read_log(bytes(data)))

    async def replay(self, ref: str, stream: Call[pb.StatusRequest]) -> bool:
        """What a build told that is over; False if there is no record of it."""
        await self._written()
        for record in await self._all(ref) if ref else ():
            for message in await self._log(record):
                await stream.send(message)
            return True
        return False

    async def info(self, asked: content.InfoRequest, _: Any) -> content.InfoResponse:
        """Raises NotFound."""
        size = await self._records.size(asked.digest)
        return content.InfoResponse(info=content.Info(digest=asked.digest, size=size))

    async def read(self, stream: Call[content.ReadContentRequest]) -> None:
        """A blob, or a part of it. Raises NotFound."""
        asked = await stream.receive() or content.ReadContentRequest()
        size = await self._records.size(asked.digest)
        end = min(size, asked.offset + asked.size) if asked.size else size
        offset = asked.offset
        while offset < end:
            data = await self._records.read(asked.digest, offset, min(_PIECE, end - offset))
            await stream.send(content.ReadContentResponse(offset=offset, data=data))
            offset += len(data)
