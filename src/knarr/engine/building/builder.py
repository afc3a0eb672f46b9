"""The builder of one engine: a Dockerfile to a graph, the graph to trees, the trees to where they shall go; see build.port.

Reading asks the client for the Dockerfile and its .dockerignore, and registries for configurations; steps run only when a
result is wanted.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from knarr.build.context.entries import Entry, Index
from knarr.build.context.store import Files
from knarr.build.dockerfile import frontend
from knarr.build.dockerfile import options as frontend_options
from knarr.build.dockerfile.errors import DockerfileError
from knarr.build.dockerfile.frontend import Built, Definition, Options, Result
from knarr.build.dockerfile.options import Input
from knarr.build.dockerfile.questions import (
    Answer,
    EpochQuestion,
    IgnoreQuestion,
    ImageAnswer,
    ImageQuestion,
    Question,
    Steps,
)
from knarr.build.errors import BadBuild, BuildFailed, Place
from knarr.build.graph import Vertex
from knarr.build.port import CacheSpec, Exporter, Loaded, Sessions, Wish
from knarr.build.progress import Progress, Warned, unique
from knarr.build.solver import AT_ONCE, Flights, Solve
from knarr.build.tree import Tree
from knarr.engine.building.bench import Workbench
from knarr.engine.building.exporting import Export, Made
from knarr.engine.building.hoard import Hoard
from knarr.engine.building.origins import Origins
from knarr.engine.building.remotes import Remotes
from knarr.engine.building.running import Runner
from knarr.engine.building.views import Views
from knarr.engine.images.holding import Hold, holding
from knarr.engine.images.port import Auth
from knarr.engine.images.rooms import Rooms
from knarr.loop.blocking import blocking
from knarr.model.errors import KnarrError

T = TypeVar("T")
_LIMIT = 16 << 20
_HUB = "registry-1.docker.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A build that was read; see build.port.Loaded."""

    wish: Wish
    results: Sequence[Result]
    metadata: Mapping[str, bytes]
    multi: bool
    filename: str = "Dockerfile"
    source: bytes = b""

    @property
    def platforms(self) -> Sequence[str]:
        """One without a name, or one a platform."""
        if not self.results:
            return ()
        return [str(each.platform) for each in self.results] if self.multi else [""]


@dataclass(slots=True)
class Lent:
    """A client's credentials; an empty user stands for a token."""

    username: str
    password: str
    auth: str = ""
    identitytoken: str = ""
    registrytoken: str = ""


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
        if options.remote_context:
            raise BuildFailed("remote contexts are not supported by this builder")
        async with self._holding() as hold:
            reading = _Reading(self, wish, options, sessions, progress, hold)
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
        wish = loaded.wish
        epochs = {result.epoch for result in loaded.results}
        epoch = epochs.pop() if len(epochs) == 1 else None
        bench = Workbench(
            self._rooms,
            self._views,
            self._files,
            self._origins,
            self._remotes,
            self._runner,
            hold,
            wish.session,
        )

        def locate(vertex: Vertex, error: KnarrError) -> KnarrError:
            if isinstance(error, BuildFailed) and error.place is not None:
                return error
            found = error if isinstance(error, BuildFailed) else BuildFailed(str(error))
            found.vertex = found.vertex or vertex.digest
            if vertex.about.lines and loaded.source:
                found.place = _place(loaded.filename, loaded.source, [vertex.about.lines])
            return found

        solve = Solve(
            bench=bench,
            flights=self._flights,
            slots=self._slots,
            sessions=sessions,
            session=wish.session,
            progress=progress,
            epoch=epoch,
            made=max((_made(result) for result in loaded.results), default=0),
            locate=locate,
        )
        trees = await solve.results([result.output for result in loaded.results])
        return trees, bench.epoch or 0

    async def resolve(
        self, question: ImageQuestion, sessions: Sessions, session: str, hold: Hold
    ) -> ImageAnswer:
        """An image's configuration. Raises what the registry says."""
        if question.store:
            raise BuildFailed("OCI layouts of the client are not supported by this builder")

        async def lend(host: str) -> Auth | None:
            lender = await sessions.get(session)
            user, secret = await lender.credentials(_HUB if host == "docker.io" else host)
            return Lent(user, secret) if user or secret else None

        origin = await self._origins.resolve(
            question.reference,
            question.platform,
            pull=question.mode == "pull",
            lend=lend,
            hold=hold,
        )
        return ImageAnswer(origin.name, str(origin.digest), origin.config)

    async def text(self, index: Index, path: str) -> bytes | None:
        """A small file of a client's; None if it is not there."""
        entry = index.get(path)
        if entry is None or not entry.is_regular:
            return None
        return await blocking(_content, self._files, entry)


