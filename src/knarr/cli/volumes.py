"""`knarr volume …`: create, ls, rm."""

import sys
from typing import Any

from knarr.api.client.http import Http
from knarr.cli import config
from knarr.cli.common import each, filters
from knarr.cli.containerbody import pairs
from knarr.cli.flags import Flag, Options, Verb
from knarr.cli.table import labels, show
from knarr.cli.units import human_size

CREATE = Verb(
    "volume create",
    "Create a volume",
    "[OPTIONS] [VOLUME]",
    (
        Flag(
            "availability", "", "string", 'Cluster Volume availability ("active", "pause", "drain")', "active"
        ),
        Flag("driver", "d", "string", "Specify volume driver name", "local"),
        Flag("group", "", "string", "Cluster Volume group (cluster volumes)"),
        Flag("label", "", "list", "Set metadata for a volume"),
        Flag("limit-bytes", "", "bytes", "Minimum size of the Cluster Volume in bytes"),
        Flag("opt", "o", "map", "Set driver specific options"),
        Flag("required-bytes", "", "bytes", "Maximum size of the Cluster Volume in bytes"),
        Flag("scope", "", "string", 'Cluster Volume access scope ("single", "multi")', "single"),
        Flag("secret", "", "map", "Cluster Volume secrets"),
        Flag(
            "sharing",
            "",
            "string",
            'Cluster Volume access sharing ("none", "readonly", "onewriter", "all")',
            "none",
        ),
        Flag("topology-preferred", "", "list", "A topology that the Cluster Volume would be preferred in"),
        Flag("topology-required", "", "list", "A topology that the Cluster Volume must be accessible from"),
        Flag("type", "", "string", 'Cluster Volume access type ("mount", "block")', "block"),
    ),
    most=1,
)
LS = Verb(
    "volume ls",
    "List volumes",
    "[OPTIONS]",
    (
        Flag("cluster", "", "bool", "Display only cluster volumes, and use cluster volume list formatting"),
        Flag("filter", "f", "filter", 'Provide filter values (e.g. "dangling=true")'),
        Flag(
            "format", "", "string", "Format output using a custom template: 'table', 'json' or a Go template"
        ),
        Flag("quiet", "q", "bool", "Only display volume names"),
    ),
    most=0,
)
RM = Verb(
    "volume rm",
    "Remove one or more volumes. You cannot remove a volume that is in use by a container.",
    "[OPTIONS] VOLUME [VOLUME...]",
    (Flag("force", "f", "bool", "Force the removal of one or more volumes"),),
    least=1,
)
_CLUSTER = (
    "availability",
    "group",
    "limit_bytes",
    "required_bytes",
    "scope",
    "secret",
    "sharing",
    "topology_preferred",
    "topology_required",
    "type",
)
COLUMNS = [("DRIVER", "Driver"), ("VOLUME NAME", "Name")]
HEADERS = {
    "Scope": "SCOPE",
    "Mountpoint": "MOUNTPOINT",
    "Labels": "LABELS",
    "Links": "LINKS",
    "Size": "SIZE",
    "Group": "GROUP",
    "Availability": "AVAILABILITY",
    "Status": "STATUS",
}


def create(http: Http, options: Options) -> int:
    """Prints its name. What only a swarm's volumes have goes along, for the daemon to refuse."""
    body: dict[str, Any] = {
        "Name": options.args[0] if options.args else "",
        "Driver": options.driver,
        "DriverOpts": pairs(options.opt),
        "Labels": pairs(options.label),
    }
    if options.given & set(_CLUSTER):
        mode = {"Scope": options.scope, "Sharing": options.sharing}
        mode["MountVolume" if options.type == "mount" else "BlockVolume"] = {}
        body["ClusterVolumeSpec"] = {
            "Group": options.group,
            "AccessMode": mode,
            "Availability": options.availability,
        }
    with http.request("POST", "/volumes/create", body=body) as answer:
        print(answer.json()["Name"])
    return 0


def row(value: dict[str, Any]) -> dict[str, Any]:
    """One volume's fields."""
    usage = value.get("UsageData")
    return {
        "Driver": value["Driver"],
        "Name": value["Name"],
        "Scope": value["Scope"],
        "Mountpoint": value["Mountpoint"],
        "Links": str(usage["RefCount"]) if usage else "N/A",
        "Size": human_size(usage["Size"], 4) if usage else "N/A",
        "Group": "N/A",
        "Availability": "N/A",
        "Status": "N/A",
        **labels(value.get("Labels")),
    }


def ls(http: Http, options: Options) -> int:
    """By name."""
    with http.request("GET", "/volumes", {"filters": filters(options.filter)}) as answer:
        values = sorted(answer.json()["Volumes"] or [], key=lambda value: _natural(value["Name"]))
    columns = COLUMNS
    if options.cluster:
        values = [value for value in values if value.get("ClusterVolume")]
        if not options.format:
            columns = [
                ("VOLUME NAME", "Name"),
                ("GROUP", "Group"),
                ("DRIVER", "Driver"),
                ("AVAILABILITY", "Availability"),
                ("STATUS", "Status"),
            ]
    form = config.formatted(options.format, "volumesFormat", quiet=options.quiet)
    rows = [row(value) for value in values]
    sys.stdout.write(show(rows, columns, form, quiet="Name" if options.quiet else "", headers=HEADERS))
    return 0


def _natural(text: str) -> list[tuple[int, int]]:
    """Digits in a name count as numbers."""
    parts: list[tuple[int, int]] = []
    for character in text:
        if not character.isdecimal():
            parts.append((ord(character), -1))
        elif parts and parts[-1][1] >= 0:
            parts[-1] = (ord("0"), parts[-1][1] * 10 + int(character))
        else:
            parts.append((ord("0"), int(character)))
    return parts


def remove(http: Http, options: Options) -> int:
    """Prints each name."""
    query = {"force": options.force}
    return each(options.args, lambda name: http.request("DELETE", f"/volumes/{name}", query).close())
