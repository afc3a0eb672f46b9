"""The verbs on images: images, pull, push, tag, rmi, history."""

import sys
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from knarr.api.client.http import ApiError, Http
from knarr.cli import common, config, progress
from knarr.cli.common import Failed, filters
from knarr.cli.flags import Flag, Options, Verb
from knarr.cli.inspecting import platform_of
from knarr.cli.table import ellipsis, short, show
from knarr.cli.units import ago, human_size
from knarr.model.reference import Reference

_TRUST = Flag("disable-content-trust", "", "bool", "Skip image verification", True)
IMAGES = Verb(
    "images",
    "List images",
    "[OPTIONS] [REPOSITORY[:TAG]]",
    (
        Flag("all", "a", "bool", "Show all images (default hides intermediate images)"),
        Flag("digests", "", "bool", "Show digests"),
        Flag("filter", "f", "filter", "Filter output based on conditions provided"),
        Flag(
            "format", "", "string", "Format output using a custom template: 'table', 'json' or a Go template"
        ),
        Flag("no-trunc", "", "bool", "Don't truncate output"),
        Flag("quiet", "q", "bool", "Only show image IDs"),
        Flag("tree", "", "bool", "List multi-platform images as a tree (EXPERIMENTAL)"),
    ),
    most=1,
)
PULL = Verb(
    "pull",
    "Download an image from a registry",
    "[OPTIONS] NAME[:TAG|@DIGEST]",
    (
        Flag("all-tags", "a", "bool", "Download all tagged images in the repository"),
        _TRUST,
        Flag("platform", "", "string", "Set platform if server is multi-platform capable"),
        Flag("quiet", "q", "bool", "Suppress verbose output"),
    ),
    least=1,
    most=1,
)
PUSH = Verb(
    "push",
    "Upload an image to a registry",
    "[OPTIONS] NAME[:TAG]",
    (
        Flag("all-tags", "a", "bool", "Push all tags of an image to the repository"),
        _TRUST,
        Flag("platform", "", "string", "Push one platform's manifest alone (os[/arch[/variant]])"),
        Flag("quiet", "q", "bool", "Suppress verbose output"),
    ),
    least=1,
    most=1,
)
TAG = Verb(
    "tag",
    "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    least=2,
    most=2,
)
RMI = Verb(
    "rmi",
    "Remove one or more images",
    "[OPTIONS] IMAGE [IMAGE...]",
    (
        Flag("force", "f", "bool", "Force removal of the image"),
        Flag("no-prune", "", "bool", "Do not delete untagged parents"),
        Flag("platform", "", "strings", "Remove only the given platform variant (os[/arch[/variant]])"),
    ),
    least=1,
)
HISTORY = Verb(
    "history",
    "Show the history of an image",
    "[OPTIONS] IMAGE",
    (
        Flag(
            "format", "", "string", "Format output using a custom template: 'table', 'json' or a Go template"
        ),
        Flag("human", "H", "bool", "Print sizes and dates in human readable format", True),
        Flag("no-trunc", "", "bool", "Don't truncate output"),
        Flag("platform", "", "string", "Show history for the given platform (os[/arch[/variant]])"),
        Flag("quiet", "q", "bool", "Only show image IDs"),
    ),
    least=1,
    most=1,
)
COLUMNS = [
    ("REPOSITORY", "Repository"),
    ("TAG", "Tag"),
    ("IMAGE ID", "ID"),
    ("CREATED", "CreatedSince"),
    ("SIZE", "Size"),
]
_WITH_DIGESTS = [*COLUMNS[:2], ("DIGEST", "Digest"), *COLUMNS[2:]]
HEADERS = {
    "Digest": "DIGEST",
    "CreatedAt": "CREATED AT",
    "Containers": "CONTAINERS",
    "VirtualSize": "SIZE",
    "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE",
}
_EPOCH = 946684800  # 2000-01-01: what is older was not dated
_HISTORY = [
    ("IMAGE", "ID"),
    ("CREATED", "CreatedSince"),
    ("CREATED BY", "CreatedBy"),
    ("SIZE", "Size"),
    ("COMMENT", "Comment"),
]


def images(http: Http, options: Options) -> int:
    """One row a tag."""
    if options.tree:
        raise Failed("--tree is an experiment of docker's, which is not supported: try `image inspect`")
    table = filters(options.filter) or {}
    if options.args:
        table.setdefault("reference", []).append(options.args[0])
    form = config.formatted(options.format, "imagesFormat", quiet=options.quiet)
    with http.request("GET", "/images/json", {"all": options.all, "filters": table or None}) as answer:
        values = answer.json()
    with_digests = options.digests or "{{.Digest}}" in form
    rows = [
        each
        for value in sorted(values, key=lambda value: -value["Created"])
        for each in _rows(value, truncate=not options.no_trunc, digests=with_digests)
    ]
    columns = _WITH_DIGESTS if options.digests else COLUMNS
    sys.stdout.write(show(rows, columns, form, quiet="ID" if options.quiet else "", headers=HEADERS))
    return 0


def row(value: dict[str, Any], repository: str, tag: str, digest: str, *, truncate: bool) -> dict[str, Any]:
    """One image's fields under one of its names."""
    shared, size, users = value.get("SharedSize", -1), value["Size"], value.get("Containers", -1)
    return {
        "ID": short(value["Id"]) if truncate else value["Id"],
        "Repository": repository,
        "Tag": tag,
        "Digest": digest,
        "CreatedSince": ago(value["Created"]),
        "CreatedAt": time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(value["Created"])),
        "Size": human_size(size),
        "VirtualSize": human_size(size, 4),
        "SharedSize": "N/A" if shared == -1 else human_size(shared, 4),
        "UniqueSize": "N/A" if shared == -1 else human_size(size - shared, 4),
        "Containers": "N/A" if users == -1 else str(users),
    }


