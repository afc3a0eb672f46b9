"""The builder of one engine: a Dockerfile to a graph, the graph to trees, the trees to where they shall go; see build.port.

Reading asks the client for the Dockerfile and its .dockerignore, and registries for configurations; steps run only when a
result is wanted.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from knarr.build.bench import Bench, Given
from knarr.build.context.entries import Entry, Index
from knarr.build.context.store import Files
from knarr.build.dockerfile import options as frontend_options
from knarr.build.dockerfile.frontend import Result
from knarr.build.dockerfile.options import Input
from knarr.build.dockerfile.questions import (
    ImageAnswer,
    ImageQuestion,
)
from knarr.build.errors import BuildFailed
from knarr.build.graph import Vertex
from knarr.build.port import CacheSpec, Exporter, Loaded, Sessions, Wish
from knarr.build.progress import Progress
from knarr.build.solver import AT_ONCE, Flights, Solve
from knarr.build.tree import Tree
from knarr.engine.building.archives import is_archive
from knarr.engine.building.bench import Workbench
from knarr.engine.building.credentials import lent
from knarr.engine.building.exporting import Export, Made
from knarr.engine.building.hoard import Hoard
from knarr.engine.building.origins import Origins
from knarr.engine.building.reading import Read, Reading, place
from knarr.engine.building.remotes import Remotes
from knarr.engine.building.running import Runner
from knarr.engine.building.views import Views
from knarr.engine.images.holding import Hold, holding
from knarr.engine.images.port import Auth
from knarr.engine.images.rooms import Rooms
from knarr.loop.blocking import blocking
from knarr.model.errors import KnarrError

_LIMIT = 16 << 20


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
    ):
        self._rooms = rooms
        self._views = views
        self._files = files
        self._origins = origins
        self._remotes = remotes
        self._runner = runner
        self._export = export
        self._hoard = hoard
        self._flights = Flights()
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def load(self, wish: Wish, sessions: Sessions, progress: Progress) -> Read:
        """Raises BuildFailed."""
        options = frontend_options.parse(wish.attrs, self._rooms.platform, wish.session)
        options = replace(options, inputs=dict(_inputs(wish)))
        for each in (*wish.cache_from, *_imports(wish)):
            _import_cache(each, progress)
        async with self._holding() as hold:
            reading = Reading(self, wish, options, sessions, progress, hold)
            return await reading.run()

    async def solve(self, loaded: Loaded, sessions: Sessions, progress: Progress) -> None:
        """Raises BuildFailed."""
        assert isinstance(loaded, Read)
        async with self._holding() as hold:
            await self._trees(loaded, sessions, progress, hold)

    async def export(
        self,
        loaded: Loaded,
        exporters: Sequence[Exporter],
        cache_to: Sequence[CacheSpec],
        session: str,
        sessions: Sessions,
        progress: Progress,
    ) -> Mapping[str, str]:
        """Raises BuildFailed."""
        assert isinstance(loaded, Read)
        for each in cache_to:
            raise BuildFailed(f"cache exports of type {each.type} are not supported by this builder")
        async with self._holding() as hold:
            trees, epoch = await self._trees(loaded, sessions, progress, hold)
            made = [Made(result, tree, epoch) for result, tree in zip(loaded.results, trees, strict=True)]
            told: dict[str, str] = {}
            for number, exporter in enumerate(exporters):
                told.update(
                    await self._export.to(
                        exporter, number, made, loaded.multi, session, sessions, progress, hold
                    )
                )
            return told

    @contextlib.asynccontextmanager
    async def _holding(self) -> AsyncIterator[Hold]:
        async with self._hoard.building(), holding(self._rooms, leftovers=True) as hold:
            yield hold

    async def _trees(
        self, loaded: Read, sessions: Sessions, progress: Progress, hold: Hold
    ) -> tuple[list[Tree], int]:
        """The results, and what their times were clamped to (seconds)."""
        epochs = {result.epoch for result in loaded.results}
        epoch = epochs.pop() if len(epochs) == 1 else None
        made = max((_made(result) for result in loaded.results), default=0)
        solve = self.solver(loaded.wish.session, epoch, made, sessions, progress, hold, loaded)
        solve.know(loaded.known)
        trees = await solve.results([result.output for result in loaded.results])
        return trees, solve.bench.epoch or 0

    def solver(
        self,
        session: str,
        epoch: int | None,
        made: int,
        sessions: Sessions,
        progress: Progress,
        hold: Hold,
        loaded: Read | None = None,
    ) -> Solve:
        """Runs what one build needs; errors have the place in `loaded` that they come from."""
        bench = Workbench(
            self._rooms,
            self._views,
            self._files,
            self._origins,
            self._remotes,
            self._runner,
            hold,
            session,
        )

        def locate(vertex: Vertex, error: KnarrError) -> KnarrError:
            if isinstance(error, BuildFailed) and error.place is not None:
                return error
            found = error if isinstance(error, BuildFailed) else BuildFailed(str(error))
            found.vertex = found.vertex or vertex.digest
            if loaded is not None and vertex.about.lines and loaded.source:
                found.place = place(loaded.filename, loaded.source, [vertex.about.lines])
            return found

        return Solve(
            bench=bench,
            flights=self._flights,
            slots=self._slots,
            sessions=sessions,
            session=session,
            progress=progress,
            epoch=epoch,
            made=made,
            explain=loaded is not None and _asked(loaded.wish, "KNARR_EXPLAIN_CACHE"),
            locate=locate,
        )

    async def resolve(
        self, question: ImageQuestion, sessions: Sessions, session: str, hold: Hold
    ) -> ImageAnswer:
        """An image's configuration. Raises what the registry says."""
        if question.store:
            raise BuildFailed("OCI layouts of the client are not supported by this builder")

        async def lend(domain: str) -> Auth | None:
            return await lent(sessions, session, domain)

        origin = await self._origins.resolve(
            question.reference,
            question.platform,
            pull=question.mode == "pull",
            lend=lend,
            hold=hold,
        )
        return ImageAnswer(origin.name, str(origin.digest), origin.config)

    async def is_archive(self, index: Index, name: str) -> bool:
        """Whether a fetched file is one."""
        return await blocking(is_archive, self._files.path(index[name].digest))

    async def holding_files(self) -> object:
        """Clients' files stay while this lives."""
        return await self._hoard.uploading()

    async def text(self, given: Given, path: str, bench: Bench | None = None) -> bytes | None:
        """A small file of a client's or a tree's; None if it is not there."""
        if isinstance(given, Tree):
            assert isinstance(bench, Workbench)
            return await bench.read(given, path)
        entry = given.get(path)
        if entry is None or not entry.is_regular:
            return None
        return await blocking(_content, self._files, entry)


