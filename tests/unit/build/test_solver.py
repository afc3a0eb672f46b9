"""The solver on a bench that only keeps books: what runs, what is cached, what runs once."""

import asyncio
from collections.abc import Callable, Sequence
from stat import S_IFREG

import pytest

from knarr.build.bench import Facts, Given, Hit
from knarr.build.context.entries import Entry, Index
from knarr.build.errors import BuildFailed
from knarr.build.explain import Earlier, Parts
from knarr.build.flights import Flights
from knarr.build.graph import About, Edge, Resources, Vertex, vertex
from knarr.build.operations import Act, Action, Copy, Diff, Exec, File, MakeDirectory, Merge, Mount, Source
from knarr.build.port import Session, Sessions
from knarr.build.progress import Progress, Step
from knarr.build.solver import Solve
from knarr.build.told import Vertex as Told
from knarr.build.told import Warned
from knarr.build.tree import Layer, Tree
from knarr.model.descriptor import OCI_LAYER_GZIP, Descriptor
from knarr.model.digest import Digest
from knarr.model.errors import NotFound
from knarr.model.platform import Platform


def layer(name: str) -> Layer:
    digest = Digest.of(name.encode())
    return Layer(digest, Descriptor(OCI_LAYER_GZIP, digest, 1), 1)


class Books:
    """A bench whose trees are made of words."""

    def __init__(self) -> None:
        self.epoch: int | None = None
        self.cache: dict[str, Hit] = {}
        self.did: list[str] = []
        self.kept: list[Parts] = []
        self.asked: list[Parts] = []
        self.gate: asyncio.Event | None = None

    async def image(self, source: Source, platform: Platform | None, step: Step) -> Tree:
        return Tree((layer(source.location),))

    async def remote(self, source: Source, step: Step) -> Index:
        raise AssertionError(source)

    async def cached(self, key: str, base: Tree) -> Hit | None:
        return self.cache.get(key)

    async def imported(self, key: str, base: Tree, facts: Facts) -> Hit | None:
        return None

    async def keep(self, key: str, tree: Tree, facts: Facts) -> None:
        self.cache[key] = Hit(tree, facts.exact)
        if facts.parts is not None:
            self.kept.insert(0, facts.parts)

    async def earlier(self, key: str, parts: Parts) -> Earlier:
        self.asked.append(parts)
        return Earlier(known=False, others=self.kept)

    async def listing(self, tree: Tree, path: str) -> Index:
        if path == "/missing":
            raise NotFound(path)
        name = path.strip("/")
        return {name: Entry(path=name, mode=S_IFREG | 0o644, digest=f"{name} of {len(tree.layers)} layers")}

    async def act(self, base: Tree, acts: Sequence[tuple[Act, Given | None]]) -> Tree:
        self.did.append(f"act on {len(base.layers)}")
        return Tree((*base.layers, layer(f"{base.identity} {acts}")))

    async def run(
        self,
        command: Exec,
        inputs: Sequence[Given],
        resources: Resources | None,
        step: Step,
        sessions: Sessions,
    ) -> Tree:
        self.did.append(" ".join(command.args))
        if self.gate is not None:
            await self.gate.wait()
        if command.args[0] == "false":
            raise BuildFailed("process failed", exit_code=1)
        base = inputs[0]
        assert isinstance(base, Tree)
        return Tree((*base.layers, layer(f"{base.identity} {command.args}")))


class Nobody:
    async def get(self, name: str) -> Session:
        raise AssertionError(f"nobody lends {name}")


FROM = vertex(Source("docker-image://base"), about=About(name="FROM base"))


def run(*args: str, on: Vertex = FROM, fresh: bool = False) -> Vertex:
    command = Exec(args, (), "/", (Mount("/", input=0, output=0),))
    return vertex(command, (Edge(on),), about=About(name=f"RUN {' '.join(args)}", ignore_cache=fresh))


def copy(source: Vertex, path: str = "/f", on: Vertex | None = None) -> Vertex:
    inputs = (Edge(source),) if on is None else (Edge(on), Edge(source))
    act = Action(Copy(path, "/"), -1 if on is None else 0, len(inputs) - 1, 0)
    return vertex(File((act,)), inputs, about=About(name="COPY"))


async def solve(
    bench: Books, *results: Vertex, flights: Flights | None = None, progress: Progress | None = None
) -> list[Tree]:
    solving = Solve(
        bench=bench,
        flights=flights or Flights(),
        slots=asyncio.Semaphore(4),
        sessions=Nobody(),
        session="s",
        progress=progress or Progress(),
        explain=progress is not None,
    )
    return await solving.results([Edge(each) for each in results])


async def until(true: Callable[[], bool]) -> None:
    """Lets the others run until something holds."""
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came")


async def test_each_step_runs_once_and_then_never() -> None:
    bench = Books()
    last = run("two", on=run("one"))
    first = await solve(bench, last, last)
    assert bench.did == ["one", "two"]
    assert await solve(bench, last) == [first[0]]
    assert bench.did == ["one", "two"]


async def test_what_nobody_needs_does_not_run() -> None:
    bench = Books()
    run("unneeded")
    await solve(bench, run("needed"))
    assert bench.did == ["needed"]


async def test_without_the_cache_it_runs_again() -> None:
    bench = Books()
    await solve(bench, run("one"))
    await solve(bench, run("one", fresh=True))
    assert bench.did == ["one", "one"]


