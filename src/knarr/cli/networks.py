"""`knarr network …`: ls, create, rm, connect, disconnect."""

import sys
from typing import Any

from knarr.api.client.http import ApiError, Http
from knarr.cli import config
from knarr.cli.common import Failed, each, filters
from knarr.cli.containerbody import pairs
from knarr.cli.flags import Flag, Options, Verb
from knarr.cli.networkflags import ipam
from knarr.cli.table import labels, short, show

LS = Verb(
    "network ls",
    "List networks",
    "[OPTIONS]",
    (
        Flag("filter", "f", "filter", 'Provide filter values (e.g. "driver=bridge")'),
        Flag(
            "format", "", "string", "Format output using a custom template: 'table', 'json' or a Go template"
        ),
        Flag("quiet", "q", "bool", "Only display network IDs"),
        Flag("no-trunc", "", "bool", "Do not truncate the output"),
    ),
    most=0,
)
CREATE = Verb(
    "network create",
    "Create a network",
    "[OPTIONS] NETWORK",
    (
        Flag("attachable", "", "bool", "Enable manual container attachment"),
        Flag("aux-address", "", "map", "Auxiliary IPv4 or IPv6 addresses used by Network driver"),
        Flag("config-from", "", "string", "The network from which to copy the configuration"),
        Flag("config-only", "", "bool", "Create a configuration only network"),
        Flag("driver", "d", "string", "Driver to manage the Network", "bridge"),
        Flag("gateway", "", "strings", "IPv4 or IPv6 Gateway for the master subnet"),
        Flag("ingress", "", "bool", "Create swarm routing-mesh network"),
        Flag("internal", "", "bool", "Restrict external access to the network"),
        Flag("ip-range", "", "strings", "Allocate container ip from a sub-range"),
        Flag("ipam-driver", "", "string", "IP Address Management Driver", "default"),
        Flag("ipam-opt", "", "map", "Set IPAM driver specific options"),
        Flag("ipv4", "", "bool", "Enable or disable IPv4 address assignment", True),
        Flag("ipv6", "", "bool", "Enable or disable IPv6 address assignment"),
        Flag("label", "", "list", "Set metadata on a network"),
        Flag("opt", "o", "map", "Set driver specific options"),
        Flag("scope", "", "string", "Control the network's scope"),
        Flag("subnet", "", "strings", "Subnet in CIDR format that represents a network segment"),
    ),
    least=1,
    most=1,
)
RM = Verb(
    "network rm",
    "Remove one or more networks",
    "NETWORK [NETWORK...]",
    (Flag("force", "f", "bool", "Do not error if the network does not exist"),),
    least=1,
)
CONNECT = Verb(
    "network connect",
    "Connect a container to a network",
    "[OPTIONS] NETWORK CONTAINER",
    (
        Flag("alias", "", "strings", "Add network-scoped alias for the container"),
        Flag("driver-opt", "", "strings", "driver options for the network"),
        Flag("gw-priority", "", "int", "Highest gw-priority provides the default gateway"),
        Flag("ip", "", "string", 'IPv4 address (e.g., "172.30.100.104")'),
        Flag("ip6", "", "string", 'IPv6 address (e.g., "2001:db8::33")'),
        Flag("link", "", "list", "Add link to another container"),
        Flag("link-local-ip", "", "strings", "Add a link-local address for the container"),
    ),
    least=2,
    most=2,
)
DISCONNECT = Verb(
    "network disconnect",
    "Disconnect a container from a network",
    "[OPTIONS] NETWORK CONTAINER",
    (Flag("force", "f", "bool", "Force the container to disconnect from a network"),),
    least=2,
    most=2,
)


_HEADERS = {
    "Labels": "LABELS",
    "IPv4": "IPV4",
    "IPv6": "IPV6",
    "Internal": "INTERNAL",
    "CreatedAt": "CREATED AT",
}


def ls(http: Http, options: Options) -> int:
    """By name."""
    with http.request("GET", "/networks", {"filters": filters(options.filter)}) as answer:
        values = answer.json()
    rows = [
        _row(value, truncate=not options.no_trunc) for value in sorted(values, key=lambda each: each["Name"])
    ]
    columns = [("NETWORK ID", "ID"), ("NAME", "Name"), ("DRIVER", "Driver"), ("SCOPE", "Scope")]
    form = config.formatted(options.format, "networksFormat", quiet=options.quiet)
    sys.stdout.write(show(rows, columns, form, quiet="ID" if options.quiet else "", headers=_HEADERS))
    return 0


