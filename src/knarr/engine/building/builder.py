"""The builder of one engine: a Dockerfile to a graph, the graph to trees, the trees to where they shall go; see build.port.

Reading asks the client for the Dockerfile and its .dockerignore, and registries for configurations; steps run only when a
result is wanted.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from knarr.build import entitlements, keys
from knarr.build.attest.asked import Provenance, asked
from knarr.build.attest.statement import Attestation
from knarr.build.bench import Bench, Given
from knarr.build.caching import wishes
from knarr.build.context.entries import Entry, Index
from knarr.build.context.select import resolve
from knarr.build.context.store import Files
from knarr.build.dockerfile import options as frontend_options
from knarr.build.dockerfile.options import Input
from knarr.build.dockerfile.questions import (
    ImageAnswer,
    ImageQuestion,
)
from knarr.build.errors import BuildFailed
from knarr.build.flights import Flights
from knarr.build.graph import Edge, Vertex
from knarr.build.port import CacheSpec, Exported, Exporter, Loaded, Sessions, Told, Wish
from knarr.build.progress import Progress
from knarr.build.solver import AT_ONCE, Solve
from knarr.build.tree import Tree
from knarr.engine.building.archives import is_archive
from knarr.engine.building.attesting import Attestor
from knarr.engine.building.bench import Workbench
from knarr.engine.building.caching.exporting import CacheExport, Work, inline_records
from knarr.engine.building.caching.importing import Importer
from knarr.engine.building.caching.imports import Imports
from knarr.engine.building.caching.supply import Lost, Supply
from knarr.engine.building.conversions import Conversions
from knarr.engine.building.credentials import lent
from knarr.engine.building.emulation import runnable
from knarr.engine.building.exporting import Export
from knarr.engine.building.hoard import Hoard
from knarr.engine.building.made import Giving, Made, base_made
from knarr.engine.building.origins import Origins
from knarr.engine.building.reading import Read, Reading, place
from knarr.engine.building.remotes import Remotes
from knarr.engine.building.running import Runner
from knarr.engine.building.uploads import Uploaded
from knarr.engine.building.views import Views
from knarr.engine.images.config import dump_json
from knarr.engine.images.holding import Hold, holding
from knarr.engine.images.layers import Layers
from knarr.engine.images.port import Auth
from knarr.engine.images.rooms import Rooms
from knarr.loop.blocking import blocking
from knarr.model.digest import Digest
from knarr.model.errors import KnarrError
from knarr.model.reference import Reference

_LIMIT = 16 << 20
_NOT_BEGUN = 255
SCRATCH = "knarr-scratch"
"""Among a wish's attributes: nothing comes from the cache, nothing goes there, no work is shared."""


