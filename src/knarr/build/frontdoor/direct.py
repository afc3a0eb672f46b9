"""A build that is asked for by POST /build with version=2, as clients without buildx do it: what BuildKit's Status would tell is told
in the answer's lines, and the client lends its files by a session, as ever.

What fails before anything was told is raised; later it is a line.
"""

import asyncio
from base64 import b64encode
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from knarr.build.frontdoor import encoding
from knarr.build.frontdoor.control import Control
from knarr.build.frontdoor.jobs import Jobs
from knarr.build.port import Exporter, Sessions, Wish
from knarr.build.proto import control_pb2 as pb
from knarr.model.errors import KnarrError

_PACE = 0.05
_IMAGES = ("moby", "image")
Line = dict[str, Any]


def request(wish: Wish, exporter: Exporter | None, *, inline: bool) -> pb.SolveRequest:
    """The same, as BuildKit's clients would ask for it. `inline`: its cache goes along in the image."""
    exporters = [pb.Exporter(Type=exporter.type, Attrs=exporter.attrs)] if exporter else []
    exports = [pb.CacheOptionsEntry(Type="inline")] if inline else []
    return pb.SolveRequest(
        Ref=wish.ref,
        Session=wish.session,
        Frontend="dockerfile.v0",
        FrontendAttrs=wish.attrs,
        Exporters=exporters,
        Cache=pb.CacheOptions(Exports=exports),
        Entitlements=sorted(wish.granted),
    )


class Direct:
    """Those of one daemon, by their references."""

    def __init__(self, control: Control, jobs: Jobs):
        self._control = control
        self._jobs = jobs
        self._running: dict[str, asyncio.Task[pb.SolveResponse]] = {}

    def cancel(self, ref: str) -> None:
        """Ends a build, if it is there."""
        if ref in self._running:
            self._running[ref].cancel()

    async def lines(self, asked: pb.SolveRequest, sessions: Sessions) -> AsyncGenerator[Line, None]:
        """Raises KnarrError before the first line."""
        work = asyncio.create_task(self._control.build(asked, sessions), name=f"build {asked.Ref}")
        self._running[asked.Ref] = work
        told = False
        try:
            job = await self._jobs.heard(asked.Ref)
            async for updates in job.progress.follow(_PACE):
                data = encoding.response(updates).SerializeToString()
                yield {"id": "moby.buildkit.trace", "aux": b64encode(data).decode()}
                told = True
            await asyncio.wait([work])
            response = {} if work.cancelled() else work.result().ExporterResponse
            if work.cancelled():
                yield failed("context canceled")
            elif any(each.Type in _IMAGES for each in asked.Exporters):
                yield {"id": "moby.image.id", "aux": {"ID": _image(response)}}
        except KnarrError as error:
            if not told:
                raise
            yield failed(str(error))
        finally:
            del self._running[asked.Ref]
            if not work.done():
                work.cancel()
                await asyncio.wait([work])


def failed(text: str) -> Line:
    """How a line tells of an error."""
    return {"errorDetail": {"message": text}, "error": text}


def _image(response: Mapping[str, str]) -> str:
    return response.get("containerimage.config.digest") or response["containerimage.digest"]
