"""/networks: made, listed, removed, and containers connected to them."""

from ipaddress import ip_address, ip_network
from typing import Any

from knarr.api.server import asking
from knarr.api.server.call import Call, Route
from knarr.api.server.replies import nothing, reply
from knarr.api.spec.containers import Endpoint
from knarr.api.spec.history import shaped
from knarr.api.spec.others import NetworkConnect, NetworkCreate, NetworkDisconnect
from knarr.api.spec.versions import Version
from knarr.engine.errors import NoSuchNetwork
from knarr.engine.values import AddressRange, NetworkSpec
from knarr.loop.http.messages import Response
from knarr.model.errors import Invalid
from knarr.model.moments import rfc3339
from knarr.model.system import NetworkView


def told(view: NetworkView, version: Version) -> dict[str, Any]:
    """A network as inspect shows it."""
    value = summary(view)
    value["Containers"] = {
        each.container_id: {
            "Name": each.name,
            "EndpointID": each.endpoint_id,
            "MacAddress": each.mac,
            "IPv4Address": each.ipv4,
            "IPv6Address": each.ipv6,
        }
        for each in view.endpoints
    }
    value["Status"] = {"IPAM": {"Subnets": status(view)}}
    return shaped("network", value, version)


def summary(view: NetworkView) -> dict[str, Any]:
    """A network as the list shows it."""
    return {
        "Name": view.name,
        "Id": view.id,
        "Created": rfc3339(view.created),
        "Scope": view.scope,
        "Driver": view.driver,
        "EnableIPv4": view.ipv4,
        "EnableIPv6": view.ipv6,
        "IPAM": {
            "Driver": "default",
            "Options": None if view.ipam_options is None else dict(view.ipam_options),
            "Config": [_range(*each) for each in view.ranges] or None,
        },
        "Internal": view.internal,
        "Attachable": view.attachable,
        "Ingress": False,
        "ConfigFrom": {"Network": view.config_from},
        "ConfigOnly": view.config_only,
        "Options": dict(view.options),
        "Labels": dict(view.labels),
    }


def _range(subnet: str, gateway: str, within: str, reserved: Any) -> dict[str, Any]:
    value = {"Subnet": subnet, "IPRange": within, "Gateway": gateway, "AuxiliaryAddresses": dict(reserved)}
    return {key: each for key, each in value.items() if each}


def status(view: NetworkView) -> dict[str, dict[str, int]]:
    """How many addresses of each subnet are taken: its own and its broadcast address, gateways, reserved ones, containers'."""
    taken = [each for end in view.endpoints for each in (end.ipv4, end.ipv6) if each]
    found = {}
    for subnet, gateway, within, reserved in view.ranges:
        network = ip_network(subnet)
        edges = (network[0], network[-1]) if network.version == 4 else (network[0],)
        known = [gateway, *reserved.values(), *(text.partition("/")[0] for text in taken)]
        used = {each for each in (*edges, *(ip_address(text) for text in known if text)) if each in network}
        dynamic = ip_network(within) if within else network
        free = dynamic.num_addresses - sum(each in dynamic for each in used)
        found[subnet] = {"IPsInUse": len(used), "DynamicIPsAvailable": min(free, (1 << 64) - 1)}
    return found


async def list_(call: Call) -> Response:
    """GET /networks"""
    found = await call.engine.networks.list(call.filters())
    if call.version < (1, 28):
        return reply([told(view, call.version) for view in found])
    values = [summary(view) for view in found]
    if call.version < (1, 52):
        values = [{**value, "Containers": {}} for value in values]
    return reply(values)


async def inspect(call: Call) -> Response:
    """GET /networks/{name}: of that scope only, where the query names one."""
    verbose, scope = call.text("verbose"), call.text("scope")
    if verbose and verbose.lower() not in ("0", "1", "t", "f", "true", "false"):
        raise Invalid(
            f'invalid value for verbose: {verbose}: strconv.ParseBool: parsing "{verbose}": invalid syntax'
        )
    view = await call.engine.networks.inspect(call.name)
    if scope not in ("", view.scope):
        raise NoSuchNetwork(call.name)
    return reply(told(view, call.version))


async def create(call: Call) -> Response:
    """POST /networks/create"""
    body = await call.json(NetworkCreate)
    ipam = body.IPAM
    spec = NetworkSpec(
        name=body.Name,
        driver=body.Driver,
        ranges=tuple(
            AddressRange(
                subnet=each.Subnet,
                gateway=each.Gateway,
                within=each.IPRange,
                reserved=each.AuxiliaryAddresses or {},
            )
            for each in (ipam.Config if ipam else None) or ()
        ),
        ipam_driver=ipam.Driver if ipam else "",
        ipam_options=ipam.Options if ipam else {},
        config_only=body.ConfigOnly,
        config_from=str((body.ConfigFrom or {}).get("Network", "")),
        ingress=body.Ingress,
        scope=body.Scope,
        internal=body.Internal,
        attachable=body.Attachable,
        ipv4=body.EnableIPv4,
        ipv6=body.EnableIPv6,
        labels=body.Labels or {},
        options=body.Options or {},
    )
    return reply({"Id": await call.engine.networks.create(spec), "Warning": ""}, 201)


async def remove(call: Call) -> Response:
    """DELETE /networks/{name}"""
    await call.engine.networks.remove(call.name)
    return nothing()


async def connect(call: Call) -> Response:
    """POST /networks/{name}/connect"""
    body = await call.json(NetworkConnect)
    asked = asking.endpoint(call.name, body.EndpointConfig or Endpoint())
    await call.engine.networks.connect(call.name, body.Container, asked)
    return Response(200)


async def disconnect(call: Call) -> Response:
    """POST /networks/{name}/disconnect"""
    body = await call.json(NetworkDisconnect)
    await call.engine.networks.disconnect(call.name, body.Container)
    return Response(200)


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
