"""Records of builds: what is kept, and which of them are told."""

import json

import pytest

from knarr.build.errors import BuildFailed
from knarr.build.frontdoor import filtering, recording, tracing
from knarr.build.port import Exported, Told
from knarr.build.progress import Progress
from knarr.build.proto import control_pb2 as pb
from knarr.build.told import Output, Update, Vertex

SECOND = 10**9


def finished(
    ref: str, *, at: int = 100, took: int = 5, error: BaseException | None = None, **attrs: str
) -> recording.Recorded:
    """A record of a build."""
    asked = pb.SolveRequest(
        Ref=ref, FrontendAttrs={name.replace("__", ":"): value for name, value in attrs.items()}
    )
    updates: list[Update] = [
        Vertex(digest="sha256:1", name="one", started=1, completed=2, cached=True),
        Vertex(digest="sha256:2", name="two", started=1),
        Vertex(digest="sha256:2", name="two", started=1, completed=3),
        Output(vertex="sha256:2", moment=2, stream=1, data=b"text\n"),
    ]
    exported = Exported(
        response={"containerimage.digest": "sha256:3"},
        told=Told(
            attest=lambda: {"": [("https://slsa.dev/provenance/v0.2", b"{}")]},
            documents={"sha256:4": b"four"},
        ),
    )
    return recording.ended(
        recording.begun(asked, at * SECOND), updates, None if error else exported, error, (at + took) * SECOND
    )


def test_a_record_tells_what_became_of_a_build() -> None:
    done = finished("a", build_arg="1")
    record = done.record
    assert (record.numTotalSteps, record.numCachedSteps, record.numCompletedSteps) == (2, 1, 2)
    assert record.Result.Attestations[0].annotations["in-toto.io/predicate-type"].endswith("v0.2")
    assert done.documents == [b"four"]
    (message,) = recording.read_log(next(blob for blob in done.blobs if b"text" in blob))
    assert [each.msg for each in message.logs] == [b"text\n"]
    assert record.logs.size == len(done.blobs[0])


def test_a_trace_is_the_build_and_its_steps() -> None:
    done = finished("a", error=BuildFailed("it broke"))
    log = recording.read_log(done.blobs[0])
    one, two, whole = map(json.loads, tracing.trace(done.record, log).splitlines())
    assert [each["Name"] for each in (one, two, whole)] == ["one", "two", "build"]
    assert one["Parent"]["SpanID"] == two["Parent"]["SpanID"] == whole["SpanContext"]["SpanID"]
    assert one["EndTime"] == "1970-01-01T00:00:00.000000002Z"
    assert (two["Status"]["Code"], whole["Status"]) == (0, {"Code": 1, "Description": "it broke"})
    assert whole["StartTime"] == "1970-01-01T00:01:40Z"


def test_an_error_is_kept_with_its_details() -> None:
    failed = finished("b", error=BuildFailed("it broke", exit_code=3))
    assert failed.record.error.message == "it broke"
    assert failed.record.externalError.size
    assert filtering.status(failed.record) == "error"
    assert filtering.status(finished("c", error=KeyboardInterrupt()).record) == "canceled"


def test_a_log_is_read_as_it_was_written() -> None:
    progress = Progress()
    for number in range(600):
        progress.tell(Output(vertex="v", moment=1, stream=1, data=str(number).encode()))
    messages = list(recording.read_log(recording.log(progress.told)))
    assert len(messages) == 3
    assert [each.msg for message in messages for each in message.logs] == [
        str(n).encode() for n in range(600)
    ]


RECORDS = [
    finished("first", at=100, took=5).record,
    finished("second", at=200, took=60, error=BuildFailed("no")).record,
    finished("third", at=300, took=1, vcs__source="https://example.org/x.git").record,
]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ([], ["first", "second", "third"]),
        (["status==error"], ["second"]),
        (["status!=error"], ["first", "third"]),
        (["ref~=ir"], ["first", "third"]),
        (["repository~=example"], ["third"]),
        (["duration>=5s"], ["first", "second"]),
        (["duration<5s"], ["third"]),
        (["status==completed,duration<3s"], ["third"]),
        (["status==error", "ref==first"], ["first", "second"]),
        (["completedAt<1970-01-01T00:02:00Z"], ["first"]),
        (["startedAt>1h"], []),
    ],
)
def test_filters(filters: list[str], found: list[str]) -> None:
    assert [each.Ref for each in filtering.matching(RECORDS, filters, 0)] == found


def test_only_the_newest() -> None:
    assert [each.Ref for each in filtering.matching(RECORDS, [], 2)] == ["third", "second"]


@pytest.mark.parametrize(
    "text", ["status", "status>error", "nothing==1", "duration==5s", "startedAt>soon", "ref~=("]
)
def test_filters_that_are_not_understood(text: str) -> None:
    with pytest.raises(BuildFailed):
        filtering.matching(RECORDS, [text], 0)