def _row(value: dict[str, Any], *, truncate: bool) -> dict[str, Any]:
    return {
        "ID": short(value["Id"]) if truncate else value["Id"],
        "Name": value["Name"],
        "Driver": value["Driver"],
        "Scope": value["Scope"],
        "IPv4": str(bool(value.get("EnableIPv4"))).lower(),
        "IPv6": str(bool(value.get("EnableIPv6"))).lower(),
        "Internal": str(bool(value.get("Internal"))).lower(),
        "CreatedAt": _stamp(value["Created"]),
        **labels(value.get("Labels")),
    }


def _stamp(text: str) -> str:
    """RFC 3339 as Go prints a time: "2024-01-02 03:04:05.678 +0000 UTC"."""
    day, _, rest = text.partition("T")
    if rest.endswith("Z"):
        return f"{day} {rest[:-1]} +0000 UTC"
    zone = rest[-6:].replace(":", "")
    return f"{day} {rest[:-6]} {zone} {zone}"


def create(http: Http, options: Options) -> int:
    """Prints its id."""
    body: dict[str, Any] = {
        "Name": options.args[0],
        "Driver": options.driver,
        "Scope": options.scope,
        "Internal": options.internal,
        "Attachable": options.attachable,
        "Ingress": options.ingress,
        "ConfigOnly": options.config_only,
        "IPAM": {
            "Driver": options.ipam_driver,
            "Options": pairs(options.ipam_opt),
            "Config": _ranges(options),
        },
        "Options": pairs(options.opt),
        "Labels": pairs(options.label),
    }
    for key, name in (("ipv4", "EnableIPv4"), ("ipv6", "EnableIPv6")):
        if key in options.given:
            body[name] = getattr(options, key)
    if options.config_from:
        body["ConfigFrom"] = {"Network": options.config_from}
    with http.request("POST", "/networks/create", body=body) as answer:
        made = answer.json()
    for warning in (made.get("Warning"), *(made.get("Warnings") or ())):
        if warning:
            print(f"WARNING: {warning}", file=sys.stderr)
    print(made["Id"])
    return 0


def _ranges(options: Options) -> list[dict[str, Any]]:
    """Gateways, ranges and auxiliary addresses belong to the subnet that holds them. Raises Failed."""
    if not options.subnet and (options.gateway or options.ip_range or options.aux_address):
        raise Failed("every ip-range or gateway must have a corresponding subnet")
    if not options.subnet:
        return []
    from ipaddress import ip_interface, ip_network

    try:
        found: dict[Any, dict[str, Any]] = {
            ip_network(subnet, strict=False): {"Subnet": subnet} for subnet in options.subnet
        }
        words = [
            *((address, address, "Gateway", "") for address in options.gateway),
            *((address, address, "IPRange", "") for address in options.ip_range),
            *((value, value, "AuxiliaryAddresses", key) for key, value in pairs(options.aux_address).items()),
        ]
        for address, value, field, key in words:
            inside = ip_interface(address).ip
            subnet = next((each for each in found if inside.version == each.version and inside in each), None)
            if subnet is None:
                what = {"Gateway": "gateway", "IPRange": "ip-range", "AuxiliaryAddresses": "aux-address"}[
                    field
                ]
                raise Failed(f"no matching subnet for {what} {address}")
            if key:
                found[subnet].setdefault(field, {})[key] = value
            else:
                found[subnet][field] = value
    except ValueError as error:
        raise Failed(f"invalid subnet or address: {error}") from None
    return list(found.values())


def remove(http: Http, options: Options) -> int:
    """Prints each name."""

    def one(name: str) -> None:
        try:
            http.request("DELETE", f"/networks/{name}").close()
        except ApiError as error:
            if not (options.force and error.status == 404):
                raise

    code = each(options.args, one)
    if code:
        print("exit status 1", file=sys.stderr)
    return code


def connect(http: Http, options: Options) -> int:
    """While it runs, or for its next life."""
    network, container = options.args
    endpoint = {
        "Aliases": options.alias,
        "DriverOpts": pairs(options.driver_opt),
        "GwPriority": options.gw_priority,
        "IPAMConfig": ipam(options),
        "Links": options.link,
    }
    body = {"Container": container, "EndpointConfig": endpoint}
    http.request("POST", f"/networks/{network}/connect", body=body).close()
    return 0


def disconnect(http: Http, options: Options) -> int:
    """The other way."""
    network, container = options.args
    body = {"Container": container, "Force": options.force}
    http.request("POST", f"/networks/{network}/disconnect", body=body).close()
    return 0
