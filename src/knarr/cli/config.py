"""docker's config.json: formats, detach keys, headers, credentials, proxies, the current context. Read once, when asked for."""

import base64
import json
import os
import sys
from typing import Any

INDEX = "https://index.docker.io/v1/"
_DIRECTORY: list[str] = []
_LOADED: dict[str, dict[str, Any]] = {}


def use_directory(path: str) -> None:
    """What --config says."""
    _DIRECTORY[:] = [path]


def directory() -> str:
    """Where docker keeps its client's settings."""
    if _DIRECTORY:
        return _DIRECTORY[0]
    return os.environ.get("DOCKER_CONFIG") or os.path.join(os.path.expanduser("~"), ".docker")


def read() -> dict[str, Any]:
    """config.json; {} where there is none. A broken one is warned of, as docker does."""
    path = os.path.join(directory(), "config.json")
    if path not in _LOADED:
        _LOADED[path] = _load(path)
    return _LOADED[path]


def _load(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            value: dict[str, Any] = json.load(file)
            return value
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        print(f"WARNING: Error loading config file: {path}: {error}", file=sys.stderr)
        return {}


def write(value: dict[str, Any]) -> None:
    """Replaces config.json; what we do not know of in it stays."""
    os.makedirs(directory(), mode=0o700, exist_ok=True)
    path = os.path.realpath(os.path.join(directory(), "config.json"))
    temporary = f"{path}.{os.getpid()}.tmp"
    mode = os.stat(path).st_mode & 0o777 if os.path.exists(path) else 0o600
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        json.dump(value, file, indent="\t")
    os.replace(temporary, path)
    _LOADED.clear()


def formatted(form: str, key: str, *, quiet: bool = False) -> str:
    """--format, or what the settings say of this list ("psFormat")."""
    return form or ("" if quiet else str(read().get(key, "")))


def detach_keys(given: str) -> str:
    """--detach-keys, or the settings' own."""
    return given or str(read().get("detachKeys", ""))


def proxies(host: str, given: set[str]) -> list[str]:
    """The proxies' variables for a container that does not set them itself, as NAME=value."""
    table = read().get("proxies") or {}
    chosen = table.get(host) or table.get("default") or {}
    words = []
    for key, name in (
        ("httpProxy", "HTTP_PROXY"),
        ("httpsProxy", "HTTPS_PROXY"),
        ("noProxy", "NO_PROXY"),
        ("ftpProxy", "FTP_PROXY"),
        ("allProxy", "ALL_PROXY"),
    ):
        if value := chosen.get(key):
            words += [f"{each}={value}" for each in (name, name.lower()) if each not in given]
    return words


def helper(server: str) -> str:
    """The credential helper of a registry; "" where config.json keeps its credentials."""
    value = read()
    return str((value.get("credHelpers") or {}).get(server) or value.get("credsStore") or "")


def ask_helper(name: str, verb: str, data: str) -> Any:
    """One word of the protocol of docker-credential-helpers; None where it fails."""
    import subprocess

    argv = [f"docker-credential-{name}", verb]
    try:
        done = subprocess.run(argv, input=data.encode(), capture_output=True, check=True)
        return json.loads(done.stdout) if verb in ("get", "list") else True
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None


def credentials(server: str) -> dict[str, str]:
    """What is stored for a registry, in the API's words; {} for nothing."""
    if name := helper(server):
        value = ask_helper(name, "get", server) or {}
        if value.get("Username") == "<token>":
            return {"identitytoken": value["Secret"]}
        if not value:
            return {}
        return {"username": value.get("Username", ""), "password": value.get("Secret", "")}
    auths = read().get("auths") or {}
    for key in (
        server,
        f"https://{server}",
        f"http://{server}",
        f"https://{server}/v1/",
        f"https://{server}/v2/",
    ):
        entry = auths.get(key) or {}
        if entry.get("identitytoken"):
            return {"identitytoken": entry["identitytoken"]}
        if entry.get("auth"):
            user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
            return {"username": user, "password": password.strip("\0")}
    return {}


def registry_auth(domain: str) -> dict[str, str]:
    """The X-Registry-Auth header for a registry; {} where nothing is stored."""
    key = INDEX if domain == "docker.io" else domain
    entry = credentials(key)
    return auth_header({**entry, "serveraddress": key}) if entry else {}


def auth_header(entry: dict[str, str]) -> dict[str, str]:
    """Credentials as the API takes them."""
    return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(entry).encode()).decode()}
