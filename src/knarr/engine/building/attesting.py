"""What is told of a build's results: provenance for the build's record and, where that was asked for, in the results, and what
packages they have. Times and names of the record are the build's; with SOURCE_DATE_EPOCH they are of its inputs.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from knarr.build.attest import provenance, spdx
from knarr.build.attest.asked import Asked, Provenance
from knarr.build.attest.statement import Attestation
from knarr.build.attest.steps import Steps, steps
from knarr.build.dockerfile.frontend import Result
from knarr.build.dockerfile.questions import ImageAnswer
from knarr.build.graph import Edge, Vertex, walk
from knarr.build.operations import Exec, File, Source
from knarr.build.progress import Progress
from knarr.build.tree import Tree
from knarr.engine.building import generating
from knarr.engine.building.packing import oci_type, shown
from knarr.engine.building.reading import Read
from knarr.engine.building.scanning import scanned
from knarr.engine.images.rooms import Rooms

_TOOL = "knarr-scanner-1"
Look = Callable[[Vertex], Any]


class Scan(Protocol):
    """Runs a scanner's graph."""

    async def __call__(self, edge: Edge, top: str) -> Mapping[str, bytes]:
        """The files of `top` in the result, by name. Raises BuildFailed."""
        ...


class Attestor:
    """Of one engine. `pins`: the digests of fetched sources by their identifiers."""

    def __init__(self, rooms: Rooms, pins: Mapping[str, str]):
        self._rooms = rooms
        self._pins = pins

    def origin(self, read: Read, number: int, look: Look, wish: Provenance, finished: int) -> Attestation:
        """Of one result."""
        result = read.results[number]
        found = steps(result.output)
        made = self._made(read, result, found, look, finished)
        return provenance.attestation(made, wish)

    def _made(self, read: Read, result: Result, found: Steps, look: Look, finished: int) -> provenance.Made:
        vertices = list(walk(result.output))
        lent = [] if read.known else [read.dockerfile_local]
        told = result.epoch is not None
        moment = (result.epoch or 0) * 10**9
        lines = {each.digest: each.about.lines for each in vertices}
        return provenance.Made(
            args=read.wish.attrs,
            captured=provenance.captured(vertices, self._pins, lent),
            invocation=_known(found) if told else read.wish.ref,
            started=moment if told else read.started,
            finished=moment if told else finished,
            builder_platform=self._rooms.platform,
            steps=found,
            repeatable=told,
            filename=read.filename,
            source=read.source,
            lines=lines,
            layers=_layers(vertices, found, look),
        )

    async def bill(
        self,
        read: Read,
        number: int,
        tree: Tree,
        epoch: int,
        asked: Asked,
        progress: Progress,
        resolve: Callable[[str], Awaitable[ImageAnswer]],
        scan: Scan,
    ) -> Sequence[Attestation]:
        """What is in one result; see `generating` for scanners that are images. Raises BuildFailed."""
        assert asked.sbom is not None
        result = read.results[number]
        platform = str(result.platform or self._rooms.platform)
        if not asked.sbom.generator:
            with progress.begin(f"[{platform}] generating sbom using the engine's own scanner"):
                found = await scanned(self._rooms, tree)
            return [spdx.attestation(found, "sbom", epoch, _TOOL)]
        answer = await resolve(asked.sbom.generator)
        edge = generating.graph(
            answer.reference,
            json.loads(answer.config),
            asked.sbom,
            result.output,
            result.scans,
            self._rooms.platform,
            platform,
        )
        files = await scan(edge, generating.OUT)
        return [generating.read(name, data) for name, data in sorted(files.items()) if name.endswith(".json")]


def _known(found: Steps) -> str:
    """A name for a build that is made of its steps."""
    return hashlib.sha256(json.dumps(list(found.definition)).encode()).hexdigest()[:25]


def _layers(vertices: Sequence[Vertex], found: Steps, look: Look) -> dict[str, list[list[Any]]]:
    """The layers after each step that made any."""
    told = {}
    for vertex in vertices:
        if isinstance(vertex.operation, Exec | File) or (
            isinstance(vertex.operation, Source) and vertex.operation.scheme in ("docker-image", "oci-layout")
        ):
            given = look(vertex).given
            if isinstance(given, Tree) and given.layers:
                chain = [shown(oci_type(layer.blob)) for layer in given.layers]
                told[f"step{found.numbers[vertex.digest]}:0"] = [chain]
    return told
