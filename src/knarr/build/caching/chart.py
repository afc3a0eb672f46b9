"""A solved build as a cache configuration: its keys, what each is built on, and the layers that may be offered. Pure.

The same build gives the same bytes: records and layers are in the order of the graph, and times are the build's own.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime

from knarr.build import keys
from knarr.build.caching.config import GIVES, Chain, Config, Layer, Link, Record, Result
from knarr.build.graph import Edge, Vertex, walk
from knarr.build.operations import Diff, Merge
from knarr.build.solver import Solved
from knarr.build.tree import Layer as TreeLayer
from knarr.build.tree import Tree
from knarr.model.digest import Digest

Look = Callable[[Vertex], Solved]


def chart(edges: Sequence[Edge | None], look: Look, offered: Collection[str], epoch: int) -> Config:
    """`look` tells what became of a vertex; `offered` are the blobs that a result may point at."""
    return _Chart(look, offered, moment(epoch)).made(edges)


def tops(trees: Sequence[Tree]) -> set[str]:
    """The blobs of the results themselves: what a cache of the mode `min` offers."""
    return {str(layer.blob.digest) for tree in trees for layer in tree.layers}


def every(edges: Sequence[Edge | None], look: Look) -> list[TreeLayer]:
    """All layers that a build made or found, each once: what a cache of the mode `max` offers."""
    found: dict[str, TreeLayer] = {}
    for vertex in walk(*edges):
        given = look(vertex).given
        if isinstance(given, Tree):
            found |= {str(layer.blob.digest): layer for layer in given.layers if not layer.absent}
    return list(found.values())


def steps_own(edges: Sequence[Edge | None], look: Look) -> set[str]:
    """The blobs that steps gave, unlike those of base images."""
    every_one = [look(vertex) for vertex in walk(*edges)]
    return {
        str(each.given.layers[-1].blob.digest)
        for each in every_one
        if each.keys and isinstance(each.given, Tree)
    }


def inline(config: Config, image: Sequence[str]) -> list[Record]:
    """The records for an image with these blobs: its layers are numbered by their place in it."""
    for record in config.records:
        results, record.layers = record.layers, []
        for result in results:
            blobs = _upwards(config.layers, result.layer)
            if blobs == list(image[: len(blobs)]):
                record.layers.append(Result(len(blobs) - 1, result.created_at))
            else:
                record.chains.append(Chain([image.index(blob) for blob in blobs], result.created_at))
    return config.records if any(record.layers or record.chains for record in config.records) else []


def moment(epoch: int) -> str:
    """Seconds since 1970 as RFC 3339 has them."""
    return datetime.fromtimestamp(epoch, UTC).isoformat().replace("+00:00", "Z")


class _Chart:
    def __init__(self, look: Look, offered: Collection[str], created: str):
        self._look = look
        self._offered = offered
        self._created = created
        self._config = Config([], [])
        self._layers: dict[tuple[str, int], int] = {}
        self._records: dict[str, int] = {}
        self._standing: dict[str, list[Link]] = {}

    def made(self, edges: Sequence[Edge | None]) -> Config:
        for vertex in walk(*edges):
            self._standing[vertex.digest] = self._stand(vertex, self._look(vertex))
        return self._config

    def _stand(self, vertex: Vertex, solved: Solved) -> list[Link]:
        """The records that stand for what the vertex gives."""
        inputs = [self._standing[edge.digest] for edge in vertex.inputs]
        if not solved.keys or not isinstance(solved.given, Tree):
            return [Link(self._other(vertex, solved, inputs))]
        results = self._results(solved.given)
        steps = [self._record(key, f"sha256:{key}", inputs, results) for key in solved.keys]
        diff = str(solved.given.layers[-1].diff)
        named = f"{diff} of {solved.keys[-1]}"
        return [Link(self._record(named, diff, [[Link(step, GIVES) for step in steps]], []))]

    def _other(self, vertex: Vertex, solved: Solved, inputs: list[list[Link]]) -> int:
        """A source, by its contents; a joining of trees."""
        if isinstance(vertex.operation, Merge | Diff):
            names = [self._look(edge.vertex).identity for edge in vertex.inputs]
            key = keys.key(vertex, names, None)
            return self._record(key, f"sha256:{key}", inputs, [])
        name = str(Digest.of(solved.identity.encode()))
        return self._record(name, name, [], [])

    def _record(self, name: str, digest: str, inputs: list[list[Link]], results: list[Result]) -> int:
        """The number of the record called `name`; one that is there stays as it is."""
        number = self._records.get(name)
        if number is None:
            number = self._records[name] = len(self._config.records)
            copies = [list(links) for links in inputs]
            self._config.records.append(Record(list(results), [], digest, copies))
        return number

    def _results(self, tree: Tree) -> list[Result]:
        blobs = [str(layer.blob.digest) for layer in tree.layers]
        if not blobs or not tree.whole or not set(blobs) <= set(self._offered):
            return []
        below = -1
        for blob in blobs:
            number = self._layers.get((blob, below))
            if number is None:
                number = self._layers[blob, below] = len(self._config.layers)
                self._config.layers.append(Layer(blob, below))
            below = number
        return [Result(below, self._created)]


def _upwards(layers: Sequence[Layer], number: int) -> list[str]:
    """The blobs of a layer and of all below it, lowest first."""
    found = []
    while number != -1:
        found.append(layers[number].blob)
        number = layers[number].parent
    return found[::-1]
