"""The verbs on images: images, pull, push, tag, rmi, import, save, load, history, prune."""

import os
import sys
import time
from collections.abc import Iterable
from datetime import datetime
from typing import IO, Any

from knarr.api.client.http import ApiError, Http
from knarr.cli import common, progress
from knarr.cli.common import Failed, confirm, filters, named
from knarr.cli.flags import Flag, Options, Verb
from knarr.cli.table import show
from knarr.cli.units import ago, human_size
from knarr.model.reference import Reference

IMAGES = Verb(
    "images",
    "List images",
    "[OPTIONS] [REPOSITORY[:TAG]]",
    (
        Flag("all", "a", "bool", "Show all images (default hides intermediate images)"),
        Flag("digests", "", "bool", "Show digests"),
        Flag("filter", "f", "list", "Filter output based on conditions provided"),
        Flag(
            "format", "", "string", "Format output using a custom template: 'table', 'json' or a Go template"
        ),
        Flag("no-trunc", "", "bool", "Don't truncate output"),
        Flag("quiet", "q", "bool", "Only show image IDs"),
    ),
    most=1,
)
PULL = Verb(
    "pull",
    "Download an image from a registry",
    "[OPTIONS] NAME[:TAG|@DIGEST]",
    (
        Flag("all-tags", "a", "bool", "Download all tagged images in the repository"),
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
        Flag("quiet", "q", "bool", "Suppress verbose output"),
        Flag("platform", "", "string", "Push a platform-specific manifest"),
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
    ),
    least=1,
)
IMPORT = Verb(
    "import",
    "Import the contents from a tarball to create a filesystem image",
    "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    (
        Flag("change", "c", "list", "Apply Dockerfile instruction to the created image"),
        Flag("message", "m", "string", "Set commit message for imported image"),
        Flag("platform", "", "string", "Set platform if server is multi-platform capable"),
    ),
    least=1,
    most=2,
)
SAVE = Verb(
    "save",
    "Save one or more images to a tar archive (streamed to STDOUT by default)",
    "[OPTIONS] IMAGE [IMAGE...]",
    (Flag("output", "o", "string", "Write to a file, instead of STDOUT"),),
    least=1,
)
LOAD = Verb(
    "load",
    "Load an image from a tar archive or STDIN",
    "[OPTIONS]",
    (
        Flag("input", "i", "string", "Read from tar archive file, instead of STDIN"),
        Flag("quiet", "q", "bool", "Suppress the load output"),
    ),
    most=0,
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
        Flag("quiet", "q", "bool", "Only show image IDs"),
    ),
    least=1,
    most=1,
)
PRUNE = Verb(
    "image prune",
    "Remove unused images",
    "[OPTIONS]",
    (
        Flag("all", "a", "bool", "Remove all unused images, not just dangling ones"),
        Flag("force", "f", "bool", "Do not prompt for confirmation"),
        Flag("filter", "", "list", 'Provide filter values (e.g. "until=<timestamp>")'),
    ),
    most=0,
)
_COLUMNS = [
    ("REPOSITORY", "Repository"),
    ("TAG", "Tag"),
    ("IMAGE ID", "ID"),
    ("CREATED", "CreatedSince"),
    ("SIZE", "Size"),
]
_WITH_DIGESTS = [*_COLUMNS[:2], ("DIGEST", "Digest"), *_COLUMNS[2:]]
_HISTORY = [
    ("IMAGE", "ID"),
    ("CREATED", "CreatedSince"),
    ("CREATED BY", "CreatedBy"),
    ("SIZE", "Size"),
    ("COMMENT", "Comment"),
]


def images(http: Http, options: Options) -> int:
    """One row a tag."""
    table = filters(options.filter) or {}
    if options.args:
        table.setdefault("reference", []).append(options.args[0])
    with http.request("GET", "/images/json", {"all": options.all, "filters": table or None}) as answer:
        rows = [
            row
            for value in answer.json()
            for row in _rows(value, truncate=not options.no_trunc, digests=options.digests)
        ]
    columns = _WITH_DIGESTS if options.digests else _COLUMNS
    if options.quiet and not options.format:
        rows = list({row["ID"]: row for row in rows}.values())
    sys.stdout.write(show(rows, columns, options.format, quiet="ID" if options.quiet else ""))
    return 0


def _rows(value: dict[str, Any], *, truncate: bool, digests: bool) -> Iterable[dict[str, Any]]:
    identity = value["Id"]
    base = {
        "ID": identity.removeprefix("sha256:")[:12] if truncate else identity,
        "CreatedSince": ago(value["Created"]),
        "CreatedAt": time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(value["Created"])),
        "Size": human_size(value["Size"]),
        "VirtualSize": human_size(value["Size"]),
        "SharedSize": "N/A",
        "UniqueSize": "N/A",
        "Containers": "N/A",
    }
    by_repository = {}
    for name in value.get("RepoDigests") or ():
        repository, _, digest = name.partition("@")
        by_repository[repository] = digest
    tags = value.get("RepoTags") or []
    for name in tags:
        repository, _, tag = name.rpartition(":")
        yield {
            **base,
            "Repository": repository,
            "Tag": tag,
            "Digest": by_repository.get(repository, "<none>"),
        }
    if not tags:
        repository, digest = next(iter(by_repository.items()), ("<none>", "<none>"))
        yield {**base, "Repository": repository, "Tag": "<none>", "Digest": digest}


