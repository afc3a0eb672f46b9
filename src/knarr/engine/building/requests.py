"""A build as the classic API asks for one: an archive and a query in, lines out; see `classic`."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from knarr.build import entitlements
from knarr.build.context.store import Files
from knarr.build.dockerfile.nodes import Node
from knarr.build.dockerfile.parser import decode, parse
from knarr.build.errors import BuildFailed
from knarr.build.graph import walk
from knarr.build.port import Exporter, Wish
from knarr.build.progress import Progress
from knarr.engine.building.builder import EngineBuilder
from knarr.engine.building.classic import Line, Narrator
from knarr.engine.building.hoard import Hoard
from knarr.engine.building.reading import Read
from knarr.engine.building.uploads import Uploaded, receive
from knarr.model.errors import Invalid, KnarrError
from knarr.model.reference import Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassicWish:
    """`attrs` are the frontend's; `hosts` (`name:address`) go among them when host-gateway is known; `credentials` (user, secret) by
    registry host; `names` what the image will be called.
    `cache_from`: images whose steps alone are taken for cached ones, if any are named."""

    ref: str
    attrs: Mapping[str, str] = field(default_factory=dict)
    hosts: Sequence[str] = ()
    names: Sequence[str] = ()
    credentials: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    quiet: bool = False
    cache_from: Sequence[str] | None = None

    def resolved(self, gateways: Sequence[str]) -> "ClassicWish":
        """The same with hosts as the frontend takes them. Raises Invalid."""
        if not self.hosts:
            return self
        return replace(self, hosts=(), attrs={**self.attrs, "add-hosts": added_hosts(self.hosts, gateways)})


def added_hosts(hosts: Sequence[str], gateways: Sequence[str]) -> str:
    """`name:address` each, as the frontend's attribute has them. Raises Invalid."""
    found = []
    for each in hosts:
        name, _, address = each.partition(":")
        if not name or not address:
            raise Invalid(f"invalid host {each}")
        meant = gateways if address == "host-gateway" else (address,)
        found += [f"{name}={one}" for one in meant]
    return ",".join(found)


async def build(
    builder: EngineBuilder, files: Files, hoard: Hoard, wish: ClassicWish, body: AsyncIterator[bytes]
) -> AsyncIterator[Line]:
    """Raises what is wrong with the archive or the Dockerfile before the first line; later errors are lines."""
    held = await hoard.uploading()
    try:
        index = {} if "context" in wish.attrs else await receive(body, files)
        uploaded = Uploaded(index, wish.credentials)
        progress = Progress()
        host = wish.attrs.get("force-network-mode") == "host"
        granted = frozenset({entitlements.NETWORK} if host else ())
        asked = Wish(
            ref=wish.ref, session=uploaded.id, attrs=wish.attrs, only=wish.cache_from, granted=granted
        )
        read = await builder.load(asked, uploaded, progress)
    except BaseException:
        hoard.uploaded(held)
        raise
    return Held(_lines(builder, wish, read, uploaded, progress), lambda: hoard.uploaded(held))


class Held:
    """Lines, and what is let go when they end or are closed, begun or not."""

    def __init__(self, lines: AsyncGenerator[Line, None], let_go: Callable[[], None]):
        self._lines = lines
        self._let_go = let_go

    def __aiter__(self) -> "Held":
        return self

    async def __anext__(self) -> Line:
        return await self._lines.__anext__()

    async def aclose(self) -> None:
        """Stops the build."""
        try:
            await self._lines.aclose()
        finally:
            self._let_go()


async def _lines(
    builder: EngineBuilder, wish: ClassicWish, read: Read, uploaded: Uploaded, progress: Progress
) -> AsyncGenerator[Line, None]:
    nodes = [*parse(decode(read.source)).nodes, *_labels(wish)]
    operations = list(walk(*(result.output for result in read.results)))
    narrator = Narrator(nodes, operations, cached=read.allowed is None or bool(read.allowed))
    exporter = Exporter(type="moby", attrs={"name": ",".join(wish.names)})
    work = asyncio.create_task(
        builder.export(read, [exporter], [], uploaded.id, uploaded, progress), name=f"build {wish.ref}"
    )
    work.add_done_callback(lambda _: progress.end())
    try:
        async for updates in progress.follow():
            for line in narrator.feed(updates):
                if not wish.quiet:
                    yield line
        try:
            told = (await work).response
        except KnarrError as error:
            yield _failed(error)
            return
        if not wish.quiet:
            for line in narrator.finish():
                yield line
        image = told["containerimage.config.digest"]
        yield {"aux": {"ID": image}}
        if wish.quiet:
            yield {"stream": f"{image}\n"}
            return
        yield {"stream": f"Successfully built {image.removeprefix('sha256:')[:12]}\n"}
        for name in wish.names:
            yield {"stream": f"Successfully tagged {Reference.parse(name).tagged().familiar}\n"}
    finally:
        if not work.done():
            work.cancel()
            await asyncio.wait([work])


def _labels(wish: ClassicWish) -> list[Node]:
    """Labels that came with the request: a step each, as if the Dockerfile ended with them."""
    labels = sorted(
        (name.removeprefix("label:"), value)
        for name, value in wish.attrs.items()
        if name.startswith("label:")
    )
    return [Node("LABEL", f"LABEL {name}={value}") for name, value in labels]


def _failed(error: KnarrError) -> Line:
    """In the classic builder's words where a command failed."""
    text = str(error)
    detail: dict[str, Any] = {"message": text}
    if isinstance(error, BuildFailed) and error.exit_code is not None:
        command = text.partition('"')[2].rpartition('" did not complete')[0]
        text = f"The command '{command}' returned a non-zero code: {error.exit_code}"
        detail = {"code": error.exit_code, "message": text}
    return {"errorDetail": detail, "error": text}
