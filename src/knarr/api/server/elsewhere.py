"""What Docker's API has and this daemon has not: swarm, plugins, builds. Each refusal is in dockerd's words where it has some."""

from knarr.api.server.call import Call, Handler, Route
from knarr.api.server.replies import reply
from knarr.loop.http.messages import Response
from knarr.model.errors import NotFound, Unavailable, Unsupported

_SWARM = ("swarm", "nodes", "services", "tasks", "secrets", "configs")


NO_MANAGER = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node '
    "to swarm and try again."
)


async def swarm(_: Call) -> Response:
    """Every noun of a swarm."""
    raise Unavailable(NO_MANAGER)


async def leave(_: Call) -> Response:
    """POST /swarm/leave"""
    raise Unavailable("This node is not part of a swarm")


async def no_swarm(_: Call) -> Response:
    """POST /swarm/init and /swarm/join"""
    raise Unsupported("swarm mode is not supported by this daemon")


async def plugins(_: Call) -> Response:
    """GET /plugins"""
    return reply([])


async def no_plugin(call: Call) -> Response:
    """Any one plugin."""
    raise NotFound(f'plugin "{call.name}" not found')


def _refusal(what: str) -> Handler:
    async def refuse(_: Call) -> Response:
        raise Unsupported(f"{what} is not supported by this daemon")

    return refuse


def _swarm_routes() -> list[Route]:
    routes = [
        Route("POST", "/swarm/init", no_swarm),
        Route("POST", "/swarm/join", no_swarm),
        Route("POST", "/swarm/leave", leave),
        Route("POST", "/swarm/update", swarm),
        Route("POST", "/swarm/unlock", swarm),
        Route("GET", "/swarm/unlockkey", swarm),
    ]
    for noun in _SWARM:
        routes.append(Route("GET", f"/{noun}", swarm))
        for method in ("GET", "POST", "DELETE"):
            routes.append(Route(method, f"/{noun}/{{name:path}}", swarm))
    return routes


ROUTES = (
    *_swarm_routes(),
    Route("GET", "/plugins", plugins),
    Route("GET", "/plugins/privileges", _refusal("installing plugins")),
    Route("POST", "/plugins/pull", _refusal("installing plugins")),
    Route("POST", "/plugins/create", _refusal("creating plugins")),
    Route("GET", "/plugins/{name:path}/json", no_plugin),
    *(
        Route("POST", f"/plugins/{{name:path}}/{verb}", no_plugin)
        for verb in ("enable", "disable", "set", "push", "upgrade")
    ),
    Route("DELETE", "/plugins/{name:path}", no_plugin),
)
