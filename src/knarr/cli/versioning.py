"""`knarr version`: the client's and the server's."""

import sys
from typing import Any

from knarr.api.client.http import VERSION as API_VERSION
from knarr.api.client.http import ApiError, CannotConnect, Http
from knarr.cli.about import version
from knarr.cli.common import Failed
from knarr.cli.flags import Flag, Options, Verb

VERSION = Verb(
    "version",
    "Show the Docker version information",
    "[OPTIONS]",
    (Flag("format", "f", "string", "Format output using a custom template: 'json' or a Go template"),),
    most=0,
)


def show(http: Http, options: Options) -> int:
    """Where no daemon answers, the client's part still comes."""
    from knarr.cli.contexts import current

    client = {
        "Version": version(),
        "ApiVersion": API_VERSION,
        "DefaultAPIVersion": API_VERSION,
        "GitCommit": "",
        "GoVersion": f"python{sys.version.partition(' ')[0]}",
        "Os": "linux",
        "Arch": _machine(),
        "BuildTime": "",
        "Context": current(),
    }
    failure, server = "", None
    try:
        with http.request("GET", "/version") as answer:
            server = answer.json()
    except ApiError as error:
        failure = f"Error response from daemon: {error}"
    except CannotConnect as error:
        failure = str(error)
    _print({"Client": client, "Server": server}, options.format)
    if failure:
        raise Failed(failure)
    return 0


def _machine() -> str:
    import os

    return {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)


def _print(value: dict[str, Any], form: str) -> None:
    if form == "json":
        import json

        print(json.dumps(value, separators=(",", ":")))
    elif form:
        from knarr.cli.template import Template

        print(Template(form).render(value))
    else:
        sys.stdout.write(_text(value))


def _text(value: dict[str, Any]) -> str:
    from knarr.cli.table import columns

    client, server = value["Client"], value["Server"]
    rows = [
        ("Client:",),
        (" Version:", client["Version"]),
        (" API version:", client["ApiVersion"]),
        (" Python version:", client["GoVersion"].removeprefix("python")),
        (" OS/Arch:", f"{client['Os']}/{client['Arch']}"),
        (" Context:", client["Context"]),
    ]
    text = columns(rows, 20, 1)
    if server is None:
        return text
    title = (server.get("Platform") or {}).get("Name", "")
    text += f"\nServer:{f' {title}' if title else ''}\n"
    for part in server.get("Components") or [_engine(server)]:
        text += columns([(f" {part['Name']}:",), *_details(part)], 20, 1)
    return text


def _engine(server: dict[str, Any]) -> dict[str, Any]:
    keys = ("ApiVersion", "MinAPIVersion", "GitCommit", "GoVersion", "Os", "Arch", "BuildTime")
    details = {
        **{key: server.get(key, "") for key in keys},
        "Experimental": str(server.get("Experimental", False)).lower(),
    }
    return {"Name": "Engine", "Version": server.get("Version", ""), "Details": details}


def _details(part: dict[str, Any]) -> list[tuple[str, ...]]:
    details = part.get("Details") or {}
    rows: list[tuple[str, ...]] = [("  Version:", part.get("Version", ""))]
    if part["Name"] != "Engine":
        return [*rows, *((f"  {key}:", details[key]) for key in sorted(details))]
    return [
        *rows,
        (
            "  API version:",
            f"{details.get('ApiVersion', '')} (minimum version {details.get('MinAPIVersion', '')})",
        ),
        ("  Go version:", details.get("GoVersion", "")),
        ("  Git commit:", details.get("GitCommit", "")),
        ("  Built:", _built(details.get("BuildTime", ""))),
        ("  OS/Arch:", f"{details.get('Os', '')}/{details.get('Arch', '')}"),
        ("  Experimental:", details.get("Experimental", "")),
    ]


def _built(text: str) -> str:
    from datetime import datetime

    try:
        stamp = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{stamp:%a %b} {stamp.day:2d} {stamp:%H:%M:%S %Y}"
