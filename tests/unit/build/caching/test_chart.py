"""A build's cache, taken to a bench that has nothing: no step runs there, whether its layers came along or only their names."""

import asyncio
import json

from knarr.build.bench import Facts, Hit
from knarr.build.caching.chart import chart, every, inline, tops
from knarr.build.caching.config import Config, Known, dump, read, read_inline
from knarr.build.flights import Flights
from knarr.build.graph import Edge, Vertex, vertex
from knarr.build.operations import Merge
from knarr.build.progress import Progress
from knarr.build.solver import Solve
from knarr.build.tree import Layer, Tree
from knarr.model.descriptor import Descriptor
from tests.unit.build.test_solver import Books, Nobody, copy, run


class Elsewhere(Books):
    """A bench that has imported a cache."""

    def __init__(self, keys: dict[str, Known]) -> None:
        super().__init__()
        self.keys = keys

    async def imported(self, key: str, base: Tree, facts: Facts) -> Hit | None:
        known = self.keys.get(key)
        if known is None:
            return None
        blob = known.blob or Descriptor("", known.diff, 0)
        return Hit(Tree((*base.layers, Layer(known.diff, blob, 1, absent=known.blob is None))), known.exact)


def solving(bench: Books) -> Solve:
    return Solve(
        bench=bench,
        flights=Flights(),
        slots=asyncio.Semaphore(4),
        sessions=Nobody(),
        session="s",
        progress=Progress(),
    )


async def built(result: Vertex) -> tuple[Solve, Tree]:
    """On a bench of its own."""
    solve = solving(Books())
    (tree,) = await solve.results([Edge(result)])
    return solve, tree


def carried(solve: Solve, result: Vertex, tree: Tree, *, all_: bool) -> tuple[dict[str, Known], Config]:
    """Its cache, read back from its bytes."""
    layers = every([Edge(result)], solve.solved) if all_ else list(tree.layers)
    made = chart([Edge(result)], solve.solved, {str(layer.blob.digest) for layer in layers}, 5)
    offered = {str(layer.blob.digest): layer.blob for layer in layers}
    return read(dump(made), offered), made


def two_stages(*, last: str = "last") -> Vertex:
    """A stage that builds, and a result that takes a file of it."""
    made = run("make", on=run("prepare"))
    return run(last, on=copy(made, "/out", on=run("base")))


async def test_everything_is_carried() -> None:
    result = two_stages()
    solve, tree = await built(result)
    keys, made = carried(solve, result, tree, all_=True)
    bench = Elsewhere(keys)
    assert await solving(bench).results([Edge(result)]) == [tree]
    assert bench.did == []
    assert {str(layer.blob.digest) for layer in tree.layers} < {layer.blob for layer in made.layers}


async def test_names_are_enough_for_what_is_not_in_the_result() -> None:
    result = two_stages()
    solve, tree = await built(result)
    keys, made = carried(solve, result, tree, all_=False)
    assert {layer.blob for layer in made.layers} == {str(layer.blob.digest) for layer in tree.layers}
    bench = Elsewhere(keys)
    assert await solving(bench).results([Edge(result)]) == [tree]
    assert bench.did == []


async def test_a_stage_known_by_name_is_made_when_its_contents_are_needed() -> None:
    solve, tree = await built(two_stages())
    keys, _ = carried(solve, two_stages(), tree, all_=False)
    made = run("make", on=run("prepare"))
    changed = copy(made, "/other", on=run("base"))
    bench = Elsewhere(keys)
    (found,) = await solving(bench).results([Edge(changed)])
    assert bench.did == ["prepare", "make", "act on 2"]
    assert found.whole


async def test_a_result_known_by_name_is_made() -> None:
    solve, tree = await built(two_stages())
    keys, _ = carried(solve, two_stages(), tree, all_=False)
    made = run("make", on=run("prepare"))
    bench = Elsewhere(keys)
    (found,) = await solving(bench).results([Edge(made)])
    assert bench.did == ["prepare", "make"]
    assert found.whole


async def test_a_linked_copy_is_known_by_name_too() -> None:
    def graph(last: str) -> Vertex:
        joined = vertex(Merge(), (Edge(run("base")), Edge(copy(run("make"), "/out"))))
        return run(last, on=joined)

    solve, tree = await built(graph("last"))
    records, _ = carried(solve, graph("last"), tree, all_=True)
    assert await solving(Elsewhere(records)).results([Edge(graph("last"))]) == [tree]
    bench = Elsewhere({key: known._replace(blob=None) for key, known in records.items()})
    await solving(bench).results([Edge(graph("other"))])
    assert bench.did == ["base", "make", "act on 0", "other"] or bench.did == [
        "make",
        "base",
        "act on 0",
        "other",
    ]


async def test_an_image_carries_its_own_build() -> None:
    result = two_stages()
    solve, tree = await built(result)
    made = chart([Edge(result)], solve.solved, tops([tree]), 5)
    layers = [
        layer.blob._replace(annotations={"containerd.io/uncompressed": str(layer.diff)})
        for layer in tree.layers
    ]
    records = inline(made, [str(layer.digest) for layer in layers])
    bench = Elsewhere(read_inline(dump(records), layers))
    (found,) = await solving(bench).results([Edge(result)])
    assert (found.identity, bench.did) == (tree.identity, [])


async def test_the_same_build_is_charted_alike() -> None:
    first, second = [await built(two_stages()) for _ in range(2)]
    texts = [dump(carried(solve, two_stages(), tree, all_=True)[1]) for solve, tree in (first, second)]
    assert texts[0] == texts[1]
    assert json.loads(texts[0])["records"]


async def test_keys_that_were_found_are_carried_on() -> None:
    """A build of nothing but cached steps exports what the first one did."""
    result = two_stages()
    bench = Books()
    texts = []
    for _ in range(2):
        solve = solving(bench)
        (tree,) = await solve.results([Edge(result)])
        texts.append(dump(carried(solve, result, tree, all_=True)[1]))
    assert texts[0] == texts[1]
