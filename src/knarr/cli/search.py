"""`knarr search`: what a registry has of a name."""

import sys

from knarr.api.client.http import Http
from knarr.cli import config
from knarr.cli.common import filters
from knarr.cli.flags import Flag, Options, Verb
from knarr.cli.table import ellipsis, show

SEARCH = Verb(
    "search",
    "Search Docker Hub for images",
    "[OPTIONS] TERM",
    (
        Flag("filter", "f", "filter", "Filter output based on conditions provided"),
        Flag("format", "", "string", "Pretty-print search using a Go template"),
        Flag("limit", "", "int", "Max number of search results"),
        Flag("no-trunc", "", "bool", "Don't truncate output"),
    ),
    least=1,
    most=1,
)


def search(http: Http, options: Options) -> int:
    """The table."""
    term = options.args[0]
    first = term.partition("/")[0]
    domain = first if "/" in term and ("." in first or ":" in first or first == "localhost") else "docker.io"
    query = {"term": term, "limit": options.limit or None, "filters": filters(options.filter)}
    with http.request("GET", "/images/search", query, headers=config.registry_auth(domain)) as answer:
        rows = [
            {
                "Name": value["name"],
                "Description": _line(value.get("description") or "", truncate=not options.no_trunc),
                "StarCount": str(value.get("star_count", 0)),
                "IsOfficial": _flag(value.get("is_official"), json=options.format == "json"),
            }
            for value in answer.json() or ()
        ]
    headers = [
        ("NAME", "Name"),
        ("DESCRIPTION", "Description"),
        ("STARS", "StarCount"),
        ("OFFICIAL", "IsOfficial"),
    ]
    sys.stdout.write(show(rows, headers, options.format))
    return 0


def _line(text: str, *, truncate: bool) -> str:
    line = text.replace("\n", " ").replace("\r", " ")
    return ellipsis(line, 45) if truncate else line


def _flag(value: object, *, json: bool) -> str:
    if json:
        return "true" if value else "false"
    return "[OK]" if value else ""
