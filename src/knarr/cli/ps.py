"""`knarr ps`: the list of containers."""

import sys
import time
from collections.abc import Callable
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
    columns = [*_COLUMNS, ("SIZE", "Size")] if options.size else _COLUMNS
    shown = ["ID"] if options.quiet else [field for _, field in columns]
    fields = _FIELDS if options.format not in ("", "table") else {name: _FIELDS[name] for name in shown}
    with http.request("GET", "/containers/json", query) as answer:
        values = answer.json()
    rows = [{name: field(value, not options.no_trunc) for name, field in fields.items()} for value in values]
    sys.stdout.write(show(rows, columns, options.format, quiet="ID" if options.quiet else ""))
    return 0


def _command(value: dict[str, Any], truncate: bool) -> str:
    command = value["Command"]
    return f'"{command[:19]}…"' if truncate and len(command) > 20 else f'"{command}"'


def _size(value: dict[str, Any], _: bool) -> str:
    root = value.get("SizeRootFs")
    return human_size(value.get("SizeRw") or 0) + (f" (virtual {human_size(root)})" if root else "")


def _created(value: dict[str, Any], _: bool) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(value["Created"]))


def _mounts(value: dict[str, Any], _: bool) -> str:
    return ",".join(mount.get("Name") or mount.get("Source") or "" for mount in value.get("Mounts") or ())


def _volumes(value: dict[str, Any], _: bool) -> str:
    return str(sum(1 for mount in value.get("Mounts") or () if mount.get("Type") == "volume"))


_FIELDS: dict[str, Callable[[dict[str, Any], bool], str]] = {
    "ID": lambda value, truncate: value["Id"][:12] if truncate else value["Id"],
    "Image": lambda value, _: value["Image"],
    "Command": _command,
    "CreatedAt": _created,
    "RunningFor": lambda value, _: ago(value["Created"]),
    "Status": lambda value, _: value["Status"],
    "State": lambda value, _: value["State"],
    "Ports": lambda value, _: ports(value.get("Ports") or []),
    "Names": lambda value, _: ",".join(name.removeprefix("/") for name in value["Names"]),
    "Labels": lambda value, _: ",".join(
        f"{key}={each}" for key, each in sorted((value.get("Labels") or {}).items())
    ),
    "Mounts": _mounts,
    "Networks": lambda value, _: ",".join((value.get("NetworkSettings") or {}).get("Networks") or {}),
    "LocalVolumes": _volumes,
    "Size": _size,
}
"""What is asked for of a container, and whether long values are cut."""


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
