"""/volumes"""

from typing import Any

from knarr.api.server.call import Call, Route
from knarr.api.server.elsewhere import NO_MANAGER
from knarr.api.server.replies import nothing, reply
from knarr.api.spec.others import VolumeCreate
from knarr.loop.http.messages import Response
from knarr.model.errors import Unavailable
from knarr.model.moments import rfc3339
from knarr.model.system import VolumeView


def told(view: VolumeView) -> dict[str, Any]:
    """A volume."""
    value: dict[str, Any] = {
        "CreatedAt": rfc3339(view.created // 1_000_000_000 * 1_000_000_000),
        "Driver": view.driver,
        "Labels": dict(view.labels) or None,
        "Mountpoint": view.mountpoint,
        "Name": view.name,
        "Options": None if view.options is None else dict(view.options),
        "Scope": "local",
    }
    if view.size >= 0:
        value["UsageData"] = {"RefCount": view.references, "Size": view.size}
    return value


async def list_(call: Call) -> Response:
    """GET /volumes"""
    views = await call.engine.volumes.list(call.filters())
    return reply({"Volumes": [told(view) for view in views], "Warnings": None})


async def create(call: Call) -> Response:
    """POST /volumes/create"""
    body = await call.json(VolumeCreate)
    if body.ClusterVolumeSpec is not None:
        raise Unavailable(NO_MANAGER)
    view = await call.engine.volumes.create(body.Name, body.Driver, body.DriverOpts, body.Labels or {})
    return reply(told(view), 201)


async def inspect(call: Call) -> Response:
    """GET /volumes/{name}"""
    return reply(told(await call.engine.volumes.inspect(call.name)))


async def remove(call: Call) -> Response:
    """DELETE /volumes/{name}"""
    await call.engine.volumes.remove(call.name, call.flag("force"))
    return nothing()


async def update(_: Call) -> Response:
    """PUT /volumes/{name}"""
    raise Unavailable("volume update only valid for cluster volumes, but swarm is unavailable")


async def prune(call: Call) -> Response:
    """POST /volumes/prune: before 1.42 named volumes went too."""
    filters = call.filters()
    if call.version < (1, 42):
        filters["all"] = ("true",)
    pruned = await call.engine.volumes.prune(filters)
    return reply({"VolumesDeleted": list(pruned.ids), "SpaceReclaimed": pruned.space})


ROUTES = (
    Route("GET", "/volumes", list_),
    Route("POST", "/volumes/create", create, lasting=True),
    Route("POST", "/volumes/prune", prune, lasting=True),
    Route("GET", "/volumes/{name}", inspect),
    Route("PUT", "/volumes/{name}", update),
    Route("DELETE", "/volumes/{name}", remove, lasting=True),
)
