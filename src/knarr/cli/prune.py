"""The prunes of containers, images, networks, volumes and of everything at once."""

from typing import Any, NamedTuple

from knarr.api.client.http import Http
from knarr.cli import config
from knarr.cli.common import Failed, confirm, filters
from knarr.cli.flags import Flag, Options, Verb
from knarr.cli.units import human_size

_FORCE = Flag("force", "f", "bool", "Do not prompt for confirmation")
_FILTER = Flag("filter", "", "filter", 'Provide filter values (e.g. "until=<timestamp>")')
_SURE = "\nAre you sure you want to continue?"

CONTAINERS = Verb("container prune", "Remove all stopped containers", "[OPTIONS]", (_FORCE, _FILTER), most=0)
IMAGES = Verb(
    "image prune",
    "Remove unused images",
    "[OPTIONS]",
    (Flag("all", "a", "bool", "Remove all unused images, not just dangling ones"), _FORCE, _FILTER),
    most=0,
)
NETWORKS = Verb("network prune", "Remove all unused networks", "[OPTIONS]", (_FORCE, _FILTER), most=0)
VOLUMES = Verb(
    "volume prune",
    "Remove unused local volumes",
    "[OPTIONS]",
    (Flag("all", "a", "bool", "Remove all unused volumes, not just anonymous ones"), _FORCE, _FILTER),
    most=0,
)
SYSTEM = Verb(
    "system prune",
    "Remove unused data",
    "[OPTIONS]",
    (
        Flag("all", "a", "bool", "Remove all unused images not just dangling ones"),
        _FORCE,
        Flag("volumes", "", "bool", "Prune anonymous volumes"),
        _FILTER,
    ),
    most=0,
)


class _Pruned(NamedTuple):
    """What went, as text, and what that freed."""

    text: str
    freed: int


def _filters(options: Options, **more: str) -> dict[str, list[str]]:
    """--filter with the settings' pruneFilters beneath."""
    words = [str(word) for word in config.read().get("pruneFilters") or ()]
    return {**(filters([*words, *options.filter]) or {}), **{key: [value] for key, value in more.items()}}


def _ask(http: Http, path: str, table: dict[str, list[str]], kind: str, title: str) -> _Pruned:
    with http.request("POST", path, {"filters": table or None}) as answer:
        value: dict[str, Any] = answer.json()
    gone = value.get(kind) or []
    if not gone:
        return _Pruned("", 0)
    lines = [each if isinstance(each, str) else _image(each) for each in gone]
    return _Pruned(
        "".join(f"{line}\n" for line in [f"Deleted {title}:", *lines]), value.get("SpaceReclaimed") or 0
    )


def _image(value: dict[str, str]) -> str:
    return (
        f"untagged: {value['Untagged']}" if value.get("Untagged") else f"deleted: {value.get('Deleted', '')}"
    )


def _containers(http: Http, options: Options) -> _Pruned:
    return _ask(http, "/containers/prune", _filters(options), "ContainersDeleted", "Containers")


def _networks(http: Http, options: Options) -> _Pruned:
    return _ask(http, "/networks/prune", _filters(options), "NetworksDeleted", "Networks")


def _volumes(http: Http, options: Options, *, everything: bool) -> _Pruned:
    table = _filters(options, all="true") if everything else _filters(options)
    return _ask(http, "/volumes/prune", table, "VolumesDeleted", "Volumes")


def _images(http: Http, options: Options) -> _Pruned:
    table = _filters(options, dangling="false" if options.all else "true")
    return _ask(http, "/images/prune", table, "ImagesDeleted", "Images")


def _told(pruned: _Pruned, *, total: bool = True) -> int:
    if pruned.text:
        print(pruned.text)
    if total:
        print(f"Total reclaimed space: {human_size(pruned.freed, 4)}")
    return 0


def containers(http: Http, options: Options) -> int:
    """Asks first, unless -f."""
    if not confirm(f"WARNING! This will remove all stopped containers.{_SURE}", options.force):
        return 0
    return _told(_containers(http, options))


def images(http: Http, options: Options) -> int:
    """Asks first, unless -f."""
    what = (
        "all images without at least one container associated to them"
        if options.all
        else "all dangling images"
    )
    if not confirm(f"WARNING! This will remove {what}.{_SURE}", options.force):
        return 0
    return _told(_images(http, options))


def networks(http: Http, options: Options) -> int:
    """Asks first, unless -f."""
    what = "all custom networks not used by at least one container"
    if not confirm(f"WARNING! This will remove {what}.{_SURE}", options.force):
        return 0
    return _told(_networks(http, options), total=False)


def volumes(http: Http, options: Options) -> int:
    """Asks first, unless -f."""
    if options.all and "all" in _filters(options):
        raise Failed("conflicting options: cannot specify both --all and --filter all=1")
    what = "all" if options.all else "anonymous"
    if not confirm(
        f"WARNING! This will remove {what} local volumes not used by at least one container.{_SURE}",
        options.force,
    ):
        return 0
    return _told(_volumes(http, options, everything=options.all))


def _warning(options: Options) -> str:
    lines = ["all stopped containers", "all networks not used by at least one container"]
    if options.volumes:
        lines.append("all anonymous volumes not used by at least one container")
    lines.append(
        "all images without at least one container associated to them"
        if options.all
        else "all dangling images"
    )
    lines.append("all build cache" if options.all else "unused build cache")
    text = "WARNING! This will remove:\n" + "".join(f"  - {line}\n" for line in lines)
    if options.filter:
        text += "\n  Items to be pruned will be filtered with:\n"
        text += "".join(f"  - {word}\n" for word in sorted(options.filter))
    return f"{text}{_SURE}"


def system(http: Http, options: Options) -> int:
    """Containers, networks, volumes if asked for, images, the build's cache."""
    if options.volumes and any(word.startswith("until=") for word in options.filter):
        raise Failed('ERROR: The "until" filter is not supported with "--volumes"')
    if not confirm(_warning(options), options.force):
        return 0
    parts = [_containers(http, options), _networks(http, options)]
    if options.volumes:
        parts.append(_volumes(http, options, everything=False))
    parts.append(_images(http, options))
    parts.append(_build_cache(http, options))
    for part in parts:
        if part.text:
            print(part.text)
    print(f"Total reclaimed space: {human_size(sum(part.freed for part in parts), 4)}")
    return 0


def _build_cache(http: Http, options: Options) -> _Pruned:
    query = {"all": options.all, "filters": _filters(options) or None}
    with http.request("POST", "/build/prune", query) as answer:
        value: dict[str, Any] = answer.json() or {}
    gone = value.get("CachesDeleted") or []
    text = "".join(f"{line}\n" for line in ["Deleted build cache objects:", *gone]) if gone else ""
    return _Pruned(text, value.get("SpaceReclaimed") or 0)
