"""Values of the build room as messages of BuildKit's protocol, and back."""

import hashlib
from collections.abc import Iterable

from google.protobuf.timestamp_pb2 import Timestamp

from knarr.build.errors import BuildFailed, Spot
from knarr.build.frontdoor.failures import clean
from knarr.build.port import Loaded
from knarr.build.proto import control_pb2 as control
from knarr.build.proto.gateway_pb2 import Ref, RefMap, Result
from knarr.build.proto.ops_pb2 import Definition, Input, Op, OpMetadata, Position, Range, SourceInfo, SourceOp
from knarr.build.pruning import Record
from knarr.build.told import Output, Status, Update, Vertex, Warned

REFERENCE = "knarr-ref://"
_OPS = 2


def response(updates: Iterable[Update]) -> control.StatusResponse:
    """What happened, as the Status stream has it."""
    reply = control.StatusResponse()
    for each in updates:
        match each:
            case Vertex():
                reply.vertexes.append(_vertex(each))
            case Status():
                reply.statuses.append(_status(each))
            case Output():
                reply.logs.append(
                    control.VertexLog(
                        vertex=each.vertex, timestamp=moment(each.moment), stream=each.stream, msg=each.data
                    )
                )
            case Warned():
                reply.warnings.append(_warning(each))
    return reply


def usage(record: Record) -> control.UsageRecord:
    """What the cache keeps."""
    return control.UsageRecord(
        ID=record.id,
        Mutable=record.mutable,
        InUse=record.in_use,
        Size=record.size,
        CreatedAt=moment(record.created),
        LastUsedAt=moment(record.used),
        UsageCount=record.uses,
        Description=record.description,
        RecordType=record.kind,
        Shared=record.shared,
        Parents=record.parents,
    )


def _vertex(vertex: Vertex) -> control.Vertex:
    return control.Vertex(
        digest=vertex.digest,
        inputs=vertex.inputs,
        name=clean(vertex.name),
        cached=vertex.cached,
        started=moment(vertex.started),
        completed=moment(vertex.completed),
        error=clean(vertex.error),
    )


def _status(status: Status) -> control.VertexStatus:
    return control.VertexStatus(
        ID=status.id,
        vertex=status.vertex,
        name=clean(status.name),
        current=status.current,
        total=status.total,
        timestamp=moment(status.moment),
        started=moment(status.started),
        completed=moment(status.completed),
    )


def _warning(warned: Warned) -> control.VertexWarning:
    return control.VertexWarning(
        vertex=warned.vertex,
        level=warned.level,
        short=clean(warned.short).encode(),
        detail=[clean(line).encode() for line in warned.detail],
        url=warned.url,
        info=SourceInfo(filename=warned.filename, data=warned.source, language="Dockerfile"),
        ranges=[_range(spot) for spot in warned.ranges],
    )


def _range(spot: Spot) -> Range:
    (first, column), (last, end) = spot
    return Range(start=Position(line=first, character=column), end=Position(line=last, character=end))


def moment(ns: int) -> Timestamp | None:
    """Nanoseconds since 1970; None for 0, which stands for never."""
    return Timestamp(seconds=ns // 10**9, nanos=ns % 10**9) if ns else None


def reference(known: str) -> Ref:
    """A result by its id. Clients pass its definition on to other builds without looking into it."""
    source = Op(source=SourceOp(identifier=f"{REFERENCE}{known}")).SerializeToString()
    digest = f"sha256:{hashlib.sha256(source).hexdigest()}"
    end = Op(inputs=[Input(digest=digest)]).SerializeToString()
    # To buildx a definition without metadata is none.
    definition = Definition(ops=[source, end], metadata={digest: OpMetadata()})
    return Ref(id=known, definition=definition)


def referred(definition: Definition) -> str:
    """The id in a definition of ours. Raises BuildFailed for any other."""
    names = [Op.FromString(data).source.identifier for data in definition.ops]
    found = [name.removeprefix(REFERENCE) for name in names if name.startswith(REFERENCE)]
    if len(found) != 1 or len(names) > _OPS:
        raise BuildFailed("raw LLB definitions are not supported by this builder")
    return found[0]


def result(loaded: Loaded, known: str) -> Result:
    """What the frontend returns: one result, or one a platform."""
    reply = Result(metadata=dict(loaded.metadata))
    if len(loaded.platforms) == 1 and not loaded.platforms[0]:
        reply.ref.CopyFrom(reference(known))
    elif loaded.platforms:
        reply.refs.CopyFrom(RefMap(refs={name: reference(known) for name in loaded.platforms}))
    else:
        reply.ref.CopyFrom(Ref())
    return reply


def ids(reply: Result) -> list[str]:
    """The ids of the results in a client's Return."""
    match reply.WhichOneof("result"):
        case "ref":
            found = [reply.ref.id]
        case "refs":
            found = [ref.id for ref in reply.refs.refs.values()]
        case "refDeprecated":
            found = [reply.refDeprecated]
        case _:
            found = list(reply.refsDeprecated.refs.values())
    return [each for each in found if each]
