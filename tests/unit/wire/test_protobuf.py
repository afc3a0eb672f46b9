"""Our hand and the library's write and read the same messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from knarr.build.proto import control_pb2 as pb
from knarr.wire import protobuf
from knarr.wire.protobuf import Fields, Malformed

NUMBERS = some.integers(-(1 << 63), (1 << 63) - 1)
TEXTS = some.text(some.characters(exclude_categories=["Cs"]))


@given(some.lists(TEXTS), NUMBERS, some.binary(), some.booleans())
def test_what_is_written_here_is_read_there(texts: list[str], count: int, data: bytes, flag: bool) -> None:
    vertex = b"".join(protobuf.message(2, each.encode()) for each in texts) + protobuf.number(4, flag)
    status = protobuf.text(3, "n") + protobuf.number(4, count)
    log = protobuf.data(4, data)
    body = protobuf.message(1, vertex) + protobuf.message(2, status) + protobuf.message(3, log)
    found = pb.StatusResponse.FromString(body)
    assert list(found.vertexes[0].inputs) == texts
    assert (found.vertexes[0].cached, found.statuses[0].current, found.logs[0].msg) == (flag, count, data)


@given(some.lists(TEXTS), NUMBERS, some.binary(), some.booleans())
def test_what_is_written_there_is_read_here(texts: list[str], count: int, data: bytes, flag: bool) -> None:
    body = pb.StatusResponse(
        vertexes=[pb.Vertex(inputs=texts, cached=flag)],
        statuses=[pb.VertexStatus(name="n", current=count)],
        logs=[pb.VertexLog(msg=data)],
    ).SerializeToString()
    found = Fields(body)
    vertex, status, log = (found.messages(field)[0] for field in (1, 2, 3))
    assert [each.decode() for each in vertex.all(2)] == texts
    assert (bool(vertex.number(4)), status.text(3), status.number(4), log.data(4)) == (flag, "n", count, data)
    assert not found.has(4)


@given(some.dictionaries(TEXTS, TEXTS))
def test_maps(values: dict[str, str]) -> None:
    assert dict(pb.SolveRequest.FromString(protobuf.pairs(7, values)).FrontendAttrs) == values
    body = pb.SolveRequest(FrontendAttrs=values).SerializeToString()
    assert Fields(body).pairs(7) == values


@given(some.binary())
def test_any_bytes_are_a_message_or_none(body: bytes) -> None:
    try:
        Fields(body).messages(1)
    except Malformed:
        pass


@pytest.mark.parametrize("body", [b"\x80", b"\x0a\x05abc", b"\x0d\x01", b"\x0b", b"\x08" + b"\xff" * 11])
def test_what_is_no_message(body: bytes) -> None:
    with pytest.raises(Malformed):
        Fields(body)


def test_the_last_one_counts_and_what_has_another_kind_does_not() -> None:
    body = protobuf.number(1, 2) + protobuf.number(1, 3) + protobuf.text(2, "x")
    found = Fields(body)
    assert (found.number(1), found.number(2), found.data(1), found.text(2)) == (3, 0, b"", "x")
