"""`knarr version`, `info`, `inspect`, `system df`, `volume …`."""

import json
import sys
from typing import Any

from knarr.api.client.http import VERSION, ApiError, Http
from knarr.cli.common import Failed, confirm, each, filters
from knarr.cli.containerflags import pairs
from knarr.cli.flags import Flag, Options, Verb
from knarr.cli.table import show
from knarr.cli.template import Template
from knarr.cli.units import human_size

_FORMAT = Flag("format", "f", "string", "Format output using a custom template: 'json' or a Go template")
_LONG_FORMAT = Flag(
    "format", "", "string", "Format output using a custom template: 'table', 'json' or a Go template"
)
_FILTER = Flag("filter", "f", "list", 'Provide filter values (e.g. "label=a")')
_QUIET = Flag("quiet", "q", "bool", "Only display names or ids")
_FORCE = Flag("force", "f", "bool", "Do not prompt for confirmation")

VERSION_VERB = Verb("version", "Show the knarr version information", "[OPTIONS]", (_FORMAT,), most=0)
INFO = Verb("info", "Display system-wide information", "[OPTIONS]", (_FORMAT,), most=0)
INSPECT = Verb(
    "inspect",
    "Return low-level information on knarr objects",
    "[OPTIONS] NAME|ID [NAME|ID...]",
    (
        _FORMAT,
        Flag("size", "s", "bool", "Display total file sizes if the type is container"),
        Flag("type", "", "string", "Only inspect objects of the given type"),
    ),
    least=1,
)
DF = Verb("system df", "Show disk usage", "[OPTIONS]", (_LONG_FORMAT,), most=0)
VOLUME_LS = Verb("volume ls", "List volumes", "[OPTIONS]", (_FILTER, _LONG_FORMAT, _QUIET), most=0)
VOLUME_CREATE = Verb(
    "volume create",
    "Create a volume",
    "[OPTIONS] [VOLUME]",
    (
        Flag("driver", "d", "string", "Specify volume driver name", "local"),
        Flag("label", "", "list", "Set metadata for a volume"),
        Flag("opt", "o", "list", "Set driver specific options"),
    ),
    most=1,
)
VOLUME_INSPECT = Verb(
    "volume inspect",
    "Display detailed information on one or more volumes",
    "VOLUME [VOLUME...]",
    (_FORMAT,),
    least=1,
)
VOLUME_RM = Verb(
    "volume rm",
    "Remove one or more volumes",
    "VOLUME [VOLUME...]",
    (Flag("force", "f", "bool", "Force the removal"),),
    least=1,
)
VOLUME_PRUNE = Verb(
    "volume prune",
    "Remove unused local volumes",
    "[OPTIONS]",
    (
        _FORCE,
        Flag("all", "a", "bool", "Remove all unused volumes, not just anonymous ones"),
        Flag("filter", "", "list", "Provide filter values"),
    ),
    most=0,
)


def version(http: Http, options: Options) -> int:
    """Client's and server's."""
    from knarr.cli.about import version as own

    client = {"Version": own(), "ApiVersion": VERSION, "Os": "linux"}
    with http.request("GET", "/version") as answer:
        server = answer.json()
    if options.format:
        return _formatted([{"Client": client, "Server": server}], options.format)
    rows = [
        ["Client:", ""],
        [" Version:", client["Version"]],
        [" API version:", VERSION],
        ["", ""],
        ["Server:", ""],
    ]
    rows += [
        [" Version:", server["Version"]],
        [" API version:", f"{server['ApiVersion']} (minimum version {server['MinAPIVersion']})"],
    ]
    rows += [[" Kernel:", server["KernelVersion"]], [" OS/Arch:", f"{server['Os']}/{server['Arch']}"]]
    width = max(len(left) for left, _ in rows)
    print("\n".join(f"{left:<{width}} {right}".rstrip() for left, right in rows))
    return 0


def info(http: Http, options: Options) -> int:
    """What the daemon says of itself."""
    with http.request("GET", "/info") as answer:
        value = answer.json()
    if options.format:
        return _formatted([value], options.format)
    lines = [
        f"Containers: {value['Containers']}",
        f" Running: {value['ContainersRunning']}",
        f" Paused: {value['ContainersPaused']}",
        f" Stopped: {value['ContainersStopped']}",
        f"Images: {value['Images']}",
        f"Server Version: {value['ServerVersion']}",
        f"Storage Driver: {value['Driver']}",
        f"Logging Driver: {value['LoggingDriver']}",
        f"Cgroup Driver: {value['CgroupDriver']}",
        f"Cgroup Version: {value['CgroupVersion']}",
        f"Kernel Version: {value['KernelVersion']}",
        f"Operating System: {value['OperatingSystem']}",
        f"Architecture: {value['Architecture']}",
        f"CPUs: {value['NCPU']}",
        f"Total Memory: {value['MemTotal'] / (1 << 30):.4g}GiB",
        f"Name: {value['Name']}",
        f"ID: {value['ID']}",
        f"Root Dir: {value['DockerRootDir']}",
    ]
    print("\n".join(lines))
    for warning in value.get("Warnings") or ():
        print(warning, file=sys.stderr)
    return 0


def _formatted(values: list[Any], form: str) -> int:
    """One line a value by a template, or JSON."""
    if form == "json":
        for value in values:
            print(json.dumps(value, separators=(",", ":")))
    else:
        template = Template(form)
        for value in values:
            print(template.render(value))
    return 0


