"""/networks: the predefined ones. User-defined networks are not there yet, and say so."""

from typing import Any

from knarr.api.server.call import Call, Route
from knarr.api.server.replies import reply
from knarr.api.spec.others import NetworkConnect, NetworkCreate, NetworkDisconnect
from knarr.loop.http.messages import Response
from knarr.model.errors import Conflict, Denied, Unsupported
from knarr.model.moments import rfc3339
from knarr.model.system import NetworkView

PREDEFINED = ("bridge", "host", "none")


def told(view: NetworkView) -> dict[str, Any]:
    """A network."""
    return {
        "Name": view.name,
        "Id": view.id,
        "Created": rfc3339(view.created),
        "Scope": view.scope,
        "Driver": view.driver,
        "EnableIPv4": True,
        "EnableIPv6": view.ipv6,
        "IPAM": {
            "Driver": "default",
            "Options": None,
            "Config": [
                {"Subnet": subnet, "Gateway": gateway} if gateway else {"Subnet": subnet}
                for subnet, gateway in view.subnets
            ]
            or None,
        },
        "Internal": view.internal,
        "Attachable": False,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {
            each.container_id: {
                "Name": each.name,
                "EndpointID": each.endpoint_id,
                "MacAddress": each.mac,
                "IPv4Address": each.ipv4,
                "IPv6Address": each.ipv6,
            }
            for each in view.endpoints
        },
        "Options": dict(view.options),
        "Labels": dict(view.labels),
    }


async def list_(call: Call) -> Response:
    """GET /networks"""
    return reply([told(view) for view in await call.engine.networks.list(call.filters())])


async def inspect(call: Call) -> Response:
    """GET /networks/{name}"""
    return reply(told(await call.engine.networks.inspect(call.name)))


async def create(call: Call) -> Response:
    """POST /networks/create"""
    body = await call.json(NetworkCreate)
    if body.Name in PREDEFINED:
        raise Conflict(f"network with name {body.Name} already exists")
    raise Unsupported("user-defined networks are not supported by this daemon yet")


async def remove(call: Call) -> Response:
    """DELETE /networks/{name}"""
    view = await call.engine.networks.inspect(call.name)
    raise Denied(f"{view.name} is a pre-defined network and cannot be removed")


async def connect(call: Call) -> Response:
    """POST /networks/{name}/connect"""
    body = await call.json(NetworkConnect)
    return await _refuse(call, body.Container)


async def disconnect(call: Call) -> Response:
    """POST /networks/{name}/disconnect"""
    body = await call.json(NetworkDisconnect)
    return await _refuse(call, body.Container)


async def _refuse(call: Call, container: str) -> Response:
    await call.engine.networks.inspect(call.name)
    await call.engine.containers.inspect(container)
    raise Unsupported("a container's networks cannot be changed by this daemon yet")


async def prune(call: Call) -> Response:
    """POST /networks/prune"""
    pruned = await call.engine.networks.prune(call.filters())
    return reply({"NetworksDeleted": list(pruned.ids) or None})


ROUTES = (
    Route("GET", "/networks", list_),
    Route("POST", "/networks/create", create, lasting=True),
    Route("POST", "/networks/prune", prune, lasting=True),
    Route("GET", "/networks/{name}", inspect),
    Route("DELETE", "/networks/{name}", remove, lasting=True),
    Route("POST", "/networks/{name}/connect", connect, lasting=True),
    Route("POST", "/networks/{name}/disconnect", disconnect, lasting=True),
)
