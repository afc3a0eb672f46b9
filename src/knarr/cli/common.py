"""What several verbs share: names of images, pulling, errors for several things at once."""

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from knarr.api.client.http import ApiError, Http
from knarr.cli import config, progress

if TYPE_CHECKING:
    from knarr.model.reference import Reference


class Failed(Exception):
    """The verb failed; `code` is the exit status. An empty message was printed already.

    With `helpful` it is told with the program's name, and where help is to be found.
    """

    def __init__(self, message: str = "", code: int = 1, *, helpful: bool = False):
        super().__init__(message)
        self.code = code
        self.helpful = helpful


def refused(message: str) -> Failed:
    """A container's words that make no sense together: exit status 125."""
    return Failed(message, 125, helpful=True)


def each(names: Iterable[str], action: Callable[[str], object], *, echo: bool = True) -> int:
    """Does `action` for each name and prints it; failures are told at the end of each, the status is 1 then."""
    code = 0
    for name in names:
        try:
            action(name)
        except ApiError as error:
            print(f"Error response from daemon: {error}", file=sys.stderr)
            code = 1
        else:
            if echo:
                print(name)
    return code


def filters(words: Iterable[str]) -> dict[str, list[str]] | None:
    """--filter key=value as the API wants it; None for none."""
    table: dict[str, list[str]] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if equals:
            table.setdefault(key.strip().lower(), []).append(value.strip())
    return table or None


def _parsed(name: str) -> "Reference":
    # Imported when a name is read: it needs hashlib, which takes longer than all of `ps`.
    from knarr.model.reference import Reference

    return Reference.parse(name)


def named(name: str) -> dict[str, str | None]:
    """`repo` and `tag` of a new image's name."""
    reference = _parsed(name)
    return {"repo": reference.familiar_name, "tag": reference.tag}


def pull(
    http: Http,
    name: str,
    platform: str = "",
    *,
    quiet: bool = False,
    to_stderr: bool = False,
    every_tag: bool = False,
) -> None:
    """Pulls an image and shows how it goes."""
    reference = _parsed(name) if every_tag else _parsed(name).tagged()
    query = {
        "fromImage": reference.familiar_name,
        "tag": reference.digest or reference.tag or None,
        "platform": platform or None,
    }
    headers = config.registry_auth(reference.domain)
    with http.request("POST", "/images/create", query, headers=headers) as answer:
        if to_stderr:
            out, sys.stdout = sys.stdout, sys.stderr
            try:
                progress.show(answer.lines(), quiet=quiet)
            finally:
                sys.stdout = out
        else:
            progress.show(answer.lines(), quiet=quiet)


def confirm(question: str, force: bool) -> bool:
    """Asks unless `force`; what is no yes is told as docker does."""
    if force:
        return True
    print(f"{question} [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
