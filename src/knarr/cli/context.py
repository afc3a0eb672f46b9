"""`knarr context …`: the verbs on docker's contexts."""

import io
import json
import os
import sys
from typing import Any

from knarr.api.client.http import Http
from knarr.cli import config, contexts
from knarr.cli.common import Failed
from knarr.cli.flags import Flag, Options, Verb
from knarr.cli.inspecting import show_values
from knarr.cli.table import ellipsis, show

_DOCKER = Flag("docker", "", "stringToString", "set the docker endpoint")
_DESCRIPTION = Flag("description", "", "string", "Description of the context")
CREATE = Verb(
    "context create",
    "Create a context",
    "[OPTIONS] CONTEXT",
    (_DESCRIPTION, _DOCKER, Flag("from", "", "string", "create context from a named context")),
    least=1,
    most=1,
)
UPDATE = Verb(
    "context update", "Update a context", "[OPTIONS] CONTEXT", (_DESCRIPTION, _DOCKER), least=1, most=1
)
LS = Verb(
    "context ls",
    "List contexts",
    "[OPTIONS]",
    (
        Flag(
            "format", "", "string", "Format output using a custom template: 'table', 'json' or a Go template"
        ),
        Flag("quiet", "q", "bool", "Only show context names"),
    ),
    most=0,
)
INSPECT = Verb(
    "context inspect",
    "Display detailed information on one or more contexts",
    "[OPTIONS] [CONTEXT] [CONTEXT...]",
    (Flag("format", "f", "string", "Format output using a custom template: 'json' or a Go template"),),
)
RM = Verb(
    "context rm",
    "Remove one or more contexts",
    "CONTEXT [CONTEXT...]",
    (Flag("force", "f", "bool", "Force the removal of a context in use"),),
    least=1,
)
USE = Verb("context use", "Set the current docker context", "CONTEXT", least=1, most=1)
SHOW = Verb("context show", "Print the name of the current context", "", most=0)
EXPORT = Verb(
    "context export",
    "Export a context to a tar archive FILE or a tar stream on STDOUT.",
    "[OPTIONS] CONTEXT [FILE|-]",
    least=1,
    most=2,
)
IMPORT = Verb("context import", "Import a context from a tar or zip file", "CONTEXT FILE|-", least=2, most=2)

_KEYS = {"ca": "ca.pem", "cert": "cert.pem", "key": "key.pem"}
_OVERRIDES = "Warning: DOCKER_HOST environment variable overrides the active context. To use {}, either set the global --context flag, or unset DOCKER_HOST environment variable."
_MOST = 10 << 20


def _check_new(name: str) -> None:
    contexts.check_name(name)
    if os.path.exists(contexts.meta_directory(name)):
        raise Failed(f'context "{name}" already exists')


