"""Runs a graph of operations: what is needed, what is not cached, independent ones at the same time.

A vertex is solved once a build, after its inputs. Its key is made of what it does and of its inputs' contents; equal keys
of builds that run at the same time are worked on once. Results are trees of layers; a client's files are an index. A cache
elsewhere may know a result by its name only: that names what is built on it, and the step runs when somebody needs more.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from knarr.build import explain, keys
from knarr.build.bench import Bench, Facts, Given
from knarr.build.context.entries import Index
from knarr.build.context.select import BadPattern, Match, NothingThere, select
from knarr.build.errors import BuildFailed
from knarr.build.explain import Parts
from knarr.build.fetching import fetch
from knarr.build.flights import Flights
from knarr.build.graph import Edge, Vertex, walk
from knarr.build.operations import Act, Copy, Diff, Exec, File, Merge, Mount, Source
from knarr.build.port import Sessions
from knarr.build.progress import Progress, Step
from knarr.build.tree import Tree
from knarr.loop.blocking import blocking
from knarr.model.errors import KnarrError, NotFound

AT_ONCE = 4
_SECOND = 10**9


class Solved(NamedTuple):
    """What became of a vertex: the keys that it is cached under (the exact one first; none for what is never cached), and the
    name of its contents."""

    keys: tuple[str, ...]
    identity: str
    given: Given


class _Hollow(Exception):
    """Contents are needed of what is known by its name only."""


@dataclass(slots=True)
class Solve:
    """One build's run. `epoch` (seconds) is what times are clamped to where the build was told so; where not, it is the time of
    the newest file that the client gave, or `made`, when the base images were: so the same build gives the same bytes.
    `explain`: each step that runs says why. `scratch`: nothing is taken from the cache, and nothing kept."""

    bench: Bench
    flights: Flights
    slots: asyncio.Semaphore
    sessions: Sessions
    session: str
    progress: Progress
    epoch: int | None = None
    made: int = 0
    explain: bool = False
    scratch: bool = False
    names: keys.Names = field(default_factory=keys.Names)
    locate: Callable[[Vertex, KnarrError], KnarrError] = lambda _, error: error
    _results: dict[str, "asyncio.Task[Given]"] = field(default_factory=dict)
    _whole: dict[str, "asyncio.Task[Given]"] = field(default_factory=dict)
    _keys: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _names: dict[int, str] = field(default_factory=dict)

    def know(self, given: Mapping[str, Index]) -> None:
        """Sources that were read before, by their vertices' digests."""
        for digest, index in given.items():
            self._results[digest] = asyncio.create_task(_done(index))

    async def given(self, edge: Edge) -> Given:
        """What one edge gives, a tree or not. Raises BuildFailed."""
        try:
            return (await self._all([edge], whole=True))[0]
        finally:
            await self._stop()

    async def results(self, edges: Sequence[Edge | None]) -> list[Tree]:
        """The trees of several edges; None is the empty file system. Raises BuildFailed; nothing is running then."""
        try:
            self.bench.epoch = await self._newest(edges) if self.epoch is None else self.epoch
            return [_tree(each) for each in await self._all(edges, whole=True)]
        finally:
            await self._stop()

    def solved(self, vertex: Vertex) -> Solved:
        """What became of a vertex of a build that is done."""
        given = self._whole.get(vertex.digest, self._results[vertex.digest]).result()
        return Solved(self._keys.get(vertex.digest, ()), _identity(given), given)

    async def _newest(self, edges: Sequence[Edge | None]) -> int:
        """Every key needs the client's files: they can come first."""
        lent = [
            Edge(vertex)
            for vertex in walk(*edges)
            if isinstance(vertex.operation, Source) and vertex.operation.scheme == "local"
        ]
        times = [
            entry.mtime // _SECOND
            for index in await self._all(lent)
            if not isinstance(index, Tree)
            for entry in index.values()
            if entry.is_regular
        ]
        return max(times, default=self.made)

    async def _stop(self) -> None:
        every = (*self._results.values(), *self._whole.values())
        left = [task for task in every if not task.done()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)

    async def _all(self, edges: Sequence[Edge | None], *, whole: bool = False) -> list[Given]:
        """`whole`: not by their names only."""
        tasks = [self._task(edge.vertex, whole=whole) for edge in edges if edge is not None]
        if tasks:
            await asyncio.gather(*tasks)
        found = iter(tasks)
        return [Tree() if edge is None else next(found).result() for edge in edges]

    def _task(self, vertex: Vertex, *, whole: bool = False) -> "asyncio.Task[Given]":
        tasks = self._whole if whole else self._results
        task = tasks.get(vertex.digest)
        if task is None:
            task = tasks[vertex.digest] = asyncio.create_task(
                self._solve(vertex, whole=whole), name=f"build {vertex.about.name}"
            )
        return task

    async def _solve(self, vertex: Vertex, *, whole: bool) -> Given:
        if whole:
            first = await self._task(vertex)
            if _has_contents(first):
                return first
        joined = isinstance(vertex.operation, Merge | Diff)
        inputs = await self._all(vertex.inputs, whole=whole and joined)
        try:
            try:
                return await self._operate(vertex, inputs, whole=whole)
            except _Hollow:
                inputs = await self._all(vertex.inputs, whole=True)
                return await self._operate(vertex, inputs, whole=whole)
        except KnarrError as error:
            raise self.locate(vertex, error) from error

    async def _operate(self, vertex: Vertex, inputs: Sequence[Given], *, whole: bool) -> Given:
        match vertex.operation:
            case Source() as source:
                return await self._source(vertex, source)
            case File() as operation:
                return await self._file(vertex, operation, inputs, whole=whole)
            case Exec() as command:
                return await self._exec(vertex, command, inputs, whole=whole)
            case Merge():
                with self._step(vertex):
                    return Tree(tuple(layer for each in inputs for layer in _tree(each).layers))
            case Diff(lower, upper):
                below = Tree() if lower < 0 else _tree(inputs[lower])
                found = (Tree() if upper < 0 else _tree(inputs[upper])).beyond(below)
                if found is None:
                    raise BuildFailed(
                        "a difference of trees that are not built on one another is not supported"
                    )
                return found

    async def _source(self, vertex: Vertex, source: Source) -> Given:
        with self._step(vertex) as step:
            return await fetch(source, vertex.platform, step, self.bench, self.sessions, self.session)

    async def _file(self, vertex: Vertex, operation: File, inputs: Sequence[Given], *, whole: bool) -> Tree:
        base, acts = _linear(operation, inputs)
        quick = keys.key(vertex, await self._identities(inputs), self.epoch)
        found = await self._cached(vertex, quick, base, whole=whole)
        if found is not None:
            return found
        read = {
            position: await self._read(act, given)
            for position, (act, given) in enumerate(acts)
            if isinstance(act, Copy) and given is not None
        }
        taken = [
            keys.contents(each for match in matches for each in match.named()) for matches, _ in read.values()
        ]
        exact = keys.key(vertex, [base.identity, *taken], self.epoch)

        def parts() -> Parts:
            files = (each for matches, _ in read.values() for match in matches for each in match.sources())
            below = [base.identity] if operation.actions[0].input == 0 else []
            return explain.parts(vertex, below, files, self.epoch)

        async def work() -> Tree:
            with self._step(vertex) as step:
                await self._explained(step, vertex, exact, parts)
                given = [
                    (act, read[position][1] if position in read else None)
                    for position, (act, _) in enumerate(acts)
                ]
                return await self.bench.act(base, given)

        return await self._chosen(vertex, (exact, quick), base, work, parts, whole=whole)

    async def _chosen(
        self,
        vertex: Vertex,
        known: tuple[str, str],
        base: Tree,
        work: Callable[[], Awaitable[Tree]],
        parts: Callable[[], Parts],
        *,
        whole: bool,
    ) -> Tree:
        """What is kept under the exact key, or the work's result; the quick key has been asked already."""
        exact, quick = known
        if exact != quick:
            found = await self._cached(vertex, exact, base, whole=whole)
            if found is not None:
                await self.bench.keep(quick, found, replace(_facts(vertex), exact=exact))
                self._keys[vertex.digest] = known
                return found
        _need([base])
        return await self._worked(vertex, known if exact != quick else (exact,), work, parts)

    async def _identities(self, inputs: Sequence[Given]) -> list[str]:
        """The inputs' names. To name a client's 20,000 files takes 25 ms: it is done beside the loop, and once."""
        for each in inputs:
            if not isinstance(each, Tree) and id(each) not in self._names:
                name = self.names.find(each)
                if name is None:
                    name = await blocking(keys.index, each)
                    self.names.keep(each, name)
                self._names[id(each)] = name
        return [each.identity if isinstance(each, Tree) else self._names[id(each)] for each in inputs]

    async def _read(self, act: Copy, given: Given) -> tuple[list[Match], Given]:
        """What a copy takes; a tree is listed as far as the copy's path needs."""
        _need([given])
        try:
            index = given if not isinstance(given, Tree) else await self._listed(given, act)
            matches = select(index, act)
        except BadPattern as error:
            if isinstance(given, Tree):
                raise
            raise _no_sum(given, error) from error
        except NothingThere as error:
            if isinstance(given, Tree):
                raise BuildFailed(f"lstat {act.src}: no such file or directory") from error
            raise _no_sum(given, error) from error
        return matches, given

    async def _listed(self, tree: Tree, act: Copy) -> Index:
        try:
            return await self.bench.listing(tree, act.src)
        except NotFound as error:
            raise NothingThere(act.src) from error

    async def _exec(self, vertex: Vertex, command: Exec, inputs: Sequence[Given], *, whole: bool) -> Tree:
        quick = exact = keys.key(vertex, await self._identities(inputs), self.epoch)
        root = command.mounts[0].input
        base = Tree() if root < 0 else _tree(inputs[root])
        found = await self._cached(vertex, quick, base, whole=whole)
        if found is not None:
            return found
        _need(inputs)
        mounts = [mount for mount in command.mounts[1:] if mount.input >= 0]
        read = [await self._shown(mount, inputs) for mount in mounts]
        if read:
            exact = keys.key(vertex, [base.identity, *(name for name, _ in read)], self.epoch)

        def parts() -> Parts:
            files = (pair for _, matches in read for each in matches for pair in each.sources())
            trees = {
                mount.input: name for mount, (name, found) in zip(mounts, read, strict=True) if not found
            }
            below = [base.identity if at == root else trees.get(at, "") for at in range(len(inputs))]
            return explain.parts(vertex, below, files, self.epoch)

        async def work() -> Tree:
            async with self.slots:
                with self._step(vertex) as step:
                    await self._explained(step, vertex, exact, parts)
                    return await self.bench.run(command, inputs, vertex.about.resources, step, self.sessions)

        return await self._chosen(vertex, (exact, quick), base, work, parts, whole=whole)

    async def _shown(self, mount: Mount, inputs: Sequence[Given]) -> tuple[str, Sequence[Match]]:
        """What a mount shows: its name by its contents, and the files. A whole tree is not read for that."""
        given = inputs[mount.input]
        if isinstance(given, Tree) and not mount.selector.strip("/"):
            return given.identity, ()
        seen = Copy(mount.selector or "/", "/", follow_symlink=True)
        try:
            matches = select(await self._listed(given, seen) if isinstance(given, Tree) else given, seen)
        except NothingThere as error:
            raise _no_sum(given, error) from error
        return keys.contents(each for match in matches for each in match.named()), matches

    async def _explained(self, step: Step, vertex: Vertex, key: str, parts: Callable[[], Parts]) -> None:
        """Tells why the step runs, where that was asked for."""
        if self.explain:
            made = parts()
            earlier = await self.bench.earlier(key, made)
            text = explain.why(made, earlier, ignored=vertex.about.ignore_cache)
            step.warn(f"cache: {vertex.about.name}: {text}")

    async def _cached(self, vertex: Vertex, key: str, base: Tree, *, whole: bool) -> Tree | None:
        """What is kept of the step here, or else elsewhere. `whole`: more than its name."""
        if vertex.about.ignore_cache or self.scratch:
            return None
        found = await self.bench.cached(key, base)
        if found is None or not found.tree.whole:
            found = await self.bench.imported(key, base, _facts(vertex)) or found
        if found is None or (whole and not found.tree.whole):
            return None
        inputs = [edge.digest for edge in vertex.inputs]
        self.progress.served(vertex.about.name, vertex.digest, inputs)
        self._keys[vertex.digest] = (found.exact, key) if found.exact not in ("", key) else (key,)
        return found.tree

    async def _worked(
        self,
        vertex: Vertex,
        known: tuple[str, ...],
        work: Callable[[], Awaitable[Tree]],
        parts: Callable[[], Parts],
    ) -> Tree:
        """The work's result, kept under all keys."""
        facts = _facts(vertex)
        found = await self.flights.do(known[0], work)
        if self.scratch:
            return found
        await self.bench.keep(known[0], found, replace(facts, parts=parts()))
        for each in known[1:]:
            await self.bench.keep(each, found, replace(facts, exact=known[0]))
        self._keys[vertex.digest] = known
        return found

    def _step(self, vertex: Vertex) -> Step:
        inputs = [edge.digest for edge in vertex.inputs]
        return self.progress.begin(vertex.about.name, vertex.digest, inputs)