async def test_a_copy_depends_on_the_files_it_takes() -> None:
    """The listing names a file by the number of layers: what else the stage holds is all the same."""
    bench = Books()
    await solve(bench, copy(run("one")))
    await solve(bench, copy(run("another")))
    assert bench.did == ["one", "act on 0", "another"]


async def test_independent_steps_run_at_the_same_time() -> None:
    bench = Books()
    bench.gate = asyncio.Event()
    solving = asyncio.create_task(solve(bench, run("one"), run("two")))
    await until(lambda: len(bench.did) == 2)
    bench.gate.set()
    await solving
    assert sorted(bench.did) == ["one", "two"]


async def test_equal_steps_of_two_builds_run_once() -> None:
    bench, flights = Books(), Flights()
    bench.gate = asyncio.Event()
    both = [asyncio.create_task(solve(bench, run("one"), flights=flights)) for _ in range(2)]
    await until(lambda: bool(bench.did))
    for _ in range(20):
        await asyncio.sleep(0)
    bench.gate.set()
    first, second = await asyncio.gather(*both)
    assert first == second
    assert bench.did == ["one"]


async def test_a_cancelled_build_does_not_take_the_others_step() -> None:
    bench, flights = Books(), Flights()
    bench.gate = asyncio.Event()
    first, second = (asyncio.create_task(solve(bench, run("one"), flights=flights)) for _ in range(2))
    await until(lambda: bool(bench.did))
    for _ in range(20):
        await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    bench.gate.set()
    await second
    await asyncio.wait([first])
    assert first.cancelled()
    assert bench.did == ["one"]


async def test_a_cancelled_build_stays_while_its_work_is_used() -> None:
    bench, flights = Books(), Flights()
    bench.gate = asyncio.Event()
    first, second = (asyncio.create_task(solve(bench, run("one"), flights=flights)) for _ in range(2))
    await until(lambda: bool(bench.did))
    for _ in range(20):
        await asyncio.sleep(0)
    first.cancel()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not first.done()
    second.cancel()
    await asyncio.wait([first, second])
    assert [first.cancelled(), second.cancelled()] == [True, True]


async def test_work_that_is_being_cancelled_takes_nobody_in() -> None:
    flights, began, leave = Flights(), asyncio.Event(), asyncio.Event()

    async def slow() -> Tree:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            await leave.wait()
        raise AssertionError

    async def quick() -> Tree:
        return Tree()

    first = asyncio.create_task(flights.do("key", slow))
    await began.wait()
    first.cancel()
    await asyncio.sleep(0)
    assert await flights.do("key", quick) == Tree()
    leave.set()
    await asyncio.wait([first])
    assert first.cancelled()


async def test_a_failure_stops_the_rest() -> None:
    bench = Books()
    bench.gate = asyncio.Event()
    solving = asyncio.create_task(solve(bench, run("false"), run("slow")))
    await until(lambda: len(bench.did) == 2)
    bench.gate.set()
    with pytest.raises(BuildFailed, match="process failed"):
        await solving
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("build")]


async def test_merge_lays_layers_on_one_another() -> None:
    bench = Books()
    linked = copy(FROM)
    merged = vertex(Merge(), (Edge(run("one")), Edge(linked)))
    (tree,) = await solve(bench, merged)
    assert len(tree.layers) == 3
    assert tree.layers[-1] == (await solve(bench, linked))[0].layers[-1]


async def test_diff_is_what_is_above() -> None:
    bench = Books()
    upper = run("one")
    (tree,) = await solve(bench, vertex(Diff(0, 1), (Edge(FROM), Edge(upper))))
    assert tree.layers == (await solve(bench, upper))[0].layers[1:]
    with pytest.raises(BuildFailed, match="not built on one another"):
        await solve(bench, vertex(Diff(0, 1), (Edge(upper), Edge(FROM))))


async def test_what_is_not_there_is_named() -> None:
    with pytest.raises(BuildFailed, match=r"^lstat /missing: no such file or directory$"):
        await solve(Books(), copy(FROM, "/missing"))


async def test_a_directory_is_made_on_the_base() -> None:
    bench = Books()
    made = vertex(File((Action(MakeDirectory("/w", 0o755), 0, -1, 0),)), (Edge(FROM),))
    (tree,) = await solve(bench, made)
    assert len(tree.layers) == 2


async def test_cached_steps_are_told_as_cached() -> None:
    bench = Books()
    await solve(bench, run("one"))
    progress = Progress()
    solving = Solve(
        bench=bench,
        flights=Flights(),
        slots=asyncio.Semaphore(4),
        sessions=Nobody(),
        session="s",
        progress=progress,
    )
    await solving.results([Edge(run("one"))])
    progress.end()
    told = [update async for bunch in progress.follow() for update in bunch if isinstance(update, Told)]
    assert [update.cached for update in told if update.name == "RUN one"] == [True]


async def test_why_a_step_ran_is_told_where_that_was_asked_for() -> None:
    bench = Books()
    await solve(bench, copy(run("one"), on=run("two")))
    assert bench.asked == []
    progress = Progress()
    await solve(bench, copy(run("one", on=run("zero")), on=run("two")), progress=progress)
    progress.end()
    told = [each.short async for bunch in progress.follow() for each in bunch if isinstance(each, Warned)]
    assert sorted(told) == [
        "cache: COPY: f has other contents",
        "cache: RUN one: it is built on other contents of `RUN zero`",
        "cache: RUN zero: the instruction is `RUN zero`, was `RUN one`",
    ]