def pull(http: Http, options: Options) -> int:
    """Prints docker's progress; the full name at the end."""
    name = options.args[0]
    reference = Reference.parse(name)
    if options.all_tags:
        if reference.tag or reference.digest:
            raise Failed("tag can't be used with --all-tags/-a", 1)
        raise Failed("pulling all tags is not supported: name a tag", 1)
    if not reference.tag and not reference.digest and not options.quiet:
        print("Using default tag: latest")
    common.pull(http, name, options.platform, quiet=options.quiet)
    print(Reference.parse(name).tagged())
    return 0


def push(http: Http, options: Options) -> int:
    """To the registry that the name says."""
    reference = Reference.parse(options.args[0]).tagged()
    if reference.digest:
        raise Failed("cannot push a digest reference", 1)
    headers = common.registry_auth(reference.domain) or {"X-Registry-Auth": "e30="}
    query = {"tag": reference.tag}
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
    """Untags and deletes."""
    code = 0
    query = {"force": options.force, "noprune": options.no_prune}
    for name in options.args:
        try:
            with http.request("DELETE", f"/images/{name}", query) as answer:
                for value in answer.json():
                    print("\n".join(f"{word}: {each}" for word, each in value.items()))
        except ApiError as error:
            if not (options.force and error.status == 404):
                code = 1
            print(f"Error response from daemon: {error}", file=sys.stderr)
    return code


def import_(http: Http, options: Options) -> int:
    """From a file, standard input or a URL that the daemon fetches."""
    source = options.args[0]
    query: dict[str, Any] = {
        "changes": options.change,
        "message": options.message or None,
        "platform": options.platform or None,
    }
    if len(options.args) > 1:
        query |= named(options.args[1])
    if source.startswith(("http://", "https://")):
        with http.request("POST", "/images/create", {**query, "fromSrc": source}) as answer:
            progress.show(answer.lines())
        return 0
    with (
        _input(source) as stream,
        http.request("POST", "/images/create", {**query, "fromSrc": "-"}, stream=stream) as answer,
    ):
        progress.show(answer.lines())
    return 0


def _input(path: str) -> IO[bytes]:
    if path in ("-", ""):
        return os.fdopen(os.dup(0), "rb")
    try:
        return open(path, "rb")
    except OSError as error:
        raise Failed(f"open {path}: {(error.strerror or '').lower()}", 1) from None


def save(http: Http, options: Options) -> int:
    """A tar to a file or standard output; a file is complete or absent."""
    if not options.output and sys.stdout.isatty():
        raise Failed("cowardly refusing to save to a terminal. Use the -o flag or redirect", 1)
    with http.request("GET", "/images/get", {"names": options.args}) as answer:
        write_out(answer.pieces(1 << 20), options.output)
    return 0


def write_out(pieces: Iterable[bytes], path: str) -> None:
    """A stream to the file `path`, or to standard output for ""; a file is complete or absent."""
    if not path:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.flush()
        return
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "wb") as file:
            for piece in pieces:
                file.write(piece)
        os.replace(temporary, path)
    except OSError as error:
        raise Failed(f"cannot write {path}: {error.strerror}", 1) from None
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def load(http: Http, options: Options) -> int:
    """From a file or standard input."""
    if not options.input and sys.stdin.isatty():
        raise Failed("requested load from stdin, but stdin is empty", 1)
    with (
        _input(options.input) as stream,
        http.request("POST", "/images/load", {"quiet": options.quiet}, stream=stream) as answer,
    ):
        progress.show(answer.lines())
    return 0


def history(http: Http, options: Options) -> int:
    """Newest first."""
    with http.request("GET", f"/images/{options.args[0]}/history") as answer:
        rows = [_history_row(value, options) for value in answer.json()]
    sys.stdout.write(show(rows, _HISTORY, options.format, quiet="ID" if options.quiet else ""))
    return 0


def _history_row(value: dict[str, Any], options: Options) -> dict[str, Any]:
    created_by = value["CreatedBy"].replace("\t", " ")
    if not options.no_trunc and len(created_by) > 45:
        created_by = created_by[:44] + "…"
    identity = value["Id"]
    stamp = datetime.fromtimestamp(value["Created"]).astimezone().isoformat()
    return {
        "ID": identity
        if options.no_trunc or identity.startswith("<")
        else identity.removeprefix("sha256:")[:12],
        "CreatedSince": (ago(value["Created"]) if value["Created"] > 0 else "N/A")
        if options.human
        else stamp,
        "CreatedAt": stamp,
        "CreatedBy": created_by,
        "Size": human_size(value["Size"]) if options.human else str(value["Size"]),
        "Comment": value["Comment"],
    }


def prune(http: Http, options: Options) -> int:
    """Asks first, unless -f."""
    what = (
        "all images without at least one container associated to them"
        if options.all
        else "all dangling images"
    )
    if not confirm(f"WARNING! This will remove {what}.", options.force):
        return 0
    table = {**(filters(options.filter) or {}), "dangling": ["false" if options.all else "true"]}
    with http.request("POST", "/images/prune", {"filters": table}) as answer:
        value = answer.json()
    for each in value.get("ImagesDeleted") or ():
        print("\n".join(f"{word.lower()}: {name}" for word, name in each.items()))
    print(f"Total reclaimed space: {human_size(value.get('SpaceReclaimed') or 0)}")
    return 0