async def _done(index: Index) -> Given:
    return index


def _facts(vertex: Vertex) -> Facts:
    return Facts(kind="regular", description=vertex.about.name)


def _has_contents(given: Given | None) -> bool:
    return not isinstance(given, Tree) or given.whole


def _need(inputs: Sequence[Given | None]) -> None:
    """Raises _Hollow if one of them is known by its name only."""
    if not all(map(_has_contents, inputs)):
        raise _Hollow


def _tree(given: Given) -> Tree:
    if not isinstance(given, Tree):
        raise BuildFailed("a client's files are not a root")
    return given


def _identity(given: Given) -> str:
    return given.identity if isinstance(given, Tree) else keys.index(given)


def _no_sum(given: Given, error: BuildFailed) -> BuildFailed:
    name = _identity(given).rpartition(":")[2][:25]
    return BuildFailed(f"failed to compute cache key: failed to calculate checksum of ref {name}: {error}")


def _linear(operation: File, inputs: Sequence[Given]) -> tuple[Tree, list[tuple[Act, Given | None]]]:
    """The base, and the acts in turn with what each reads; every act must work on the result of the one before."""
    actions = operation.actions
    first = actions[0].input
    base = Tree() if first < 0 else _tree(inputs[first])
    acts = []
    for position, action in enumerate(actions):
        if position and action.input != len(inputs) + position - 1:
            raise BuildFailed("file operations that branch are not supported by this builder")
        given = inputs[action.secondary] if 0 <= action.secondary < len(inputs) else None
        acts.append((action.act, given))
    return base, acts
