"""One Dockerfile on its way to a graph: what it asks of the client and of registries, and the context that may be elsewhere."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from knarr.build.attest.asked import Asked
from knarr.build.bench import Bench, Given
from knarr.build.context.entries import Index
from knarr.build.context.select import resolve
from knarr.build.dockerfile import contexts
from knarr.build.dockerfile.checks import Remark
from knarr.build.dockerfile.contexts import Remote
from knarr.build.dockerfile.errors import DockerfileError
from knarr.build.dockerfile.frontend import Built, Definition, Options, Result
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
from knarr.build.graph import Edge
from knarr.build.port import Sessions, Wish
from knarr.build.progress import Progress
from knarr.build.rooting import rooted
from knarr.build.solver import Solve
from knarr.build.told import Vertex, Warned
from knarr.build.tree import Tree
from knarr.engine.building.caching.imports import Imports
from knarr.engine.building.conversions import Conversions
from knarr.engine.images.holding import Hold
from knarr.model.errors import KnarrError

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A build that was read; see build.port.Loaded."""

    wish: Wish
    results: Sequence[Result]
    metadata: Mapping[str, bytes]
    multi: bool
    filename: str = "Dockerfile"
    source: bytes = b""
    known: Mapping[str, Index] = field(default_factory=dict)
    held: object = None
    imports: Imports = field(default_factory=Imports)
    allowed: frozenset[str] | None = None
    asked: Asked = field(default_factory=Asked)
    started: int = field(default_factory=time.time_ns)

    @property
    def dockerfile_local(self) -> str:
        """The client's directory that the Dockerfile came from."""
        return self.wish.attrs.get("dockerfilekey", "dockerfile")

    @property
    def platforms(self) -> Sequence[str]:
        """One without a name, or one a platform."""
        if not self.results:
            return ()
        return [str(each.platform) for each in self.results] if self.multi else [""]


class Tools(Protocol):
    """What reading needs of the builder."""

    conversions: Conversions

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
        """Runs what one build needs."""
        ...

    async def resolve(
        self, question: ImageQuestion, sessions: Sessions, session: str, hold: Hold
    ) -> ImageAnswer:
        """An image's configuration."""
        ...

    async def is_archive(self, index: Index, name: str) -> bool:
        """Whether a fetched file is one."""
        ...

    async def holding_files(self) -> object:
        """Clients' files stay while this lives."""
        ...

    async def text(self, given: Given, path: str, bench: Bench | None = None) -> bytes | None:
        """A small file; None if it is not there."""
        ...


