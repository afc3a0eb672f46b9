"""One build's record: what was asked for, what became of it, and the blobs that tell more: its log, its provenance, its error."""

import hashlib
import json
import struct
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from google.rpc.status_pb2 import Status as RpcStatus

from knarr.build.attest.statement import PAYLOAD, PREDICATE
from knarr.build.frontdoor import encoding, failures
from knarr.build.port import Exported
from knarr.build.proto import control_pb2 as pb
from knarr.build.told import Update, Vertex, Warned
from knarr.model.errors import KnarrError

STATUS = "application/vnd.buildkit.status.v0"
_ERROR = "application/vnd.googeapis.google.rpc.status+proto"
_BUNCH = 256
_SIZE = struct.Struct("<I")
_CANCELLED, _UNKNOWN = 1, 2


@dataclass(slots=True)
class Recorded:
    """A finished record, with the blobs that it names: its own, and documents of what was made."""

    record: pb.BuildHistoryRecord
    blobs: list[bytes] = field(default_factory=list)
    documents: list[bytes] = field(default_factory=list)

    def keep(
        self, data: bytes, media_type: str, annotations: Mapping[str, str] | None = None
    ) -> pb.Descriptor:
        """A blob of the record's."""
        self.blobs.append(data)
        return described(data, media_type, annotations)


def described(data: bytes, media_type: str, annotations: Mapping[str, str] | None = None) -> pb.Descriptor:
    """A blob by its name."""
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return pb.Descriptor(
        media_type=media_type, digest=digest, size=len(data), annotations=dict(annotations or {})
    )


def begun(asked: pb.SolveRequest, now: int) -> pb.BuildHistoryRecord:
    """Of a build that runs."""
    exporters = list(asked.Exporters)
    if not exporters and asked.ExporterDeprecated:
        exporters = [pb.Exporter(Type=asked.ExporterDeprecated, Attrs=dict(asked.ExporterAttrsDeprecated))]
    return pb.BuildHistoryRecord(
        Ref=asked.Ref,
        Frontend=asked.Frontend,
        FrontendAttrs=dict(asked.FrontendAttrs),
        Exporters=exporters,
        CreatedAt=encoding.moment(now),
    )


def ended(
    record: pb.BuildHistoryRecord,
    updates: Sequence[Update],
    exported: Exported | None,
    error: BaseException | None,
    now: int,
) -> Recorded:
    """The same, complete."""
    found = Recorded(pb.BuildHistoryRecord())
    found.record.CopyFrom(record)
    found.record.CompletedAt.CopyFrom(encoding.moment(now) or record.CreatedAt)
    _count(found.record, updates)
    found.record.logs.CopyFrom(found.keep(log(updates), STATUS))
    if exported is not None:
        found.record.ExporterResponse.update(exported.response)
        _results(found, exported)
    if error is not None:
        _error(found, error)
    return found


def _count(record: pb.BuildHistoryRecord, updates: Sequence[Update]) -> None:
    last = {each.digest: each for each in updates if isinstance(each, Vertex)}
    record.numTotalSteps = len(last)
    record.numCachedSteps = sum(each.cached for each in last.values())
    record.numCompletedSteps = sum(bool(each.completed) for each in last.values())
    record.numWarnings = sum(isinstance(each, Warned) for each in updates)


def _results(found: Recorded, exported: Exported) -> None:
    for platform, attestations in exported.told.attest().items():
        info = found.record.Results[platform] if platform else found.record.Result
        for kind, data in attestations:
            info.Attestations.append(found.keep(data, PAYLOAD, {PREDICATE: kind}))
    for number, told in enumerate(exported.each):
        text = told.get("containerimage.descriptor")
        if text:
            value = json.loads(b64decode(text))
            described = pb.Descriptor(
                media_type=value["mediaType"],
                digest=value["digest"],
                size=value["size"],
                annotations=value.get("annotations") or {},
            )
            found.record.Result.Results[number].CopyFrom(described)
            if not number:
                found.record.Result.ResultDeprecated.CopyFrom(described)
    found.documents += exported.told.documents.values()


def _error(found: Recorded, error: BaseException) -> None:
    status = RpcStatus(code=_CANCELLED, message="context canceled")
    if isinstance(error, KnarrError):
        failure = failures.failure(error)
        status = RpcStatus(code=failure.status.value, message=failure.message, details=failure.details)
    elif isinstance(error, Exception):
        status = RpcStatus(code=_UNKNOWN, message=str(error) or type(error).__name__)
    found.record.error.CopyFrom(RpcStatus(code=status.code, message=status.message))
    found.record.externalError.CopyFrom(found.keep(status.SerializeToString(), _ERROR))


def log(updates: Sequence[Update]) -> bytes:
    """All that a build told, as messages of its Status stream, each behind its size."""
    out = bytearray()
    for start in range(0, len(updates), _BUNCH):
        data = encoding.response(updates[start : start + _BUNCH]).SerializeToString()
        out += _SIZE.pack(len(data)) + data
    return bytes(out)


def read_log(data: bytes) -> Iterator[pb.StatusResponse]:
    """The messages of a log."""
    offset = 0
    while offset + _SIZE.size <= len(data):
        (size,) = _SIZE.unpack_from(data, offset)
        offset += _SIZE.size
        yield pb.StatusResponse.FromString(data[offset : offset + size])
        offset += size
