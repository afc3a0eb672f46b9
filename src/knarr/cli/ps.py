"""`knarr ps`: the list of containers."""

import sys
import time
from collections.abc import Callable
from typing import Any

from knarr.api.client.http import Http
from knarr.cli import config
from knarr.cli.common import filters
from knarr.cli.flags import Flag, Options, Verb
from knarr.cli.table import ellipsis, labels, short, show
from knarr.cli.units import ago, human_size

PS = Verb(
    "ps",
    "List containers",
    "[OPTIONS]",
    (
        Flag("all", "a", "bool", "Show all containers (default shows just running)"),
        Flag("filter", "f", "filter", "Filter output based on conditions provided"),
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
COLUMNS = [
    ("CONTAINER ID", "ID"),
    ("IMAGE", "Image"),
    ("COMMAND", "Command"),
    ("CREATED", "RunningFor"),
    ("STATUS", "Status"),
    ("PORTS", "Ports"),
    ("NAMES", "Names"),
]


HEADERS = {
    "CreatedAt": "CREATED AT",
    "State": "STATE",
    "Size": "SIZE",
    "Labels": "LABELS",
    "Mounts": "MOUNTS",
    "LocalVolumes": "LOCAL VOLUMES",
    "Networks": "NETWORKS",
    "Platform": "PLATFORM",
}
_RAW = """container_id: {{.ID}}
image: {{.Image}}
command: {{.Command}}
created_at: {{.CreatedAt}}
state: {{- pad .State 1 0}}
status: {{- pad .Status 1 0}}
names: {{.Names}}
labels: {{- pad .Labels 1 0}}
ports: {{- pad .Ports 1 0}}
"""


def ps(http: Http, options: Options) -> int:
    """Prints the table."""
    form = config.formatted(options.format, "psFormat", quiet=options.quiet)
    size = options.size or (("{{json .}}" in form or ".Size" in form) and "size" not in options.given)
    limit = 1 if options.latest else options.last
    query = {
        "all": options.all,
        "limit": limit if limit > 0 else None,
        "size": size,
        "filters": filters(options.filter),
    }
    columns = [*COLUMNS, ("SIZE", "Size")] if options.size else COLUMNS
    if form == "raw":
        form = (
            "container_id: {{.ID}}" if options.quiet else _RAW + ("size: {{.Size}}\n" if options.size else "")
        )
    shown = ["ID"] if options.quiet else [field for _, field in columns]
    fields = FIELDS if form not in ("", "table") else {name: FIELDS[name] for name in shown}
    with http.request("GET", "/containers/json", query) as answer:
        values = answer.json()
    rows = [{name: field(value, not options.no_trunc) for name, field in fields.items()} for value in values]
    sys.stdout.write(show(rows, columns, form, quiet="ID" if options.quiet else "", headers=HEADERS))
    return 0


def row(value: dict[str, Any], *, truncate: bool) -> dict[str, Any]:
    """One container's fields."""
    return {name: field(value, truncate) for name, field in FIELDS.items()}


def _size(value: dict[str, Any], _: bool) -> str:
    root = value.get("SizeRootFs")
    return human_size(value.get("SizeRw") or 0) + (f" (virtual {human_size(root)})" if root else "")


def _names(value: dict[str, Any], truncate: bool) -> str:
    names = [name.removeprefix("/") for name in value["Names"]]
    return ",".join([name for name in names if "/" not in name][:1] or names if truncate else names)


def _mounts(value: dict[str, Any], truncate: bool) -> str:
    names = [mount.get("Name") or mount.get("Source") or "" for mount in value.get("Mounts") or ()]
    return ",".join(ellipsis(name, 15) if truncate else name for name in names)


def _created(value: dict[str, Any], _: bool) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(value["Created"]))


def _volumes(value: dict[str, Any], _: bool) -> str:
    return str(sum(1 for mount in value.get("Mounts") or () if mount.get("Driver") == "local"))


def _image(value: dict[str, Any], truncate: bool) -> str:
    """The image's name as lists show it: without its digest where it has a tag, short where it is an id."""
    name: str = value["Image"]
    if not name:
        return "<no image>"
    if not truncate:
        return name
    if short(value.get("ImageID", "")) == short(name):
        return short(name)
    return name.partition("@")[0] if not name.startswith("sha256:") else name


def _command(value: dict[str, Any], truncate: bool) -> str:
    return _quoted(ellipsis(value["Command"], 20) if truncate else value["Command"])


def _quoted(text: str) -> str:
    """Go's strconv.Quote."""
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return (
        '"'
        + "".join(escapes.get(each, each if each.isprintable() else f"\\x{ord(each):02x}") for each in text)
        + '"'
    )


def ports(values: list[dict[str, Any]]) -> str:
    """0.0.0.0:8080->80/tcp, 443/tcp; neighbours join: 8000-8002/tcp (what is published under another number does not)."""
    groups: dict[tuple[str, str], list[int]] = {}
    done: list[str] = []
    mapped: list[str] = []
    for value in sorted(values, key=_port_order):
        ip, port, public, kind = (
            value.get("IP", ""), value["PrivatePort"], value.get("PublicPort", 0), value["Type"]
        )  # fmt: skip
        if ip and public != port:
            mapped.append(f"{_host(ip)}:{public}->{port}/{kind}")
            continue
        group = groups.get((ip, kind))
        if group is None:
            groups[ip, kind] = [port, port]
        elif port == group[1] + 1:
            group[1] = port
        else:
            done.append(_group(ip, kind, *group))
            groups[ip, kind] = [port, port]
    done += [_group(ip, kind, *group) for (ip, kind), group in groups.items()]
    return ", ".join([*done, *mapped])


def _host(ip: str) -> str:
    return f"[{ip}]" if ":" in ip else ip


def _group(ip: str, kind: str, first: int, last: int) -> str:
    span = str(first) if first == last else f"{first}-{last}"
    return f"{_host(ip)}:{span}->{span}/{kind}" if ip else f"{span}/{kind}"


def _port_order(value: dict[str, Any]) -> tuple[int, str, int, str]:
    return value["PrivatePort"], value.get("IP", ""), value.get("PublicPort", 0), value["Type"]


FIELDS: dict[str, Callable[[dict[str, Any], bool], Any]] = {
    "ID": lambda value, truncate: value["Id"][:12] if truncate else value["Id"],
    "Image": _image,
    "Command": _command,
    "CreatedAt": _created,
    "RunningFor": lambda value, _: ago(value["Created"]),
    "Status": lambda value, _: value["Status"],
    "State": lambda value, _: value["State"],
    "Ports": lambda value, _: ports(value.get("Ports") or []),
    "Names": _names,
    "Labels": lambda value, _: labels(value.get("Labels"))["Labels"],
    "Label": lambda value, _: labels(value.get("Labels"))["Label"],
    "Mounts": _mounts,
    "Networks": lambda value, _: ",".join((value.get("NetworkSettings") or {}).get("Networks") or {}),
    "LocalVolumes": _volumes,
    "Size": _size,
    "Platform": lambda value, _: (value.get("ImageManifestDescriptor") or {}).get("platform"),
}
"""What is asked for of a container, and whether long values are cut."""
