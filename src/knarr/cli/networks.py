"""`knarr network …`: ls, inspect, create, rm, connect, disconnect, prune."""

import sys
from typing import Any

from knarr.api.client.http import ApiError, Http
from knarr.cli.common import Failed, confirm, each, filters
from knarr.cli.containerflags import pairs
from knarr.cli.flags import Flag, Options, Verb
from knarr.cli.system import INSPECTED, inspect_kinds
from knarr.cli.table import show

_FORCE = Flag("force", "f", "bool", "Do not prompt for confirmation")

LS = Verb(
    "network ls",
    "List networks",
    "[OPTIONS]",
    (
        Flag("filter", "f", "list", 'Provide filter values (e.g. "driver=bridge")'),
        Flag(
            "format", "", "string", "Format output using a custom template: 'table', 'json' or a Go template"
        ),
        Flag("quiet", "q", "bool", "Only display network IDs"),
        Flag("no-trunc", "", "bool", "Do not truncate the output"),
    ),
    most=0,
)
INSPECT = Verb(
    "network inspect",
    "Display detailed information on one or more networks",
    "NETWORK [NETWORK...]",
    (Flag("format", "f", "string", "Format output using a custom template: 'json' or a Go template"),),
    least=1,
)
CREATE = Verb(
    "network create",
    "Create a network",
    "[OPTIONS] NETWORK",
    (
        Flag("attachable", "", "bool", "Enable manual container attachment"),
        Flag("aux-address", "", "list", "Auxiliary IPv4 or IPv6 addresses used by Network driver"),
        Flag("driver", "d", "string", "Driver to manage the Network", "bridge"),
        Flag("gateway", "", "list", "IPv4 or IPv6 Gateway for the master subnet"),
        Flag("internal", "", "bool", "Restrict external access to the network"),
        Flag("ip-range", "", "list", "Allocate container ip from a sub-range"),
        Flag("ipam-driver", "", "string", "IP Address Management Driver", "default"),
        Flag("ipam-opt", "", "list", "Set IPAM driver specific options"),
        Flag("ipv6", "", "bool", "Enable or disable IPv6 address assignment"),
        Flag("label", "", "list", "Set metadata on a network"),
        Flag("opt", "o", "list", "Set driver specific options"),
        Flag("subnet", "", "list", "Subnet in CIDR format that represents a network segment"),
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
        Flag("alias", "", "list", "Add network-scoped alias for the container"),
        Flag("driver-opt", "", "list", "Driver options for the network"),
        Flag("gw-priority", "", "int", "Highest gw-priority provides the default gateway"),
        Flag("ip", "", "string", "IPv4 address (e.g., 172.30.100.104)"),
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
PRUNE = Verb(
    "network prune",
    "Remove all unused networks",
    "[OPTIONS]",
    (_FORCE, Flag("filter", "", "list", 'Provide filter values (e.g. "until=<timestamp>")')),
    most=0,
)


def ls(http: Http, options: Options) -> int:
    """The table."""
    with http.request("GET", "/networks", {"filters": filters(options.filter)}) as answer:
        values = answer.json()
    rows = [
        {
            "ID": value["Id"] if options.no_trunc else value["Id"][:12],
            "Name": value["Name"],
            "Driver": value["Driver"],
            "Scope": value["Scope"],
        }
        for value in sorted(values, key=lambda value: value["Name"])
    ]
    headers = [("NETWORK ID", "ID"), ("NAME", "Name"), ("DRIVER", "Driver"), ("SCOPE", "Scope")]
    sys.stdout.write(show(rows, headers, options.format, quiet="ID" if options.quiet else ""))
    return 0


def inspect(http: Http, options: Options) -> int:
    """As JSON, or by a template."""
    return inspect_kinds(http, options, [INSPECTED[2]])


def create(http: Http, options: Options) -> int:
    """Prints its id."""
    body = {
        "Name": options.args[0],
        "Driver": options.driver,
        "EnableIPv6": options.ipv6,
        "Internal": options.internal,
        "Attachable": options.attachable,
        "IPAM": {
            "Driver": options.ipam_driver,
            "Options": pairs(options.ipam_opt),
            "Config": _ranges(options),
        },
        "Options": pairs(options.opt),
        "Labels": pairs(options.label),
    }
    with http.request("POST", "/networks/create", body=body) as answer:
        print(answer.json()["Id"])
    return 0


def _ranges(options: Options) -> list[dict[str, Any]]:
    """The n-th gateway and range belong to the n-th subnet. Raises Failed."""
    ranges: list[dict[str, Any]] = [{"Subnet": subnet} for subnet in options.subnet]
    for key, values in (("Gateway", options.gateway), ("IPRange", options.ip_range)):
        if len(values) > len(ranges):
            raise Failed("every ip-range or gateway must have a corresponding subnet", 1)
        for entry, value in zip(ranges, values, strict=False):
            entry[key] = value
    if options.aux_address:
        if not ranges:
            raise Failed("no matching subnet for aux-address", 1)
        ranges[0]["AuxiliaryAddresses"] = pairs(options.aux_address)
    return ranges


def remove(http: Http, options: Options) -> int:
    """Prints each name."""

    def one(name: str) -> None:
        try:
            http.request("DELETE", f"/networks/{name}").close()
        except ApiError as error:
            if not (options.force and error.status == 404):
                raise

    return each(options.args, one)


def connect(http: Http, options: Options) -> int:
    """While it runs, or for its next life."""
    network, container = options.args
    endpoint = {
        "Aliases": options.alias,
        "DriverOpts": pairs(options.driver_opt),
        "GwPriority": options.gw_priority,
        "IPAMConfig": {"IPv4Address": options.ip},
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


def prune(http: Http, options: Options) -> int:
    """Asks first, unless -f."""
    if not confirm(
        "WARNING! This will remove all custom networks not used by at least one container.", options.force
    ):
        return 0
    with http.request("POST", "/networks/prune", {"filters": filters(options.filter)}) as answer:
        value = answer.json()
    if value.get("NetworksDeleted"):
        print("Deleted Networks:\n" + "\n".join(value["NetworksDeleted"]))
    return 0
