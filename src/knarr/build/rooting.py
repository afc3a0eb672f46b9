"""Clients' files and fetched ones as roots: a graph in which a step works on a source of files gets a copy of them before it.

What a solver's steps work on are trees of layers, what a source gives is an index of files. Pure.
"""

from knarr.build import graph
from knarr.build.graph import About, Edge, Vertex, walk
from knarr.build.operations import Action, Copy, Diff, Exec, File, Merge, Source

_COPY = File((Action(Copy("/", "/", contents_only=True, create_dest=True), secondary=0, output=0),))


def rooted(edge: Edge | None) -> Edge | None:
    """The same result, by a graph whose roots are all trees."""
    if edge is None:
        return None
    made: dict[str, Vertex] = {}
    for vertex in walk(edge):
        roots = _roots(vertex)
        inputs = tuple(
            _tree(each, made) if at in roots else _now(each, made) for at, each in enumerate(vertex.inputs)
        )
        if inputs != vertex.inputs:
            made[vertex.digest] = graph.vertex(vertex.operation, inputs, vertex.platform, vertex.about)
    return _tree(edge, made)


def _roots(vertex: Vertex) -> frozenset[int]:
    """Which inputs are worked on, not only read from."""
    match vertex.operation:
        case File(actions):
            return frozenset({actions[0].input})
        case Exec() as command:
            return frozenset({command.mounts[0].input})
        case Merge() | Diff():
            return frozenset(range(len(vertex.inputs)))
        case Source():
            return frozenset()


def _now(edge: Edge, made: dict[str, Vertex]) -> Edge:
    return edge._replace(vertex=made.get(edge.vertex.digest, edge.vertex))


def _tree(edge: Edge, made: dict[str, Vertex]) -> Edge:
    operation = edge.vertex.operation
    if not isinstance(operation, Source) or operation.scheme in ("docker-image", "oci-layout"):
        return _now(edge, made)
    about = About(f"{operation.scheme} source for {operation.location}", lines=edge.vertex.about.lines)
    return Edge(graph.vertex(_COPY, (edge,), None, about))