def _inputs(wish: Wish) -> Mapping[str, Input]:
    found = {}
    for name, loaded in wish.inputs.items():
        assert isinstance(loaded, Read)
        (result,) = loaded.results[:1]
        found[name] = Input(result.output, json.dumps(result.image).encode())
    return found


def _imports(wish: Wish) -> Sequence[CacheSpec]:
    """Those that a client of BuildKit's gateway names among its options. Raises BuildFailed."""
    text = wish.attrs.get("cache-imports", "")
    try:
        found = [
            CacheSpec(type=str(each["Type"]), attrs=dict(each.get("Attrs") or {}))
            for each in json.loads(text or "[]")
        ]
    except (ValueError, TypeError, KeyError) as error:
        raise BuildFailed(f"failed to unmarshal cache-imports ({text}): {error}") from error
    plain = [name for name in wish.attrs.get("cache-from", "").split(",") if name]
    return [*found, *(CacheSpec(type="registry", attrs={"ref": name}) for name in plain)]


def _import_cache(spec: CacheSpec, progress: Progress) -> None:
    """A cache that cannot be had is told of and fails no build, as with BuildKit."""
    where = spec.attrs.get("ref") or spec.attrs.get("src") or spec.type
    with contextlib.suppress(BuildFailed), progress.begin(f"importing cache manifest from {where}"):
        raise BuildFailed(f"cache imports of type {spec.type} are not supported by this builder")


def _asked(wish: Wish, name: str) -> bool:
    """A wish that comes as a build argument, since every client can send one."""
    return wish.attrs.get(f"build-arg:{name}", "").lower() in ("1", "true", "yes")


def _content(files: Files, entry: Entry) -> bytes:
    with open(files.path(entry.digest), "rb") as file:
        return file.read(_LIMIT)


def _made(result: Result) -> int:
    """When the base image was made, in seconds; 0 where it does not say."""
    text = str((result.base_image or {}).get("created") or "")
    try:
        return int(datetime.fromisoformat(f"{text[:19]}+00:00").timestamp())
    except ValueError:
        return 0
