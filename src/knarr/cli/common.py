"""What several verbs share: names of images, registry credentials, errors for several things at once."""

import base64
import json
import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from knarr.api.client.http import ApiError, Http
from knarr.cli import progress

if TYPE_CHECKING:
    from knarr.model.reference import Reference


class Failed(Exception):
    """The verb failed; `code` is the exit status. An empty message was printed already."""

    def __init__(self, message: str = "", code: int = 1):
        super().__init__(message)
        self.code = code


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
    """--filter key=value as the API wants it; None for none. Raises Failed."""
    table: dict[str, list[str]] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise Failed(
                'invalid argument "' + word + '" for "-f, --filter" flag: invalid filter \'' + word + "'", 125
            )
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


def pull(http: Http, name: str, platform: str = "", *, quiet: bool = False, to_stderr: bool = False) -> None:
    """Pulls an image and shows how it goes."""
    reference = _parsed(name).tagged()
    query = {
        "fromImage": reference.familiar_name,
        "tag": reference.digest or reference.tag,
        "platform": platform or None,
    }
    headers = registry_auth(reference.domain)
    with http.request("POST", "/images/create", query, headers=headers) as answer:
        if to_stderr:
            out, sys.stdout = sys.stdout, sys.stderr
            try:
                progress.show(answer.lines(), quiet=quiet)
            finally:
                sys.stdout = out
        else:
            progress.show(answer.lines(), quiet=quiet)


def config_directory() -> str:
    """Where docker keeps its client's settings."""
    return os.environ.get("DOCKER_CONFIG") or os.path.join(os.path.expanduser("~"), ".docker")


def read_config() -> dict[str, Any]:
    """config.json; {} where there is none."""
    try:
        with open(os.path.join(config_directory(), "config.json"), encoding="utf-8") as file:
            value: dict[str, Any] = json.load(file)
            return value
    except (FileNotFoundError, NotADirectoryError):
        return {}


def registry_auth(domain: str) -> dict[str, str]:
    """The X-Registry-Auth header with docker's stored credentials for a registry; {} where there are none."""
    config = read_config()
    key = "https://index.docker.io/v1/" if domain == "docker.io" else domain
    entry = _from_helper(config, key) or _from_file(config, key, domain)
    if not entry:
        return {}
    data = json.dumps({**entry, "serveraddress": key}).encode()
    return {"X-Registry-Auth": base64.urlsafe_b64encode(data).decode()}


def _from_file(config: dict[str, Any], key: str, domain: str) -> dict[str, str]:
    auths = config.get("auths") or {}
    for name in (key, domain, f"https://{domain}", f"https://{domain}/v1/", f"https://{domain}/v2/"):
        entry = auths.get(name)
        if not entry:
            continue
        if entry.get("identitytoken"):
            return {"identitytoken": entry["identitytoken"]}
        if entry.get("auth"):
            user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
            return {"username": user, "password": password.strip("\0")}
    return {}


def _from_helper(config: dict[str, Any], key: str) -> dict[str, str]:
    helper = (config.get("credHelpers") or {}).get(key) or config.get("credsStore")
    if not helper:
        return {}
    import subprocess

    try:
        done = subprocess.run(
            [f"docker-credential-{helper}", "get"], input=key.encode(), capture_output=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return {}
    value = json.loads(done.stdout)
    if value.get("Username") == "<token>":
        return {"identitytoken": value["Secret"]}
    return {"username": value.get("Username", ""), "password": value.get("Secret", "")}


def confirm(question: str, force: bool) -> bool:
    """Asks unless `force`."""
    if force:
        return True
    print(f"{question}\nAre you sure you want to continue? [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
