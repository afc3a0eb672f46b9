"""The verbs on one or more containers: start, stop, kill, restart, rm, pause, unpause, rename, wait, port, top, diff, commit."""

import sys
from typing import Any

from knarr.api.client.http import ApiError, Http
from knarr.cli import config
from knarr.cli.common import Failed, each, named
from knarr.cli.flags import Flag, Options, Verb

_MANY = "CONTAINER [CONTAINER...]"
_TIMEOUT = Flag("timeout", "t", "int", "Seconds to wait before killing the container")
_TIME = Flag("time", "", "int", "Seconds to wait before killing the container", hidden=True)
_SIGNAL = Flag("signal", "s", "string", "Signal to send to the container")

START = Verb(
    "start",
    "Start one or more stopped containers",
    f"[OPTIONS] {_MANY}",
    (
        Flag("attach", "a", "bool", "Attach STDOUT/STDERR and forward signals"),
        Flag("checkpoint", "", "string", "Restore from this checkpoint"),
        Flag("checkpoint-dir", "", "string", "Use a custom checkpoint storage directory"),
        Flag("interactive", "i", "bool", "Attach container's STDIN"),
        Flag("detach-keys", "", "string", "Override the key sequence for detaching a container"),
        Flag("explain", "", "bool", "Print each step of the start"),
    ),
    least=1,
)
STOP = Verb(
    "stop", "Stop one or more running containers", f"[OPTIONS] {_MANY}", (_TIME, _TIMEOUT, _SIGNAL), least=1
)
RESTART = Verb(
    "restart", "Restart one or more containers", f"[OPTIONS] {_MANY}", (_TIME, _TIMEOUT, _SIGNAL), least=1
)
KILL = Verb("kill", "Kill one or more running containers", f"[OPTIONS] {_MANY}", (_SIGNAL,), least=1)
PAUSE = Verb("pause", "Pause all processes within one or more containers", _MANY, least=1)
UNPAUSE = Verb("unpause", "Unpause all processes within one or more containers", _MANY, least=1)
RM = Verb(
    "rm",
    "Remove one or more containers",
    f"[OPTIONS] {_MANY}",
    (
        Flag("force", "f", "bool", "Force the removal of a running container (uses SIGKILL)"),
        Flag("volumes", "v", "bool", "Remove anonymous volumes associated with the container"),
        Flag("link", "l", "bool", "Remove the specified link"),
    ),
    least=1,
)
RENAME = Verb("rename", "Rename a container", "CONTAINER NEW_NAME", least=2, most=2)
WAIT = Verb("wait", "Block until one or more containers stop, then print their exit codes", _MANY, least=1)
PORT = Verb(
    "port",
    "List port mappings or a specific mapping for the container",
    "CONTAINER [PRIVATE_PORT[/PROTO]]",
    least=1,
    most=2,
)
TOP = Verb(
    "top",
    "Display the running processes of a container",
    "CONTAINER [ps OPTIONS]",
    least=1,
    interspersed=False,
)
DIFF = Verb(
    "diff",
    "Inspect changes to files or directories on a container's filesystem",
    "CONTAINER",
    least=1,
    most=1,
)
COMMIT = Verb(
    "commit",
    "Create a new image from a container's changes",
    "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    (
        Flag("author", "a", "string", 'Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")'),
        Flag("change", "c", "list", "Apply Dockerfile instruction to the created image"),
        Flag("message", "m", "string", "Commit message"),
        Flag("pause", "p", "bool", "Pause container during commit", default=True),
    ),
    least=1,
    most=2,
)


def _timeout(options: Options) -> int | None:
    for key in ("time", "timeout"):
        if key in options.given:
            return int(getattr(options, key))
    return None


def start(http: Http, options: Options) -> int:
    """Attached to one, or any number in the background."""
    if not (options.attach or options.interactive):
        failed: list[str] = []

        def one(name: str) -> None:
            failed.append(name)
            _start(http, name, options)
            failed.pop()

        code = each(options.args, one)
        if failed:
            print(f"Error: failed to start containers: {', '.join(failed)}", file=sys.stderr)
        return code
    if len(options.args) > 1:
        raise Failed("you cannot start and attach multiple containers at once", 1)
    from knarr.cli.attach import foreground

    name = options.args[0]
    return foreground(
        http,
        name,
        stdin=options.interactive,
        keys=config.detach_keys(options.detach_keys),
        begin=lambda: _start(http, name, options),
    )


def _start(http: Http, name: str, options: Options) -> None:
    with http.request("POST", f"/containers/{name}/start", {"explain": options.explain}) as answer:
        steps = answer.json() if answer.status == 200 else None
    if options.explain:
        from knarr.cli.explain import show

        sys.stderr.write(show(steps or []))