class EngineBuilder:
    """See build.port.Builder."""

    def __init__(
        self,
        rooms: Rooms,
        views: Views,
        files: Files,
        origins: Origins,
        remotes: Remotes,
        runner: Runner,
        export: Export,
        hoard: Hoard,
        importer: Importer,
        cache_export: CacheExport,
        layers: Layers,
        attestor: Attestor,
    ):
        self._rooms = rooms
        self._views = views
        self._files = files
        self._origins = origins
        self._remotes = remotes
        self._runner = runner
        self._export = export
        self._hoard = hoard
        self._importer = importer
        self._cache_export = cache_export
        self._layers = layers
        self._attestor = attestor
        self._flights = Flights()
        self.conversions = Conversions()
        self._names = keys.Names()
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def load(self, wish: Wish, sessions: Sessions, progress: Progress) -> Read:
        """Raises BuildFailed."""
        options = frontend_options.parse(wish.attrs, self._rooms.platform, wish.session)
        options = replace(options, inputs=dict(_inputs(wish)))
        attestations = asked(wish.attrs)
        asking = bool(options.request_id)  # of the Dockerfile only: nothing is built
        wanted = [] if asking else wishes.imports([*wish.cache_from, *wishes.listed(wish.attrs)])
        importing = asyncio.create_task(self._importer.run(wanted, wish.session, sessions, progress))
        try:
            async with self._holding() as hold:
                read = await Reading(self, wish, options, sessions, progress, hold).run()
            others = [each.imports for each in wish.inputs.values() if isinstance(each, Read)]
            read = replace(read, imports=(await importing).joined(others), asked=attestations)
            if wish.only is None:
                return read
            caches, allowed = await self._importer.own(wish.only)
            return replace(read, imports=read.imports.joined([caches]), allowed=allowed)
        finally:
            importing.cancel()
            await asyncio.wait([importing])

    async def solve(self, loaded: Loaded, sessions: Sessions, progress: Progress) -> None:
        """Raises BuildFailed."""
        assert isinstance(loaded, Read)
        async with self._holding() as hold, self._solved(loaded, sessions, progress, hold):
            pass

    async def export(
        self,
        loaded: Loaded,
        exporters: Sequence[Exporter],
        cache_to: Sequence[CacheSpec],
        session: str,
        sessions: Sessions,
        progress: Progress,
    ) -> Exported:
        """Raises BuildFailed."""
        assert isinstance(loaded, Read)
        wanted = wishes.exports(cache_to)
        inline = any(each.kind == "inline" for each in wanted)
        async with self._holding() as hold, self._solved(loaded, sessions, progress, hold) as work:
            made = [
                Made(
                    result,
                    tree,
                    work.epoch,
                    inline_records(result.output, tree, work.look, work.epoch) if inline else b"",
                    await self._attested(loaded, number, work, sessions, progress, hold),
                )
                for number, (result, tree) in enumerate(zip(loaded.results, work.trees, strict=True))
            ]
            documents: dict[Digest, bytes] = {}
            giving = Giving(made, loaded.multi, session, sessions, progress, hold)
            told = [
                await self._export.to(exporter, number, giving, documents)
                for number, exporter in enumerate(exporters)
            ]
            cached = await self._cache_export.run(wanted, work, session, sessions, progress)
            return Exported(
                response={name: value for each in (*told, cached) for name, value in each.items()},
                each=told,
                told=Told(
                    attest=partial(self._recorded, loaded, work, time.time_ns()),
                    documents={str(digest): data for digest, data in documents.items()},
                ),
            )

    async def _attested(
        self, read: Read, number: int, work: Work, sessions: Sessions, progress: Progress, hold: Hold
    ) -> tuple[Attestation, ...]:
        """What goes with a result."""
        found: list[Attestation] = []

        async def resolve(reference: str) -> ImageAnswer:
            name = f"[internal] load metadata for {reference}"
            question = ImageQuestion(reference, self._rooms.platform, "default", name)
            with progress.begin(name):
                return await self.resolve(question, sessions, read.wish.session, hold)

        async def scan(edge: Edge, top: str) -> Mapping[str, bytes]:
            solve, bench = self._solver(read, sessions, progress, hold, self._runner)
            try:
                tree = await bench.here((await solve.results([edge]))[0])
                entries = await bench.listing(tree, top)
                names = [path for path, entry in entries.items() if entry.is_regular]
                return {path.rpartition("/")[2]: await bench.read(tree, path) or b"" for path in names}
            finally:
                await bench.settle()

        if read.asked.sbom is not None:
            tree = work.trees[number]
            found += await self._attestor.bill(
                read, number, tree, work.epoch, read.asked, progress, resolve, scan
            )
        wish = read.asked.provenance
        if wish is not None and not wish.inline_only:
            found.append(self._attestor.origin(read, number, work.look, wish, time.time_ns()))
        return tuple(found)

    def _recorded(self, read: Read, work: Work, finished: int) -> Mapping[str, Sequence[tuple[str, bytes]]]:
        """The provenance that a build's record has, whether it was asked for or not."""
        wish = replace(read.asked.provenance or Provenance(), mode="max")
        found = {}
        for number, platform in enumerate(read.platforms):
            made = self._attestor.origin(read, number, work.look, wish, finished)
            found[platform] = [(made.predicate_type, dump_json(made.predicate))]
        return found

    @contextlib.asynccontextmanager
    async def _holding(self) -> AsyncIterator[Hold]:
        async with self._hoard.building(), holding(self._rooms, leftovers=True) as hold:
            yield hold

    @contextlib.asynccontextmanager
    async def _solved(
        self, loaded: Read, sessions: Sessions, progress: Progress, hold: Hold
    ) -> AsyncIterator[Work]:
        """The results, here. What a cache elsewhere promised and cannot give is forgotten, and the build begins again."""
        entitlements.check_needed([result.output for result in loaded.results], loaded.wish.granted)
        work = None
        scratch = loaded.wish.attrs.get(SCRATCH) == "1"
        async with self._runner.apart() if scratch else contextlib.nullcontext(self._runner) as runner:
            while work is None:
                solve, bench = self._solver(loaded, sessions, progress, hold, runner)
                solve.scratch = scratch
                try:
                    work = await _worked(loaded, solve, bench, hold)
                except Lost as error:
                    loaded.imports.spoil(error.blob)
                finally:
                    await bench.settle()
            yield work

    def _solver(
        self, loaded: Read, sessions: Sessions, progress: Progress, hold: Hold, runner: Runner
    ) -> tuple[Solve, Workbench]:
        """A run of the whole build."""
        epochs = {result.epoch for result in loaded.results}
        epoch = epochs.pop() if len(epochs) == 1 else None
        made = max((base_made(result) for result in loaded.results), default=0)
        solve = self.solver(loaded.wish.session, epoch, made, sessions, progress, hold, loaded, runner)
        solve.know(loaded.known)
        assert isinstance(solve.bench, Workbench)
        return solve, solve.bench

    def solver(
        self,
        session: str,
        epoch: int | None,
        made: int,
        sessions: Sessions,
        progress: Progress,
        hold: Hold,
        loaded: Read | None = None,
        runner: Runner | None = None,
    ) -> Solve:
        """Runs what one build needs; errors have the place in `loaded` that they come from. A `runner` of its own keeps the
        build apart: it shares no work with others."""
        bench = Workbench(
            self._rooms,
            self._views,
            self._files,
            self._origins,
            self._remotes,
            runner or self._runner,
            hold,
            session,
            loaded.imports if loaded is not None else Imports(),
            Supply(self._layers, progress),
            self._hoard.recall,
            loaded.allowed if loaded is not None else None,
        )

        def locate(vertex: Vertex, error: KnarrError) -> KnarrError:
            if isinstance(error, BuildFailed) and error.place is not None:
                return error
            found = error if isinstance(error, BuildFailed) else BuildFailed(str(error))
            found = self._foreign(vertex, found)
            found.vertex = found.vertex or vertex.digest
            if loaded is not None and vertex.about.lines and loaded.source:
                found.place = place(loaded.filename, loaded.source, [vertex.about.lines])
            return found

        return Solve(
            bench=bench,
            flights=self._flights if runner in (None, self._runner) else Flights(),
            slots=self._slots,
            sessions=sessions,
            session=session,
            progress=progress,
            names=self._names,
            epoch=epoch,
            made=made,
            explain=loaded is not None and _asked(loaded.wish, "KNARR_EXPLAIN_CACHE"),
            locate=locate,
        )

    def _foreign(self, vertex: Vertex, error: BuildFailed) -> BuildFailed:
        """Names the platform of a command that could not be begun, if its programs do not run here."""
        wanted = vertex.platform
        if error.exit_code != _NOT_BEGUN or wanted is None or wanted in runnable(self._rooms.platform):
            return error
        text = f"{error}: exec format error: programs of {wanted} do not run here"
        return BuildFailed(text, place=error.place, vertex=error.vertex, exit_code=error.exit_code)

    async def resolve(
        self, question: ImageQuestion, sessions: Sessions, session: str, hold: Hold
    ) -> ImageAnswer:
        """An image's configuration. Raises what the registry says."""
        if question.store:
            lender = await sessions.get(session)
            contents = lender.contents(f"oci:{question.store}")
            found = await self._origins.layout(question.reference, question.platform, contents, hold)
            return ImageAnswer(found.name, str(found.digest), found.config)

        async def lend(domain: str) -> Auth | None:
            return await lent(sessions, session, domain)

        try:
            origin = await self._origins.resolve(
                question.reference,
                question.platform,
                pull=question.mode == "pull",
                lend=lend,
                hold=hold,
            )
        except KnarrError as error:
            if isinstance(sessions, Uploaded):
                raise
            raise _unresolved(question.reference, error) from error
        return ImageAnswer(origin.name, str(origin.digest), origin.config)

    async def is_archive(self, index: Index, name: str) -> bool:
        """Whether a fetched file is one."""
        return await blocking(is_archive, self._files, index[name].digest)

    async def holding_files(self) -> object:
        """Clients' files stay while this lives."""
        return await self._hoard.uploading()

    async def text(self, given: Given, path: str, bench: Bench | None = None) -> bytes | None:
        """A small file of a client's or a tree's; None if it is not there."""
        if isinstance(given, Tree):
            assert isinstance(bench, Workbench)
            return await bench.read(given, path)
        entry = given.get(resolve(given, path, last=True) or "")
        if entry is None or not entry.is_regular:
            return None
        return await blocking(_content, self._files, entry)


