"""Builds by POST /build with version=2: where the context comes from, and how they are cancelled; see build.frontdoor.direct.

The context is the client's session's, an address, the request's body, or the body of a second request that names the same build.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from knarr.build.context.entries import Index
from knarr.build.context.store import Files
from knarr.build.frontdoor.direct import request
from knarr.build.frontdoor.door import FrontDoor
from knarr.build.port import Console, Contents, Exporter, Session, Sessions, Wish
from knarr.engine.building.hoard import Hoard
from knarr.engine.building.requests import added_hosts
from knarr.engine.building.uploads import Uploaded, receive
from knarr.model.errors import Conflict, Unavailable

Line = dict[str, Any]
_UPLOADED = "upload-request"
_UPLOAD = f"{_UPLOADED}:"
PATIENCE = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectWish:
    """`wish` is as BuildKit's clients have it; `remote` says where the context is; `known` is the client's name for the build;
    `credentials` (user, secret) by registry host, for clients without a session."""

    wish: Wish
    exporter: Exporter | None
    remote: str = ""
    known: str = ""
    inline: bool = False
    quiet: bool = False
    hosts: Sequence[str] = ()
    credentials: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def resolved(self, gateways: Sequence[str]) -> "DirectWish":
        """The same with hosts as the frontend takes them. Raises Invalid."""
        if not self.hosts:
            return self
        attrs = {**self.wish.attrs, "add-hosts": added_hosts(self.hosts, gateways)}
        return replace(self, hosts=(), wish=replace(self.wish, attrs=attrs))


class Carried(Uploaded):
    """A client whose files came as an archive, and that lends the rest by a session."""

    def __init__(self, index: Index, behind: Session):
        super().__init__(index, {})
        self._behind = behind

    async def secret(self, name: str) -> bytes | None:
        return await self._behind.secret(name)

    def ssh_agent(self, name: str) -> AbstractAsyncContextManager[str]:
        return self._behind.ssh_agent(name)

    def console(self, title: str) -> AbstractAsyncContextManager[Console] | None:
        return self._behind.console(title)

    async def credentials(self, host: str) -> tuple[str, str]:
        return await self._behind.credentials(host)

    async def send_file(
        self, exporter: int, metadata: Mapping[str, str], chunks: AsyncIterator[bytes]
    ) -> None:
        await self._behind.send_file(exporter, metadata, chunks)

    async def send_tree(self, exporter: int, root: str, divided: bool) -> None:
        await self._behind.send_tree(exporter, root, divided)

    def contents(self, store: str) -> Contents:
        return self._behind.contents(store)


class Builds:
    """Those of one engine."""

    def __init__(self, door: FrontDoor, files: Files, hoard: Hoard):
        self._door = door
        self._files = files
        self._hoard = hoard
        self._uploads: dict[str, asyncio.Future[_Upload]] = {}
        self._refs: dict[str, str] = {}

    async def build(self, asked: DirectWish, body: AsyncIterator[bytes]) -> AsyncIterator[Line]:
        """Raises KnarrError for what is wrong before anything is told."""
        if asked.known.startswith(_UPLOAD):
            await self._bring(asked.known.removeprefix(_UPLOAD), body)
            return _Resumed(None, _none())
        lines = self._lines(asked, body)
        return _Resumed(await anext(lines, None), lines)

    def cancel(self, known: str) -> None:
        """Ends the build that its client calls so, if there is one."""
        if known in self._refs:
            self._door.direct.cancel(self._refs[known])

    async def _lines(self, asked: DirectWish, body: AsyncIterator[bytes]) -> AsyncGenerator[Line, None]:
        if asked.known:
            self._refs[asked.known] = asked.wish.ref
        held = await self._hoard.uploading()
        lines: AsyncGenerator[Line, None] = _none()
        kept: list[Line] = []
        try:
            sessions = await self._sessions(asked, body)
            request_ = request(asked.wish, asked.exporter, inline=asked.inline)
            lines = self._door.direct.lines(request_, sessions)
            async for line in lines:
                if asked.quiet:
                    kept.append(line)
                else:
                    yield line
            for line in _quietly(kept):
                yield line
        finally:
            await lines.aclose()
            self._hoard.uploaded(held)
            self._refs.pop(asked.known, None)

    async def _sessions(self, asked: DirectWish, body: AsyncIterator[bytes]) -> Sessions:
        """Who lends the files."""
        lenders = self._door.lenders
        if asked.remote == _UPLOADED:
            files = (await self._brought(asked.known)).files
        elif asked.remote:
            return lenders
        else:
            files = await receive(body, self._files)
        if not asked.wish.session:
            return Uploaded(files, asked.credentials)
        return Carried(files, await lenders.get(asked.wish.session))

    async def _bring(self, known: str, body: AsyncIterator[bytes]) -> None:
        """The archive of a build that waits for it, or is about to."""
        held = await self._hoard.uploading()
        index = await receive(body, self._files)
        waiting = self._slot(known)
        if waiting.done():
            raise Conflict(f"the context of build {known} was uploaded already")
        waiting.set_result(_Upload(index, held))
        asyncio.get_running_loop().call_later(PATIENCE, self._forget, known, waiting)

    async def _brought(self, known: str) -> "_Upload":
        waiting = self._slot(known)
        try:
            async with asyncio.timeout(PATIENCE):
                return await asyncio.shield(waiting)
        except TimeoutError:
            raise Unavailable("context deadline exceeded: nothing was uploaded for the build") from None
        finally:
            self._forget(known, waiting)

    def _slot(self, known: str) -> "asyncio.Future[_Upload]":
        return self._uploads.setdefault(known, asyncio.get_running_loop().create_future())

    def _forget(self, known: str, waiting: "asyncio.Future[_Upload]") -> None:
        if self._uploads.get(known) is waiting:
            del self._uploads[known]


class _Upload(NamedTuple):
    """What came, and what holds it."""

    files: Index
    held: object


class _Resumed:
    """Lines of which the first was waited for."""

    def __init__(self, first: Line | None, lines: AsyncGenerator[Line, None]):
        self._first = first
        self._lines = lines

    def __aiter__(self) -> "_Resumed":
        return self

    async def __anext__(self) -> Line:
        first, self._first = self._first, None
        return await anext(self._lines) if first is None else first

    async def aclose(self) -> None:
        """Stops the build."""
        await self._lines.aclose()


async def _none() -> AsyncGenerator[Line, None]:
    """No line at all."""
    nothing: Sequence[Line] = ()
    for line in nothing:
        yield line


def _quietly(kept: Sequence[Line]) -> Sequence[Line]:
    """The image's id alone; all, if the build failed."""
    if any("error" in line for line in kept):
        return kept
    return [{"stream": f"{line['aux']['ID']}\n"} for line in kept if line.get("id") == "moby.image.id"]