def stop(http: Http, options: Options) -> int:
    """SIGTERM, then SIGKILL."""
    query = {"t": _timeout(options), "signal": options.signal or None}
    return each(options.args, lambda name: http.request("POST", f"/containers/{name}/stop", query).close())


def restart(http: Http, options: Options) -> int:
    """Stop and start."""
    query = {"t": _timeout(options), "signal": options.signal or None}
    return each(options.args, lambda name: http.request("POST", f"/containers/{name}/restart", query).close())


def kill(http: Http, options: Options) -> int:
    """A signal, SIGKILL unless told otherwise."""
    query = {"signal": options.signal or "KILL"}
    return each(options.args, lambda name: http.request("POST", f"/containers/{name}/kill", query).close())


def pause(http: Http, options: Options) -> int:
    """By the freezer."""
    return each(options.args, lambda name: http.request("POST", f"/containers/{name}/pause").close())


def unpause(http: Http, options: Options) -> int:
    """By the freezer."""
    return each(options.args, lambda name: http.request("POST", f"/containers/{name}/unpause").close())


def remove(http: Http, options: Options) -> int:
    """With -f a container that is not there is told, and is no failure, as with docker."""
    query = {"force": options.force, "v": options.volumes, "link": options.link}
    errors = []
    for name in options.args:
        try:
            http.request("DELETE", f"/containers/{name.strip('/')}", query).close()
        except ApiError as error:
            text = f"Error response from daemon: {error}"
            if options.force and error.status == 404:
                print(text, file=sys.stderr)
            else:
                errors.append(text)
        else:
            print(name)
    for text in errors:
        print(text, file=sys.stderr)
    return 1 if errors else 0


def rename(http: Http, options: Options) -> int:
    """Nothing is printed."""
    old, new = options.args
    try:
        http.request("POST", f"/containers/{old}/rename", {"name": new}).close()
    except ApiError as error:
        raise Failed(
            f"Error response from daemon: {error}\nError: failed to rename container named {old}"
        ) from None
    return 0


def wait(http: Http, options: Options) -> int:
    """Prints each exit code."""
    code = 0
    for name in options.args:
        try:
            with http.request("POST", f"/containers/{name}/wait") as answer:
                print(answer.json()["StatusCode"], flush=True)
        except ApiError as error:
            print(f"Error response from daemon: {error}", file=sys.stderr)
            code = 1
    return code


def port(http: Http, options: Options) -> int:
    """All mappings, or those of one port."""
    name, *rest = options.args
    with http.request("GET", f"/containers/{name}/json") as answer:
        mapped = answer.json()["NetworkSettings"]["Ports"] or {}
    if rest:
        number, slash, protocol = rest[0].partition("/")
        if not number.isdigit():
            raise Failed(f"Error: invalid port ({number}): invalid syntax")
        wanted = f"{number}/{protocol if slash else 'tcp'}"
        lines = [_place(binding) for binding in mapped.get(wanted) or ()]
        if not lines:
            raise Failed(f"Error: No public port '{wanted}' published for {name}")
    else:
        lines = [
            f"{key} -> {_place(binding)}" for key, bindings in mapped.items() for binding in bindings or ()
        ]
        lines.sort(key=lambda line: (int(line.split("/")[0]), line))
    for line in lines:
        print(line)
    return 0


def _place(binding: dict[str, str]) -> str:
    ip = binding["HostIp"]
    return f"{f'[{ip}]' if ':' in ip else ip}:{binding['HostPort']}"


def top(http: Http, options: Options) -> int:
    """As ps shows it."""
    from knarr.cli.table import columns as aligned

    query = {"ps_args": " ".join(options.args[1:]) or None}
    with http.request("GET", f"/containers/{options.args[0]}/top", query) as answer:
        value = answer.json()
    sys.stdout.write(aligned([value["Titles"], *value["Processes"]], 20, 3))
    return 0


def diff(http: Http, options: Options) -> int:
    """C changed, A added, D deleted."""
    with http.request("GET", f"/containers/{options.args[0]}/changes") as answer:
        for change in answer.json() or ():
            print("CAD"[change["Kind"]], change["Path"])
    return 0


def commit(http: Http, options: Options) -> int:
    """Prints the new image's id."""
    query: dict[str, Any] = {
        "container": options.args[0],
        "author": options.author or None,
        "changes": options.change,
        "comment": options.message or None,
        "pause": "1" if options.pause else "0",
    }
    if len(options.args) > 1:
        query |= named(options.args[1])
    with http.request("POST", "/commit", query) as answer:
        print(answer.json()["Id"])
    return 0