async def _worked(loaded: Read, solve: Solve, bench: Workbench, hold: Hold) -> Work:
    """Raises Lost, BuildFailed."""
    edges = [result.output for result in loaded.results]
    trees = [await bench.here(tree) for tree in await solve.results(edges)]
    return Work(
        edges=edges,
        trees=trees,
        look=solve.solved,
        epoch=bench.epoch or 0,
        supply=bench.supply,
        hold=hold,
    )


def _inputs(wish: Wish) -> Mapping[str, Input]:
    found = {}
    for name, loaded in wish.inputs.items():
        assert isinstance(loaded, Read)
        (result,) = loaded.results[:1]
        found[name] = Input(result.output, json.dumps(result.image).encode())
    return found


def _asked(wish: Wish, name: str) -> bool:
    """A wish that comes as a build argument, since every client can send one."""
    return wish.attrs.get(f"build-arg:{name}", "").lower() in ("1", "true", "yes")


def _content(files: Files, entry: Entry) -> bytes:
    with files.opened(entry.digest) as file:
        return file.read(_LIMIT)


def _unresolved(reference: str, error: KnarrError) -> BuildFailed:
    """BuildKit's sentence; what a registry said stays in Docker's words."""
    ref = Reference.parse(reference).tagged()
    said = f"{ref}: not found" if str(error).startswith("manifest for ") else str(error)
    return BuildFailed(f"failed to resolve source metadata for {ref}: {said}")
