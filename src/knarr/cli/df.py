"""`knarr system df`: what takes room, in sums or one by one."""

import sys
from typing import Any

from knarr.api.client.http import Http
from knarr.cli import images, ps, volumes
from knarr.cli.flags import Flag, Options, Verb
from knarr.cli.table import show
from knarr.cli.template import Template
from knarr.cli.units import ago, human_size

DF = Verb(
    "system df",
    "Show docker disk usage",
    "[OPTIONS]",
    (
        Flag(
            "format", "", "string", "Format output using a custom template: 'table', 'json' or a Go template"
        ),
        Flag("verbose", "v", "bool", "Show detailed information on space usage"),
    ),
    most=0,
)
_SUMS = [
    ("TYPE", "Type"),
    ("TOTAL", "TotalCount"),
    ("ACTIVE", "Active"),
    ("SIZE", "Size"),
    ("RECLAIMABLE", "Reclaimable"),
]
_IMAGES = [
    *images.COLUMNS,
    ("SHARED SIZE", "SharedSize"),
    ("UNIQUE SIZE", "UniqueSize"),
    ("CONTAINERS", "Containers"),
]
_CONTAINERS = [
    ("CONTAINER ID", "ID"),
    ("IMAGE", "Image"),
    ("COMMAND", "Command"),
    ("LOCAL VOLUMES", "LocalVolumes"),
    ("SIZE", "Size"),
    ("CREATED", "RunningFor"),
    ("STATUS", "Status"),
    ("NAMES", "Names"),
]
_VOLUMES = [("VOLUME NAME", "Name"), ("LINKS", "Links"), ("SIZE", "Size")]
_CACHE = [
    ("CACHE ID", "ID"),
    ("CACHE TYPE", "CacheType"),
    ("SIZE", "Size"),
    ("CREATED", "CreatedSince"),
    ("LAST USED", "LastUsedSince"),
    ("USAGE", "UsageCount"),
    ("SHARED", "Shared"),
]
_ACTIVE = ("running", "paused", "restarting")


def disk_usage(http: Http, options: Options) -> int:
    """The table of sums, or one table a kind."""
    with http.request("GET", "/system/df") as answer:
        value: dict[str, Any] = answer.json()
    if options.verbose:
        return _verbose(value, options.format)
    sys.stdout.write(show([*_sums(value)], _SUMS, options.format))
    return 0


def _sums(value: dict[str, Any]) -> list[dict[str, str]]:
    pictures, boxes = value.get("Images") or [], value.get("Containers") or []
    kept, cache = value.get("Volumes") or [], value.get("BuildCache") or []
    layers = value.get("LayersSize") or 0
    used = sum(
        each["Size"] - each["SharedSize"]
        for each in pictures
        if each["Containers"] and -1 not in (each["Size"], each["SharedSize"])
    )
    sizes = [(each.get("SizeRw") or 0, each["State"] in _ACTIVE) for each in boxes]
    usage = [(each["UsageData"]["Size"], each["UsageData"]["RefCount"]) for each in kept]
    whole = sum(size for size, _ in usage if size != -1)
    return [
        _sum(
            "Images",
            len(pictures),
            sum(1 for each in pictures if each["Containers"] > 0),
            layers,
            layers - used,
        ),
        _sum(
            "Containers",
            len(boxes),
            sum(active for _, active in sizes),
            sum(size for size, _ in sizes),
            sum(size for size, active in sizes if not active),
        ),
        _sum(
            "Local Volumes",
            len(kept),
            sum(1 for _, users in usage if users > 0),
            whole,
            sum(size for size, users in usage if size != -1 and not users),
        ),
        _cache_sum(cache),
    ]


def _sum(kind: str, total: int, active: int, size: int, free: int) -> dict[str, str]:
    share = f" ({free * 100 // size}%)" if size > 0 else ""
    return {
        "Type": kind,
        "TotalCount": str(total),
        "Active": str(active),
        "Size": human_size(size, 4),
        "Reclaimable": human_size(free, 4) + share,
    }


def _cache_sum(cache: list[dict[str, Any]]) -> dict[str, str]:
    whole = sum(each["Size"] for each in cache if not each.get("Shared"))
    used = sum(each["Size"] for each in cache if each.get("InUse") and not each.get("Shared"))
    row = _sum("Build Cache", len(cache), sum(1 for each in cache if each.get("InUse")), whole, 0)
    return {**row, "Reclaimable": human_size(whole - used, 4)}


def _verbose(value: dict[str, Any], form: str) -> int:
    pictures = [_picture(each, truncate=not form) for each in value.get("Images") or ()]
    boxes = [ps.row({**each, "SizeRootFs": 0}, truncate=not form) for each in value.get("Containers") or ()]
    kept = [volumes.row(each) for each in value.get("Volumes") or ()]
    cache = [_record(each, truncate=not form) for each in value.get("BuildCache") or ()]
    if form and form != "table":
        parts = {"Images": pictures, "Containers": boxes, "Volumes": kept, "BuildCache": cache}
        plain = {key: [_plain(row) for row in rows] for key, rows in parts.items()}
        text = Template("{{json .}}" if form == "json" else form).render(plain)
        print(text, end="\n" if form == "json" else "")
        return 0
    out = sys.stdout.write
    out(f"Images space usage:\n\n{show(pictures, _IMAGES, '')}")
    out(f"\nContainers space usage:\n\n{show(boxes, _CONTAINERS, '')}")
    out(f"\nLocal Volumes space usage:\n\n{show(kept, _VOLUMES, '')}")
    whole = sum(each["Size"] for each in value.get("BuildCache") or () if not each.get("Shared"))
    out(f"\nBuild cache usage: {human_size(whole, 4)}\n\n{show(cache, _CACHE, '')}")
    return 0


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if not callable(value)}


def _picture(value: dict[str, Any], *, truncate: bool) -> dict[str, Any]:
    name = next(iter(value.get("RepoTags") or ()), "<none>:<none>")
    repository, _, tag = name.rpartition(":")
    return images.row(value, repository, tag, "", truncate=truncate)


def _record(value: dict[str, Any], *, truncate: bool) -> dict[str, Any]:
    from datetime import datetime

    def since(text: str | None) -> str:
        if not text:
            return ""
        return ago(datetime.fromisoformat(text).timestamp())

    return {
        "ID": value["ID"][:12] if truncate else value["ID"],
        "CacheType": value.get("Type", ""),
        "Size": human_size(value["Size"], 4),
        "CreatedSince": since(value.get("CreatedAt")),
        "LastUsedSince": since(value.get("LastUsedAt")),
        "UsageCount": str(value.get("UsageCount", 0)),
        "Shared": str(bool(value.get("Shared"))).lower(),
    }