class Reading:
    """One Dockerfile on its way to a graph."""

    def __init__(
        self,
        builder: Tools,
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
        self._known: dict[str, Index] = {}
        self._held: object = None
        self._remarks: list[Remark] = []
        self._warned = 0
        self._vertex = Vertex(digest="", name="")

    async def run(self) -> Read:
        remote = contexts.remote_context(self._options)
        if remote is not None:
            definition = await self._remote(remote)
        elif self._options.remote_context:
            raise BuildFailed(f"invalid context: {self._options.remote_context}")
        else:
            definition = await self._local()
        try:
            return await self._read(definition)
        except DockerfileError as error:
            raise _bad(definition, error) from error

    async def _remote(self, remote: Remote) -> Definition:
        """The context is elsewhere; the Dockerfile is in it, unless the client has one of its own."""
        self._held = await self._builder.holding_files()
        edge, name = remote.edge, self._options.filename
        given, bench = await self._given(edge)
        if not isinstance(given, Tree):
            self._known[edge.vertex.digest] = given
            unpack = bool(remote.filename) and await self._builder.is_archive(given, remote.filename)
            if unpack:
                edge = contexts.unpacked(remote, self._options)
                given, bench = await self._given(edge)
            elif remote.filename:
                name = remote.filename
        if "dockerfilekey" in self._wish.attrs:
            return (await self._local())._replace(context=edge)
        told = (each for each in reversed(self._progress.told) if isinstance(each, Vertex))
        self._vertex = next((each for each in told if each.digest == edge.vertex.digest), self._vertex)
        text = await self._builder.text(given, name, bench)
        if text is None:
            raise BuildFailed(f"failed to read dockerfile: open {name}: no such file or directory")
        ignore = await self._builder.text(given, f"{name}.dockerignore", bench)
        if ignore is None:
            ignore = await self._builder.text(given, ".dockerignore", bench)
        return Definition(text, name, ignore, edge)

    async def _given(self, edge: Edge) -> tuple[Given, Bench]:
        """What is there, and where it can be read."""
        solve = self._builder.solver(self._wish.session, None, 0, self._sessions, self._progress, self._hold)
        solve.know(self._known)
        return await solve.given(edge), solve.bench

    async def _local(self) -> Definition:
        ahead = None if self._options.remote_context else _Ahead(self._ignore_of, self._options.context_name)
        try:
            return await self._beside(ahead)
        finally:
            if ahead is not None:
                await ahead.close()

    async def _beside(self, ahead: "_Ahead | None") -> Definition:
        """The Dockerfile, while the context's .dockerignore comes: most have no other."""
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
                raise _unread(index, name)
            ignore = await self._builder.text(index, f"{name}.dockerignore")
        self._vertex = step.vertex
        if ignore is None and ahead is not None:
            ignore = await ahead.take(self._progress)
        return Definition(text, name, ignore)

    async def _read(self, definition: Definition) -> Read:
        if self._options.request_id:
            from knarr.build.dockerfile import requests

            steps = requests.subrequest(definition, self._options, self._remarks)
            try:
                answered = await self._driven(steps, definition)
            except DockerfileError as error:
                raise BadBuild(str(error)) from error
            metadata = {key: _bytes(value) for key, value in answered.items()}
            return Read(wish=self._wish, results=(), metadata=metadata, multi=False)
        built: Built = await self._driven(
            self._builder.conversions.build(definition, self._options, self._remarks), definition
        )
        multi = self._options.multi_platform
        metadata = {
            f"containerimage.config/{result.platform}" if multi else "containerimage.config": json.dumps(
                result.image
            ).encode()
            for result in built.results
        }
        return Read(
            wish=self._wish,
            results=tuple(result._replace(output=rooted(result.output)) for result in built.results),
            metadata=metadata,
            multi=multi,
            filename=definition.filename,
            source=definition.text,
            known=self._known,
            held=self._held,
        )

    def _warn(self, definition: Definition) -> None:
        """What the checks found since, also in what cannot be built. It belongs to the step that read the Dockerfile, which is
        told again: displays show a warning with its step, and this one may have been shown already."""
        new, self._warned = self._remarks[self._warned :], len(self._remarks)
        if not new:
            return
        self._progress.tell(
            *(
                Warned(
                    vertex=self._vertex.digest,
                    level=1,
                    short=each.short,
                    detail=(each.description,),
                    url=each.url,
                    filename=definition.filename,
                    source=definition.text,
                    ranges=_ranges(each.lines),
                )
                for each in new
            ),
            self._vertex,
        )

    async def _driven(self, steps: Steps[T], definition: Definition) -> T:
        try:
            questions = next(steps)
            while True:
                self._warn(definition)
                answers = await asyncio.gather(*(self._answered(question) for question in questions))
                questions = steps.send(tuple(answers))
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            self._warn(definition)

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

    async def _ignore_of(self, name: str, progress: Progress) -> bytes | None:
        return await self._ignore(name, "[internal] load .dockerignore", progress=progress)

    async def _ignore(
        self, name: str, log_name: str, session: str = "", progress: Progress | None = None
    ) -> bytes | None:
        with (progress or self._progress).begin(log_name) as step:
            lender = await self._sessions.get(session or self._session_of(name))
            index = await lender.directory(name, step, follow=[".dockerignore"])
            return await self._builder.text(index, ".dockerignore")

    def _session_of(self, name: str) -> str:
        return self._options.sessions.get(name) or self._wish.session


class _Ahead:
    """A file that is asked for before it is known whether it is wanted; what is told of it is told when it is taken."""

    def __init__(self, ask: Callable[[str, Progress], Awaitable[bytes | None]], name: str):
        self._progress = Progress()
        self._asking = asyncio.ensure_future(ask(name, self._progress))

    async def take(self, progress: Progress) -> bytes | None:
        """The file. Raises what asking for it raised."""
        try:
            return await self._asking
        finally:
            progress.tell(*self._progress.told)

    async def close(self) -> None:
        """Not wanted any more."""
        self._asking.cancel()
        await asyncio.wait([self._asking])
        if not self._asking.cancelled():
            self._asking.exception()


def _bad(definition: Definition, error: DockerfileError) -> BadBuild:
    found = [place(definition.filename, definition.text, [lines]) for lines in error.locations]
    places = [each for each in found if each is not None]
    bad = BadBuild(str(error), place=places[0] if places else None)
    bad.around = places[1:]
    return bad


def _unread(index: Index, name: str) -> BuildFailed:
    entry = index.get(resolve(index, name, last=True) or "")
    why = "no such file or directory" if entry is None else "is a directory"
    return BuildFailed(f"failed to read dockerfile: {'open' if entry is None else 'read'} {name}: {why}")


def place(filename: str, source: bytes, locations: Sequence[Sequence[int]]) -> Place | None:
    lines = [line for each in locations[:1] for line in each]
    return Place(filename=filename, source=source, ranges=_ranges(lines)) if lines else None


def _ranges(lines: Sequence[int]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    return [((line, 0), (line, 0)) for line in lines]


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()
