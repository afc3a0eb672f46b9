"""/images and /distribution: what moves. A client that goes away stops the transfer; what arrived stays for the next try."""

from knarr.api.server import streams
from knarr.api.server.call import Call, Route
from knarr.api.server.images import one_platform, platforms, reference
from knarr.api.server.replies import reply
from knarr.loop.http.messages import Response
from knarr.model.errors import Denied, Invalid
from knarr.model.platform import Platform
from knarr.model.reference import Reference


def _platform(call: Call, since: tuple[int, int]) -> Platform | None:
    text = call.text("platform") if call.version >= since else ""
    return Platform.parse(text) if text else None


async def create(call: Call) -> Response:
    """POST /images/create: a pull, or an import of a file system."""
    if call.text("fromImage"):
        return await _pull(call)
    source = call.text("fromSrc")
    lines = call.engine.images.import_(
        call.request.body() if source == "-" else None,
        reference(call.text("repo"), call.text("tag")),
        changes=call.texts("changes"),
        message=call.text("message") or f"Imported from {source}",
        source=source,
        platform=_platform(call, (1, 32)),
    )
    return await streams.progress(lines)


async def _pull(call: Call) -> Response:
    ref = Reference.parse(call.text("fromImage").removesuffix(":"), tag=call.text("tag") or None)
    if ref.familiar_name == "scratch":
        raise Denied("'scratch' is a reserved name")
    lines = call.engine.images.pull(
        ref,
        platform=_platform(call, (1, 32)),
        auth=call.credentials(),
        all_tags=ref.tag is None and ref.digest is None,
    )
    return await streams.progress(lines)


async def push(call: Call) -> Response:
    """POST /images/{name}/push"""
    ref = Reference.parse(call.name, tag=call.text("tag") or None)
    platform = one_platform(call, (1, 46))
    return await streams.progress(call.engine.images.push(ref, platform=platform, auth=call.credentials()))


async def distribution(call: Call) -> Response:
    """GET /distribution/{name}/json"""
    found, platforms = await call.engine.images.distribution(
        Reference.parse(call.name), auth=call.credentials()
    )
    return reply(
        {
            "Descriptor": {
                "mediaType": found.media_type,
                "digest": str(found.digest),
                "size": found.size,
            },
            "Platforms": [_told(each) for each in platforms],
        }
    )


def _told(platform: Platform) -> dict[str, str]:
    value = {"architecture": platform.architecture, "os": platform.os}
    return {**value, "variant": platform.variant} if platform.variant else value


async def save(call: Call) -> Response:
    """GET /images/get and /images/{name}/get"""
    names = [call.request.params["name"]] if "name" in call.request.params else call.texts("names")
    wanted = platforms(call, "platform", (1, 48))
    if len(wanted) > 1 and call.version < (1, 52):
        raise Invalid("multiple platform parameters not supported")
    body = await call.engine.images.save(names, platforms=wanted)
    return Response(200, body, {"Content-Type": "application/x-tar"})


async def load(call: Call) -> Response:
    """POST /images/load"""
    lines = call.engine.images.load(
        call.request.body(), platform=one_platform(call, (1, 48)), quiet=call.flag("quiet", True)
    )
    return await streams.progress(lines, always=True)


ROUTES = (
    Route("GET", "/distribution/{name:path}/json", distribution),
    Route("POST", "/images/create", create),
    Route("POST", "/images/load", load),
    Route("GET", "/images/get", save),
    Route("POST", "/images/{name:path}/push", push),
    Route("GET", "/images/{name:path}/get", save),
)