def _rows(value: dict[str, Any], *, truncate: bool, digests: bool) -> Iterable[dict[str, Any]]:
    by_repository: dict[str, list[str]] = {}
    for name in value.get("RepoDigests") or ():
        repository, _, digest = name.partition("@")
        by_repository.setdefault(_familiar(repository), []).append(digest)
    tags = [name for name in value.get("RepoTags") or () if name != "<none>:<none>"]
    for name in tags:
        repository, _, tag = name.rpartition(":")
        repository = _familiar(repository)
        for digest in (by_repository.get(repository) or ["<none>"]) if digests else ["<none>"]:
            yield row(value, repository, tag, digest, truncate=truncate)
    tagged = {_familiar(name.rpartition(":")[0]) for name in tags}
    for repository, known in by_repository.items():
        if repository in tagged or repository == "<none>":
            continue
        for digest in known if digests else [""]:
            yield row(value, repository, "<none>", digest, truncate=truncate)
    if not tags and not [name for name in by_repository if name != "<none>"]:
        yield row(value, "<none>", "<none>", "<none>", truncate=truncate)


def _familiar(name: str) -> str:
    return name.removeprefix("docker.io/").removeprefix("library/") if name.startswith("docker.io/") else name


def _no_trust(options: Options) -> None:
    if not options.disable_content_trust:
        raise Failed("content trust (Notary) is not supported: it has been retired")


def pull(http: Http, options: Options) -> int:
    """Prints docker's progress; the full name at the end."""
    _no_trust(options)
    name = options.args[0]
    reference = Reference.parse(name)
    if options.all_tags and (reference.tag or reference.digest):
        raise Failed("tag can't be used with --all-tags/-a")
    if not options.all_tags and not reference.tag and not reference.digest and not options.quiet:
        print("Using default tag: latest")
    common.pull(http, name, options.platform, quiet=options.quiet, every_tag=options.all_tags)
    print(reference if options.all_tags else Reference.parse(name).tagged())
    return 0


def push(http: Http, options: Options) -> int:
    """To the registry that the name says."""
    _no_trust(options)
    reference = Reference.parse(options.args[0])
    if options.all_tags and (reference.tag or reference.digest):
        raise Failed("tag can't be used with --all-tags/-a")
    if not options.all_tags:
        if not reference.tag and not reference.digest and not options.quiet:
            print("Using default tag: latest")
        reference = reference.tagged()
    if reference.digest:
        raise Failed("cannot push a digest reference")
    headers = config.registry_auth(reference.domain) or {"X-Registry-Auth": "e30="}
    query: dict[str, Any] = {"tag": reference.tag or None}
    if options.platform:
        query["platform"] = platform_of(options.platform)
    with http.request("POST", f"/images/{reference.familiar_name}/push", query, headers=headers) as answer:
        progress.show(answer.lines(), quiet=options.quiet)
    if options.quiet:
        print(reference)
    return 0


def tag(http: Http, options: Options) -> int:
    """Nothing is printed."""
    source, target = options.args
    reference = Reference.parse(target).tagged()
    if reference.digest:
        raise Failed("refusing to create a tag with a digest reference", 1)
    http.request(
        "POST", f"/images/{source}/tag", {"repo": reference.familiar_name, "tag": reference.tag}
    ).close()
    return 0


def remove(http: Http, options: Options) -> int:
    """Untags and deletes; with -f an image that is not there is told, and is no failure."""
    errors, fatal = [], False
    query = {"force": options.force, "noprune": options.no_prune}
    if options.platform:
        import json

        query["platforms"] = [json.dumps(platform_of(word)) for word in options.platform]
    for name in options.args:
        try:
            with http.request("DELETE", f"/images/{name}", query) as answer:
                for value in answer.json():
                    print("\n".join(f"{word}: {each}" for word, each in value.items()))
        except ApiError as error:
            fatal = fatal or error.status != 404
            errors.append(f"Error response from daemon: {error}")
    for text in errors:
        print(text, file=sys.stderr)
    return 1 if errors and (fatal or not options.force) else 0


def history(http: Http, options: Options) -> int:
    """Newest first."""
    query = {"platform": platform_of(options.platform)} if options.platform else None
    with http.request("GET", f"/images/{options.args[0]}/history", query) as answer:
        rows = [_history_row(value, options) for value in answer.json()]
    columns = (
        _HISTORY
        if options.human
        else [("CREATED AT", "CreatedAt") if f == "CreatedSince" else (h, f) for h, f in _HISTORY]
    )
    headers = {"CreatedAt": "CREATED AT"}
    sys.stdout.write(
        show(rows, columns, options.format, quiet="ID" if options.quiet else "", headers=headers)
    )
    return 0


def _history_row(value: dict[str, Any], options: Options) -> dict[str, Any]:
    created_by = value["CreatedBy"].replace("\t", " ")
    stamp = datetime.fromtimestamp(value["Created"]).astimezone().isoformat().replace("+00:00", "Z")
    since = ago(value["Created"]) if value["Created"] > _EPOCH else "N/A"
    return {
        "ID": value["Id"] if options.no_trunc else short(value["Id"]),
        "CreatedSince": since if options.human else stamp,
        "CreatedAt": stamp,
        "CreatedBy": created_by if options.no_trunc else ellipsis(created_by, 45),
        "Size": human_size(value["Size"]) if options.human else str(value["Size"]),
        "Comment": value["Comment"],
    }