def _endpoint(words: list[str]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """--docker's key=value words: the endpoint, its files. Raises Failed."""
    table = dict(word.partition("=")[::2] for word in words)
    if unknown := [key for key in table if key not in ("from", "host", "skip-tls-verify", *_KEYS)]:
        raise Failed(f"unable to create docker endpoint config: unrecognized config key: {unknown[0]}")
    if source := table.get("from"):
        return contexts.read(source)["Endpoints"]["docker"], contexts.certificates(source)
    files = {}
    for key, file in _KEYS.items():
        if path := table.get(key):
            with open(os.path.expanduser(path), "rb") as stream:
                files[file] = stream.read()
    skip = table.get("skip-tls-verify", "false").lower() in ("1", "t", "true")
    return {"Host": table.get("host", ""), "SkipTLSVerify": skip}, files


def create(_: Http, options: Options) -> int:
    """From an endpoint, another context or the present one."""
    name = options.args[0]
    _check_new(name)
    if options.docker and not getattr(options, "from"):
        endpoint, files = _endpoint(options.docker)
        metadata = {"Description": options.description} if options.description else {}
    else:
        if options.docker:
            raise Failed("cannot use --docker flag when --from is set")
        source = getattr(options, "from") or contexts.current()
        value = contexts.read(source)
        endpoint, files = value["Endpoints"]["docker"], contexts.certificates(source)
        metadata = {**value.get("Metadata", {})}
        if options.description:
            metadata["Description"] = options.description
    contexts.write({"Name": name, "Metadata": metadata, "Endpoints": {"docker": endpoint}}, files)
    print(name)
    print(f'Successfully created context "{name}"', file=sys.stderr)
    return 0


def update(_: Http, options: Options) -> int:
    """What is not given stays."""
    name = options.args[0]
    contexts.check_name(name)
    value = contexts.read(name)
    files = None
    if options.description:
        value.setdefault("Metadata", {})["Description"] = options.description
    if options.docker:
        value.setdefault("Endpoints", {})["docker"], files = _endpoint(options.docker)
    contexts.write(value, files)
    print(name)
    print(f'Successfully updated context "{name}"', file=sys.stderr)
    return 0


def _row(value: dict[str, Any]) -> dict[str, Any]:
    current = value["Name"] == contexts.current()
    description = value.get("Metadata", {}).get("Description", "")
    if value["Name"] == contexts.DEFAULT:
        description = "Current DOCKER_HOST based configuration"
    return {
        "Current": current,
        "Name": value["Name"],
        "Description": description,
        "DockerEndpoint": value.get("Endpoints", {}).get("docker", {}).get("Host", ""),
        "Error": "",
    }


def ls(_: Http, options: Options) -> int:
    """The current one is starred; one that is missing is listed with its error."""
    rows = [_row(value) for value in contexts.everything()]
    current = contexts.current()
    if current not in [row["Name"] for row in rows]:
        try:
            contexts.read(current)
        except Failed as error:
            row = {"Current": True, "Name": current, "Description": "", "DockerEndpoint": ""}
            rows.append({**row, "Error": ellipsis(str(error), 45)})
    rows.sort(key=lambda row: row["Name"])
    if options.format in ("", "table") and not options.quiet:
        rows = [{**row, "Name": f"{row['Name']}{' *' if row['Current'] else ''}"} for row in rows]
    headers = [
        ("NAME", "Name"),
        ("DESCRIPTION", "Description"),
        ("DOCKER ENDPOINT", "DockerEndpoint"),
        ("ERROR", "Error"),
    ]
    sys.stdout.write(show(rows, headers, options.format, quiet="Name" if options.quiet else ""))
    if os.environ.get("DOCKER_HOST"):
        print(_OVERRIDES.format("a context"), file=sys.stderr)
    return 0


def inspect(_: Http, options: Options) -> int:
    """With its files' names, and where it is kept."""
    values, errors = [], []
    for name in options.args or [contexts.current()]:
        try:
            value = contexts.read(name)
        except Failed as error:
            errors.append(str(error))
            continue
        default = name == contexts.DEFAULT
        files = [] if default else list(contexts.certificates(name))
        where = "<IN MEMORY>" if default else contexts.meta_directory(name)
        storage = {
            "MetadataPath": where,
            "TLSPath": where if default else contexts.tls_directory(name),
        }
        values.append(
            {
                "Name": name,
                "Metadata": value.get("Metadata", {}),
                "Endpoints": value.get("Endpoints", {}),
                "TLSMaterial": {"docker": files} if files else {},
                "Storage": storage,
            }
        )
    return show_values(values, errors, options.format, escaped=True)


def remove(_: Http, options: Options) -> int:
    """The one in use only with -f."""
    code = 0
    for name in options.args:
        try:
            _remove(name, force=options.force)
        except Failed as error:
            print(error, file=sys.stderr)
            code = 1
        else:
            print(name)
    return code


def _remove(name: str, *, force: bool) -> None:
    if name == contexts.DEFAULT:
        raise Failed('context "default" cannot be removed')
    if name == contexts.current():
        if not force:
            raise Failed(f'context "{name}" is in use, set -f flag to force remove')
        config.write({key: value for key, value in config.read().items() if key != "currentContext"})
    if not force and not os.path.exists(contexts.meta_directory(name)):
        raise Failed(f'context "{name}" does not exist')
    contexts.remove_tree(contexts.meta_directory(name))
    contexts.remove_tree(contexts.tls_directory(name))


def use(_: Http, options: Options) -> int:
    """Written to config.json, for docker too."""
    name = options.args[0]
    if name != contexts.DEFAULT:
        contexts.check_name(name)
        contexts.read(name)
    wanted = "" if name == contexts.DEFAULT else name
    value = dict(config.read())
    if value.get("currentContext", "") != wanted:
        value.pop("currentContext", None)
        config.write({**value, **({"currentContext": wanted} if wanted else {})})
    print(name)
    print(f'Current context is now "{name}"', file=sys.stderr)
    if wanted and os.environ.get("DOCKER_HOST"):
        print(_OVERRIDES.format(f'"{name}"'), file=sys.stderr)
    return 0


def show_name(_: Http, __: Options) -> int:
    """The current one."""
    print(contexts.current())
    return 0


def export(_: Http, options: Options) -> int:
    """docker's tar: meta.json and tls/docker/*."""
    import tarfile

    name = options.args[0]
    target = options.args[1] if len(options.args) > 1 else f"{name}.dockercontext"
    if name != contexts.DEFAULT:
        contexts.check_name(name)
    entries = {"meta.json": json.dumps(contexts.read(name), separators=(",", ":")).encode()}
    if name != contexts.DEFAULT:
        entries |= {f"tls/docker/{file}": data for file, data in contexts.certificates(name).items()}
    if target == "-" and sys.stdout.isatty():
        raise Failed("cowardly refusing to export to a terminal, specify a file path")
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for path, data in entries.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(data), 0o644 if path == "meta.json" else 0o600
            tar.addfile(member, io.BytesIO(data))
    if target == "-":
        sys.stdout.buffer.write(made.getvalue())
        sys.stdout.flush()
        return 0
    try:
        with open(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(made.getvalue())
    except OSError as error:
        raise Failed(f"open {target}: {(error.strerror or '').lower()}") from None
    print(f'Written file "{target}"', file=sys.stderr)
    return 0


def import_(_: Http, options: Options) -> int:
    """From such a tar, or a zip of the same."""
    name, source = options.args
    _check_new(name)
    try:
        with os.fdopen(os.dup(0), "rb") if source == "-" else open(source, "rb") as file:
            entries = _entries(file.read(_MOST + 1))
    except OSError as error:
        raise Failed(f"open {source}: {(error.strerror or '').lower()}") from None
    if "meta.json" not in entries:
        raise Failed("invalid context: no metadata found")
    files: dict[str, bytes] = {}
    for path, data in entries.items():
        if path == "meta.json":
            continue
        name_there = path.removeprefix("tls/docker/")
        if name_there not in contexts.FILES:
            raise Failed(f"{path}: unexpected context file")
        files[name_there] = data
    contexts.write({**json.loads(entries["meta.json"]), "Name": name}, files)
    print(name)
    print(f'Successfully imported context "{name}"', file=sys.stderr)
    return 0


def _entries(data: bytes) -> dict[str, bytes]:
    if len(data) > _MOST:
        raise Failed("read exceeds the defined limit")
    if data.startswith(b"PK\x03\x04"):
        import zipfile

        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {info.filename: archive.read(info) for info in archive.infolist() if not info.is_dir()}
    import tarfile

    found = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for member in tar:
                stream = tar.extractfile(member) if member.isreg() else None
                if stream:
                    found[member.name] = stream.read()
    except tarfile.TarError as error:
        raise Failed(str(error)) from None
    return found
