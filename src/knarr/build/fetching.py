"""Where a graph begins: a client's files, an image, a file of the web, a commit."""

import json

from knarr.build.bench import Bench, Given
from knarr.build.errors import BuildFailed
from knarr.build.operations import Source
from knarr.build.places import UPLOADED
from knarr.build.port import Sessions
from knarr.build.progress import Step
from knarr.model.platform import Platform


async def fetch(
    source: Source, platform: Platform | None, step: Step, bench: Bench, sessions: Sessions, session: str
) -> Given:
    """What the source gives; `session` is that of the build's client. Raises BuildFailed."""
    if source.scheme == "local":
        lender = await sessions.get(source.attribute("local.session") or session)
        return await lender.directory(
            source.location,
            step,
            follow=_listed(source, "local.followpaths"),
            include=_listed(source, "local.includepatterns"),
            exclude=_listed(source, "local.excludepatterns"),
        )
    if source.scheme in ("docker-image", "oci-layout"):
        return await bench.image(source, platform, step)
    if source.identifier.startswith(UPLOADED):
        lender = await sessions.get(session)
        return await lender.upload(source.identifier, source.attribute("http.filename"), step)
    if source.scheme in ("http", "https", "git"):
        return await bench.remote(source, step)
    raise BuildFailed(f"sources of the kind {source.scheme} are not supported by this builder")


def _listed(source: Source, name: str) -> list[str]:
    found: list[str] = json.loads(source.attribute(name) or "[]")
    return found
