"""`knarr login`, `knarr logout`: a registry's credentials, checked by the daemon, kept as docker keeps them."""

import base64
import sys
from typing import Any

from knarr.api.client.http import Http
from knarr.cli import config
from knarr.cli.common import Failed
from knarr.cli.flags import Flag, Options, Verb

LOGIN = Verb(
    "login",
    "Authenticate to a registry",
    "[OPTIONS] [SERVER]",
    (
        Flag("password", "p", "string", "Password or Personal Access Token (PAT)"),
        Flag("password-stdin", "", "bool", "Take the Password or Personal Access Token (PAT) from stdin"),
        Flag("username", "u", "string", "Username"),
    ),
    most=1,
)
LOGOUT = Verb("logout", "Log out from a registry", "[SERVER]", most=1)
_UNENCRYPTED = """
WARNING! Your credentials are stored unencrypted in '{}'.
Configure a credential helper to remove this warning. See
https://docs.docker.com/go/credential-store/
"""


def _check(options: Options) -> None:
    if "password_stdin" in options.given:
        if "password" in options.given:
            raise Failed("conflicting options: cannot specify both --password and --password-stdin")
        if "username" not in options.given:
            raise Failed("the --password-stdin option requires --username to be set")
    for key in ("username", "password"):
        if key in options.given and not getattr(options, key):
            raise Failed(f"{key} is empty")


def login(http: Http, options: Options) -> int:
    """Asks what it was not told; stored credentials are tried first where nothing was told."""
    _check(options)
    if options.password:
        print("WARNING! Using --password via the CLI is insecure. Use --password-stdin.", file=sys.stderr)
    name = options.args[0] if options.args else ""
    server = config.INDEX if name in ("", "docker.io", "index.docker.io") else _hostname(name)
    entry: dict[str, Any]
    stored = {} if options.username or options.password else config.credentials(server)
    if stored.get("username") and stored.get("password"):
        print(
            f"Authenticating with existing credentials... [Username: {stored['username']}]", file=sys.stderr
        )
        entry = {**stored, "serveraddress": server}
    else:
        entry = {**_told(options), "serveraddress": server}
    with http.request("POST", "/auth", body=entry) as answer:
        value = answer.json() or {}
    if token := value.get("IdentityToken"):
        entry = {"username": entry["username"], "identitytoken": token, "serveraddress": server}
    _store(server, entry)
    if value.get("Status"):
        print(value["Status"])
    return 0


def _told(options: Options) -> dict[str, str]:
    password = options.password
    if options.password_stdin:
        password = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    if (not options.username or not password) and not sys.stdin.isatty():
        raise Failed("Error: Cannot perform an interactive login from a non TTY device")
    user = options.username or input("Username: ").strip()
    if not user:
        raise Failed("username is empty")
    if not password:
        import getpass

        password = getpass.getpass("Password: ")
        if not password:
            raise Failed("password is empty")
    return {"username": user, "password": password}


def _hostname(name: str) -> str:
    return name.removeprefix("https://").removeprefix("http://").partition("/")[0]


def _store(server: str, entry: dict[str, Any]) -> None:
    if helper := config.helper(server):
        import json

        secret = entry.get("identitytoken") or entry["password"]
        user = "<token>" if entry.get("identitytoken") else entry["username"]
        data = json.dumps({"ServerURL": server, "Username": user, "Secret": secret})
        if not config.ask_helper(helper, "store", data):
            raise Failed(
                f"Error saving credentials: error storing credentials - docker-credential-{helper} failed"
            )
        return
    value = dict(config.read())
    kept: dict[str, str] = {}
    if entry.get("identitytoken"):
        kept["identitytoken"] = entry["identitytoken"]
        text = f"{entry['username']}:"
    else:
        text = f"{entry['username']}:{entry['password']}"
    kept["auth"] = base64.b64encode(text.encode()).decode()
    config.write({**value, "auths": {**(value.get("auths") or {}), server: kept}})
    if entry.get("password"):
        import os

        print(_UNENCRYPTED.format(os.path.join(config.directory(), "config.json")), file=sys.stderr)


def logout(_: Http, options: Options) -> int:
    """Forgets; whether there was something to forget does not matter."""
    name = options.args[0] if options.args else ""
    server = _hostname(name) if name else config.INDEX
    print(f"Removing login credentials for {server}")
    names = [name or config.INDEX, server, f"http://{server}", f"https://{server}"]
    if helper := config.helper(server):
        for each in names:
            config.ask_helper(helper, "erase", each)
        return 0
    value = dict(config.read())
    auths = dict(value.get("auths") or {})
    left = {key: entry for key, entry in auths.items() if key not in names}
    if left != auths:
        config.write({**value, "auths": left})
    return 0
