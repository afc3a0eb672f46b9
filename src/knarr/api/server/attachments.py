"""From values to Docker's JSON: a container's place in its networks. Pure."""

from typing import Any

from knarr.api.server.omission import listed
from knarr.api.spec.versions import Version
from knarr.model.container import ContainerSpec, ContainerView, EndpointSpec, EndpointView
from knarr.model.ports import Port

_OF_THE_BRIDGE = (
    "EndpointID",
    "Gateway",
    "GlobalIPv6Address",
    "GlobalIPv6PrefixLen",
    "IPAddress",
    "IPPrefixLen",
    "IPv6Gateway",
    "MacAddress",
)


def network_settings(view: ContainerView, version: Version) -> dict[str, Any]:
    """`NetworkSettings`."""
    first = view.endpoints[0] if view.endpoints else None
    return {
        "SandboxID": first.sandbox_id if first else "",
        "SandboxKey": first.sandbox_key if first else "",
        "Ports": _ports(view) if view.state.pid else {},
        "Networks": networks(view, version),
    }


def networks(view: ContainerView, version: Version) -> dict[str, Any]:
    """NetworkSettings.Networks."""
    asked = {each.network: each for each in view.spec.endpoints}
    found = {each.network: endpoint(each, asked.get(each.network)) for each in view.endpoints}
    if version < (1, 45):
        for name, value in found.items():
            if name not in ("bridge", "host", "none", "default"):
                own = [*(value["Aliases"] or ()), view.id[:12], view.spec.hostname]
                value["Aliases"] = list(dict.fromkeys(own))
    return found


def endpoint(view: EndpointView, asked: EndpointSpec | None = None) -> dict[str, Any]:
    """EndpointSettings."""
    addresses = None
    if asked and (asked.ipv4 or asked.ipv6 or asked.link_local):
        fixed = {
            "IPv4Address": asked.ipv4,
            "IPv6Address": asked.ipv6,
            "LinkLocalIPs": list(asked.link_local),
        }
        addresses = {key: each for key, each in fixed.items() if each}
    return {
        "IPAMConfig": addresses,
        "Links": listed(view.links or None),
        "Aliases": listed(view.aliases or None),
        "MacAddress": view.mac,
        "DriverOpts": dict(view.driver_options) or None,
        "GwPriority": asked.priority if asked else 0,
        "NetworkID": view.network_id,
        "EndpointID": view.endpoint_id,
        "Gateway": view.gateway,
        "IPAddress": view.ipv4,
        "IPPrefixLen": view.ipv4_prefix,
        "IPv6Gateway": view.ipv6_gateway,
        "GlobalIPv6Address": view.ipv6,
        "GlobalIPv6PrefixLen": view.ipv6_prefix,
        "DNSNames": listed(view.dns_names or None),
    }


def _ports(view: ContainerView) -> dict[str, Any]:
    """What is exposed, with what it is published as."""
    ports: dict[Port, list[dict[str, str]] | None] = dict.fromkeys(view.spec.exposed_ports)
    for each in view.published:
        found = ports.get(each.port) or []
        found.append({"HostIp": each.host_ip, "HostPort": str(each.host_port or "")})
        ports[each.port] = found
    return {str(port): found for port, found in sorted(ports.items(), key=lambda item: item[0])}


def of_the_bridge(view: ContainerView) -> dict[str, Any]:
    """Before 1.52 the default bridge's addresses were the container's, too."""
    default = next((each for each in view.endpoints if each.network == "bridge"), None)
    if default is None:
        return {}
    shown = endpoint(default)
    return {key: shown[key] for key in _OF_THE_BRIDGE}


def main_mac(spec: ContainerSpec) -> str:
    """Before 1.52 the MAC address of the main network was the container's; "" if none was asked for."""
    asked = (each.mac for each in spec.endpoints if each.network == spec.network_mode and each.mac)
    return spec.mac_address or next(asked, "")