class _Reading:
    """One Dockerfile on its way to a graph."""

    def __init__(
        self,
        builder: EngineBuilder,
        wish: Wish,
        options: Options,
        sessions: Sessions,
        progress: Progress,
        hold: Hold,
    ):
        self._builder = builder
        self._wish = wish
        self._options = options
        self._sessions = sessions
        self._progress = progress
        self._hold = hold

    async def run(self) -> Read:
        name = self._options.filename
        with self._progress.begin(f"[internal] load build definition from {name}") as step:
            key = self._wish.attrs.get("dockerfilekey", "dockerfile")
            lender = await self._sessions.get(self._session_of(key))
            wanted = [name, f"{name}.dockerignore", *([name.lower()] if name == "Dockerfile" else [])]
            index = await lender.directory(key, step, follow=wanted, label="dockerfile")
            text = await self._builder.text(index, name)
            if text is None and name == "Dockerfile":
                text = await self._builder.text(index, name.lower())
            if text is None:
                raise BuildFailed(f"failed to read dockerfile: open {name}: no such file or directory")
            ignore = await self._builder.text(index, f"{name}.dockerignore")
        if ignore is None:
            ignore = await self._ignore(self._options.context_name, "[internal] load .dockerignore")
        definition = Definition(text, name, ignore)
        try:
            return await self._read(definition)
        except DockerfileError as error:
            raise BadBuild(str(error), place=_place(name, text, error.locations)) from error

    async def _read(self, definition: Definition) -> Read:
        if self._options.request_id:
            from knarr.build.dockerfile import requests

            answered = await self._driven(requests.subrequest(definition, self._options))
            metadata = {key: _bytes(value) for key, value in answered.items()}
            return Read(wish=self._wish, results=(), metadata=metadata, multi=False)
        built: Built = await self._driven(frontend.build(definition, self._options))
        self._warn(built, definition)
        multi = self._options.multi_platform
        metadata = {
            f"containerimage.config/{result.platform}" if multi else "containerimage.config": json.dumps(
                result.image
            ).encode()
            for result in built.results
        }
        return Read(
            wish=self._wish,
            results=built.results,
            metadata=metadata,
            multi=multi,
            filename=definition.filename,
            source=definition.text,
        )

    def _warn(self, built: Built, definition: Definition) -> None:
        vertex = unique("warnings")
        self._progress.tell(
            *(
                Warned(
                    vertex=vertex,
                    level=1,
                    short=each.short,
                    detail=(each.description,),
                    url=each.url,
                    filename=definition.filename,
                    source=definition.text,
                    ranges=_ranges(each.lines),
                )
                for each in built.warnings
            )
        )

    async def _driven(self, steps: Steps[T]) -> T:
        try:
            questions = next(steps)
            while True:
                answers = await asyncio.gather(*(self._answered(question) for question in questions))
                questions = steps.send(tuple(answers))
        except StopIteration as stop:
            result: T = stop.value
            return result

    async def _answered(self, question: Question) -> Answer:
        try:
            match question:
                case ImageQuestion():
                    with self._progress.begin(question.log_name):
                        return await self._builder.resolve(
                            question, self._sessions, self._wish.session, self._hold
                        )
                case IgnoreQuestion():
                    return await self._ignore(question.local, question.log_name, question.session)
                case EpochQuestion():
                    return None
        except KnarrError as error:
            return error

    async def _ignore(self, name: str, log_name: str, session: str = "") -> bytes | None:
        with self._progress.begin(log_name) as step:
            lender = await self._sessions.get(session or self._session_of(name))
            index = await lender.directory(name, step, follow=[".dockerignore"])
            return await self._builder.text(index, ".dockerignore")

    def _session_of(self, name: str) -> str:
        return self._options.sessions.get(name) or self._wish.session


def _inputs(wish: Wish) -> Mapping[str, Input]:
    found = {}
    for name, loaded in wish.inputs.items():
        assert isinstance(loaded, Read)
        (result,) = loaded.results[:1]
        found[name] = Input(result.output, json.dumps(result.image).encode())
    return found


def _place(filename: str, source: bytes, locations: Sequence[Sequence[int]]) -> Place | None:
    lines = [line for each in locations[:1] for line in each]
    return Place(filename=filename, source=source, ranges=_ranges(lines)) if lines else None


def _ranges(lines: Sequence[int]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    return [((line, 0), (line, 0)) for line in lines]


def _made(result: Result) -> int:
    """When the base image was made, in seconds; 0 where it does not say."""
    text = str((result.base_image or {}).get("created") or "")
    try:
        return int(datetime.fromisoformat(f"{text[:19]}+00:00").timestamp())
    except ValueError:
        return 0


def _content(files: Files, entry: Entry) -> bytes:
    with open(files.path(entry.digest), "rb") as file:
        return file.read(_LIMIT)


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()
