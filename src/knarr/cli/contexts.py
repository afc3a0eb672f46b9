"""docker's contexts on disk: which daemon is meant, and the store below ~/.docker/contexts that docker shares with us."""

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

from knarr.api.client.http import DEFAULT_HOST, Http, Tls
from knarr.cli import config
from knarr.cli.common import Failed

DEFAULT = "default"
FILES = ("ca.pem", "cert.pem", "key.pem")


class Global(NamedTuple):
    """What stands before the verb."""

    host: str = ""
    context: str = ""
    tls: bool = False
    verify: bool = False
    ca: str = ""
    certificate: str = ""
    key: str = ""
    debug: bool = False


CHOSEN: list[Global] = [Global()]


def current() -> str:
    """The context's name as docker finds it."""
    chosen = CHOSEN[0]
    if chosen.context:
        return chosen.context
    if chosen.host or os.environ.get("DOCKER_HOST"):
        return DEFAULT
    return os.environ.get("DOCKER_CONTEXT") or str(config.read().get("currentContext") or "") or DEFAULT


def client() -> Http:
    """The client for the daemon that is meant. Raises Failed."""
    headers = {str(name): str(value) for name, value in (config.read().get("HttpHeaders") or {}).items()}
    name = current()
    if name == DEFAULT:
        return Http(CHOSEN[0].host, _tls(CHOSEN[0]), headers)
    try:
        endpoint = read(name)["Endpoints"]["docker"]
    except Failed as error:
        raise Failed(f"Failed to initialize: unable to resolve docker endpoint: {error}") from None
    except KeyError:
        raise Failed(
            f"Failed to initialize: unable to resolve docker endpoint: context {name!r} has none"
        ) from None
    directory = os.path.join(tls_directory(name), "docker")
    tls = None
    if os.path.isdir(directory):
        ca, certificate, key = (os.path.join(directory, file) for file in FILES)
        tls = Tls(ca, certificate, key, not endpoint.get("SkipTLSVerify"))
    return Http(endpoint.get("Host", "") or default_host(), tls, headers)


def default_host() -> str:
    """The daemon where nothing else is said."""
    return os.environ.get("DOCKER_HOST") or DEFAULT_HOST


def _tls(chosen: Global) -> Tls | None:
    given = os.environ.get("DOCKER_TLS", "") or chosen.tls or chosen.verify
    verify = chosen.verify or bool(os.environ.get("DOCKER_TLS_VERIFY"))
    if not (given or verify):
        return None
    directory = os.environ.get("DOCKER_CERT_PATH") or config.directory()
    ca, certificate, key = (os.path.join(directory, name) for name in FILES)
    return Tls(chosen.ca or ca, chosen.certificate or certificate, chosen.key or key, verify)


def check_name(name: str) -> None:
    """Raises Failed for what docker takes for no name."""
    if name == DEFAULT:
        raise Failed('"default" is a reserved context name')
    plain = name.replace("_", "a").replace(".", "a").replace("+", "a").replace("-", "a")
    if not name or not plain.isascii() or not plain.isalnum() or not name[0].isalnum():
        raise Failed(
            f'context name "{name}" is invalid, names are validated against regexp "^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$"'
            if name
            else "context name cannot be empty"
        )


def _key(name: str) -> str:
    import hashlib

    return hashlib.sha256(name.encode()).hexdigest()


def meta_directory(name: str) -> str:
    """Where a context's meta.json is."""
    return os.path.join(config.directory(), "contexts", "meta", _key(name))


def tls_directory(name: str) -> str:
    """Where a context's certificates are."""
    return os.path.join(config.directory(), "contexts", "tls", _key(name))


def read(name: str) -> dict[str, Any]:
    """A context's metadata; `default` is made up from the surroundings. Raises Failed."""
    if name == DEFAULT:
        host = CHOSEN[0].host or default_host()
        return {
            "Name": DEFAULT,
            "Metadata": {},
            "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": False}},
        }
    import json

    path = os.path.join(meta_directory(name), "meta.json")
    try:
        with open(path, encoding="utf-8") as file:
            value: dict[str, Any] = json.load(file)
            return value
    except FileNotFoundError:
        raise Failed(f'context "{name}": context not found: open {path}: no such file or directory') from None
    except (OSError, ValueError) as error:
        raise Failed(f'context "{name}": {error}') from None


def everything() -> Iterator[dict[str, Any]]:
    """Every context, the default one first."""
    import json

    yield read(DEFAULT)
    directory = os.path.join(config.directory(), "contexts", "meta")
    for key in sorted(os.listdir(directory)) if os.path.isdir(directory) else ():
        path = os.path.join(directory, key, "meta.json")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                yield json.load(file)


def write(value: dict[str, Any], files: dict[str, bytes] | None) -> None:
    """Stores a context; `files` None leaves its certificates as they are."""
    import json

    name = value["Name"]
    os.makedirs(meta_directory(name), mode=0o755, exist_ok=True)
    _replace(
        os.path.join(meta_directory(name), "meta.json"), json.dumps(value, separators=(",", ":")).encode()
    )
    if files is None:
        return
    remove_tree(tls_directory(name))
    for path, data in files.items():
        place = os.path.join(tls_directory(name), "docker", path)
        os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)
        _replace(place, data)


def _replace(path: str, data: bytes) -> None:
    temporary = f"{path}.{os.getpid()}.tmp"
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
    os.replace(temporary, path)


def remove_tree(path: str) -> None:
    """Nothing where nothing is."""
    import shutil

    shutil.rmtree(path, ignore_errors=True)


def certificates(name: str) -> dict[str, bytes]:
    """A context's files by name."""
    directory = os.path.join(tls_directory(name), "docker")
    found = {}
    for file in FILES:
        path = os.path.join(directory, file)
        if os.path.exists(path):
            with open(path, "rb") as stream:
                found[file] = stream.read()
    return found