INSPECTED = (
    ("container", "/containers/{}/json"),
    ("image", "/images/{}/json"),
    ("network", "/networks/{}"),
    ("volume", "/volumes/{}"),
)


def inspect(http: Http, options: Options) -> int:
    """Whatever has the name: container, image, network or volume, in this order."""
    return inspect_kinds(http, options, [kind for kind in INSPECTED if options.type in ("", kind[0])])


def inspect_kinds(http: Http, options: Options, kinds: list[tuple[str, str]]) -> int:
    """Each name as the first of the kinds that has it."""
    if not kinds:
        raise Failed(f'"{options.type}" is not a valid value for --type', 1)
    values, failures = [], []
    for name in options.args:
        for kind, path in kinds:
            try:
                query = {"size": True} if kind == "container" and getattr(options, "size", False) else None
                with http.request("GET", path.format(name), query) as answer:
                    values.append(answer.json())
                break
            except ApiError as error:
                if error.status != 404:
                    raise
                words = (
                    f"Error response from daemon: {error}"
                    if len(kinds) == 1
                    else f"Error: No such object: {name}"
                )
        else:
            failures.append(words)
    if options.format:
        _formatted(values, options.format)
    else:
        print(json.dumps(values, indent=4, ensure_ascii=False))
    for words in failures:
        print(words, file=sys.stderr)
    return 1 if failures else 0


def volume(http: Http, options: Options) -> int:
    """`knarr volume inspect`."""
    return inspect_kinds(http, options, [INSPECTED[3]])


def disk_usage(http: Http, options: Options) -> int:
    """Images, containers and volumes."""
    with http.request("GET", "/system/df") as answer:
        value = answer.json()
    images, containers, volumes = value["Images"] or [], value["Containers"] or [], value["Volumes"] or []
    unused = sum(image["Size"] for image in images if not image["Containers"])
    sizes = [container.get("SizeRw") or 0 for container in containers]
    stopped = sum(
        size
        for size, container in zip(sizes, containers, strict=True)
        if container["State"] not in ("running", "paused")
    )
    usage = [(volume["UsageData"]["Size"], volume["UsageData"]["RefCount"]) for volume in volumes]
    running = [container for container in containers if container["State"] == "running"]
    rows = [
        _usage(
            "Images",
            len(images),
            sum(1 for image in images if image["Containers"]),
            value["LayersSize"],
            unused,
        ),
        _usage("Containers", len(containers), len(running), sum(sizes), stopped),
        _usage(
            "Local Volumes",
            len(volumes),
            sum(1 for _, references in usage if references),
            sum(size for size, _ in usage),
            sum(size for size, references in usage if not references),
        ),
        _usage("Build Cache", 0, 0, 0, 0),
    ]
    headers = [
        ("TYPE", "Type"),
        ("TOTAL", "TotalCount"),
        ("ACTIVE", "Active"),
        ("SIZE", "Size"),
        ("RECLAIMABLE", "Reclaimable"),
    ]
    sys.stdout.write(show(rows, headers, options.format))
    return 0


def _usage(kind: str, total: int, active: int, size: int, free: int) -> dict[str, str]:
    share = f" ({100 * min(free, size) // size}%)" if size else ""
    return {
        "Type": kind,
        "TotalCount": str(total),
        "Active": str(active),
        "Size": human_size(size),
        "Reclaimable": human_size(min(free, size)) + share,
    }


def volume_ls(http: Http, options: Options) -> int:
    """The table."""
    with http.request("GET", "/volumes", {"filters": filters(options.filter)}) as answer:
        values = answer.json()["Volumes"] or []
    rows = [
        {
            "Driver": value["Driver"],
            "Name": value["Name"],
            "Mountpoint": value["Mountpoint"],
            "Scope": value["Scope"],
            "Labels": ",".join(f"{k}={v}" for k, v in sorted((value.get("Labels") or {}).items())),
        }
        for value in sorted(values, key=lambda each: each["Name"])
    ]
    sys.stdout.write(
        show(
            rows,
            [("DRIVER", "Driver"), ("VOLUME NAME", "Name")],
            options.format,
            quiet="Name" if options.quiet else "",
        )
    )
    return 0


def volume_create(http: Http, options: Options) -> int:
    """Prints its name."""
    body = {
        "Name": options.args[0] if options.args else "",
        "Driver": options.driver,
        "DriverOpts": pairs(options.opt),
        "Labels": pairs(options.label),
    }
    with http.request("POST", "/volumes/create", body=body) as answer:
        print(answer.json()["Name"])
    return 0


def volume_rm(http: Http, options: Options) -> int:
    """Prints each name."""
    return each(
        options.args,
        lambda name: http.request("DELETE", f"/volumes/{name}", {"force": options.force}).close(),
    )


def volume_prune(http: Http, options: Options) -> int:
    """Asks first, unless -f."""
    what = "all local volumes" if options.all else "anonymous local volumes"
    if not confirm(f"WARNING! This will remove {what} not used by at least one container.", options.force):
        return 0
    table = {**(filters(options.filter) or {}), **({"all": ["true"]} if options.all else {})}
    with http.request("POST", "/volumes/prune", {"filters": table or None}) as answer:
        value = answer.json()
    if value.get("VolumesDeleted"):
        print("Deleted Volumes:\n" + "\n".join(value["VolumesDeleted"]) + "\n")
    print(f"Total reclaimed space: {human_size(value.get('SpaceReclaimed') or 0)}")
    return 0
