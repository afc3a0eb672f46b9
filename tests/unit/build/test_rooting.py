"""Files as roots: what is put before which steps, and that nothing else is touched."""

from knarr.build import graph
from knarr.build.graph import Edge, walk
from knarr.build.operations import Action, Copy, Exec, File, MakeDirectory, Merge, Mount, Source
from knarr.build.rooting import rooted

LOCAL = graph.vertex(Source("local://o"))
IMAGE = graph.vertex(Source("docker-image://docker.io/library/a:latest"))
COPY = File((Action(Copy("/a", "/b"), 0, 1, 0),))


def test_what_is_only_read_from_stays() -> None:
    made = Edge(graph.vertex(COPY, (Edge(IMAGE), Edge(LOCAL))))
    step = Exec(args=("x",), env=(), cwd="/", mounts=(Mount("/", input=0, output=0), Mount("/m", input=1)))
    ran = Edge(graph.vertex(step, (made, Edge(LOCAL))))
    assert rooted(ran) == ran
    assert rooted(None) is None
    assert rooted(Edge(IMAGE)) == Edge(IMAGE)


def test_what_is_worked_on_is_copied_first() -> None:
    below = Edge(graph.vertex(COPY, (Edge(LOCAL), Edge(LOCAL))))
    above = Edge(graph.vertex(File((Action(MakeDirectory("/d", 0o755), 0, -1, 0),)), (below,)))
    found = rooted(above)
    assert found is not None
    source, root, copied, made = walk(found)
    assert source == LOCAL
    assert [edge.vertex for edge in copied.inputs] == [root, LOCAL]
    assert root.inputs == (Edge(LOCAL),)
    assert root.about.name == "local source for o"
    assert (copied.operation, made.operation) == (COPY, above.vertex.operation)
    assert rooted(found) == found


def test_a_result_and_what_is_merged_are_trees() -> None:
    alone = rooted(Edge(LOCAL))
    assert alone is not None
    assert isinstance(alone.vertex.operation, File)
    joined = rooted(Edge(graph.vertex(Merge(), (Edge(IMAGE), Edge(LOCAL)))))
    assert joined is not None
    assert joined.vertex.inputs == (Edge(IMAGE), alone)
