"""`knarr ps`: the list of containers."""

import sys
import time
from typing import Any

from knarr.api.client.http import Http
from knarr.cli.common import filters
from knarr.cli.flags import Flag, Options, Verb
from knarr.cli.table import show
from knarr.cli.units import ago, human_size

PS = Verb(
    "ps",
    "List containers",
    "[OPTIONS]",
    (
        Flag("all", "a", "bool", "Show all containers (default shows just running)"),
        Flag("filter", "f", "list", "Filter output based on conditions provided"),
        Flag(
            "format", "", "string", "Format output using a custom template: 'table', 'json' or a Go template"
        ),
        Flag("last", "n", "int", "Show n last created containers (includes all states)", -1),
        Flag("latest", "l", "bool", "Show the latest created container (includes all states)"),
        Flag("no-trunc", "", "bool", "Don't truncate output"),
        Flag("quiet", "q", "bool", "Only display container IDs"),
        Flag("size", "s", "bool", "Display total file sizes"),
    ),
    most=0,
)
_COLUMNS = [
    ("CONTAINER ID", "ID"),
    ("IMAGE", "Image"),
    ("COMMAND", "Command"),
    ("CREATED", "RunningFor"),
    ("STATUS", "Status"),
    ("PORTS", "Ports"),
    ("NAMES", "Names"),
]


def ps(http: Http, options: Options) -> int:
    """Prints the table."""
    limit = 1 if options.latest else options.last
    query = {
        "all": options.all,
        "limit": limit if limit > 0 else None,
        "size": options.size or ".Size" in options.format,
        "filters": filters(options.filter),
    }
    with http.request("GET", "/containers/json", query) as answer:
        rows = [_row(each, truncate=not options.no_trunc) for each in answer.json()]
    columns = [*_COLUMNS, ("SIZE", "Size")] if options.size else _COLUMNS
    sys.stdout.write(show(rows, columns, options.format, quiet="ID" if options.quiet else ""))
    return 0


def _row(value: dict[str, Any], *, truncate: bool) -> dict[str, Any]:
    command = value["Command"]
    if truncate and len(command) > 20:
        command = command[:19] + "…"
    labels = value.get("Labels") or {}
    mounts = [mount.get("Name") or mount.get("Source") or "" for mount in value.get("Mounts") or ()]
    root = value.get("SizeRootFs")
    size = human_size(value.get("SizeRw") or 0) + (f" (virtual {human_size(root)})" if root else "")
    return {
        "ID": value["Id"][:12] if truncate else value["Id"],
        "Image": value["Image"],
        "Command": f'"{command}"',
        "CreatedAt": time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(value["Created"])),
        "RunningFor": ago(value["Created"]),
        "Status": value["Status"],
        "State": value["State"],
        "Ports": ports(value.get("Ports") or []),
        "Names": ",".join(name.removeprefix("/") for name in value["Names"]),
        "Labels": ",".join(f"{key}={each}" for key, each in sorted(labels.items())),
        "Mounts": ",".join(mounts),
        "Networks": ",".join((value.get("NetworkSettings") or {}).get("Networks") or {}),
        "LocalVolumes": str(sum(1 for mount in value.get("Mounts") or () if mount.get("Type") == "volume")),
        "Size": size,
    }


def ports(values: list[dict[str, Any]]) -> str:
    """0.0.0.0:8080->80/tcp, 443/tcp"""
    words = []
    for value in sorted(values, key=lambda each: (each["PrivatePort"], each["Type"], each.get("IP", ""))):
        word = f"{value['PrivatePort']}/{value['Type']}"
        if value.get("PublicPort"):
            ip = value.get("IP", "")
            word = f"{'[' + ip + ']' if ':' in ip else ip}:{value['PublicPort']}->{word}"
        words.append(word)
    return ", ".join(words)
