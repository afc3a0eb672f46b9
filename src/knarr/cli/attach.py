"""`knarr attach`, `knarr exec`: this terminal on a process that runs, or a new one beside it."""

import contextlib
import sys
from collections.abc import Callable

from knarr.api.client.http import Http
from knarr.cli import config, streams
from knarr.cli.common import Failed
from knarr.cli.containerbody import lines
from knarr.cli.flags import Flag, Options, Verb
from knarr.wire import detachkeys

ATTACH = Verb(
    "attach",
    "Attach local standard input, output, and error streams to a running container",
    "[OPTIONS] CONTAINER",
    (
        Flag("detach-keys", "", "string", "Override the key sequence for detaching a container"),
        Flag("no-stdin", "", "bool", "Do not attach STDIN"),
        Flag("sig-proxy", "", "bool", "Proxy all received signals to the process", True),
    ),
    least=1,
    most=1,
)
EXEC = Verb(
    "exec",
    "Execute a command in a running container",
    "[OPTIONS] CONTAINER COMMAND [ARG...]",
    (
        Flag("detach", "d", "bool", "Detached mode: run command in the background"),
        Flag("detach-keys", "", "string", "Override the key sequence for detaching a container"),
        Flag("env", "e", "list", "Set environment variables"),
        Flag("env-file", "", "list", "Read in a file of environment variables"),
        Flag("interactive", "i", "bool", "Keep STDIN open even if not attached"),
        Flag("privileged", "", "bool", "Give extended privileges to the command"),
        Flag("tty", "t", "bool", "Allocate a pseudo-TTY"),
        Flag("user", "u", "string", "Username or UID (format: <name|uid>[:<group|gid>])"),
        Flag("workdir", "w", "string", "Working directory inside the container"),
    ),
    least=2,
    interspersed=False,
)


def attach(http: Http, options: Options) -> int:
    """The container's exit code; 0 after the detach keys."""
    name = options.args[0]
    with http.request("GET", f"/containers/{name}/json") as answer:
        value = answer.json()
    if not value["State"]["Running"]:
        raise Failed("cannot attach to a stopped container, start it first", 1)
    if value["State"]["Paused"]:
        raise Failed("cannot attach to a paused container, unpause it first", 1)
    stdin = bool(value["Config"]["OpenStdin"]) and not options.no_stdin
    return foreground(
        http, name, stdin=stdin, keys=config.detach_keys(options.detach_keys), proxy=options.sig_proxy
    )


def foreground(
    http: Http,
    name: str,
    *,
    stdin: bool,
    keys: str,
    begin: Callable[[], None] | None = None,
    proxy: bool = True,
) -> int:
    """Attaches, runs `begin`, moves bytes until the end; the exit code."""
    with http.request("GET", f"/containers/{name}/json") as answer:
        tty = bool(answer.json()["Config"]["Tty"])
    terminal = tty and stdin and sys.stdin.isatty()
    query = {"stream": True, "stdout": True, "stderr": True, "stdin": stdin, "detachKeys": keys or None}
    connection = http.hijack(f"/containers/{name}/attach", query)

    def send(signal: str) -> None:
        http.request("POST", f"/containers/{name}/kill", {"signal": signal}).close()

    condition = {"condition": "next-exit"} if begin else {}
    waiting = http.request("POST", f"/containers/{name}/wait", condition)
    with (
        connection.sock,
        waiting,
        streams.forwarding_signals(send) if proxy and not tty else contextlib.nullcontext(),
    ):
        if begin:
            begin()
        try:
            with streams.raw(terminal), _sized(http, name, tty):
                streams.pump(connection, stdin=stdin, keys=detachkeys.parse(keys) if terminal else None)
        except streams.Detached:
            return 0
        return int(waiting.json()["StatusCode"])


def _sized(http: Http, name: str, tty: bool) -> contextlib.AbstractContextManager[None]:
    return resize_to_window(http, f"/containers/{name}/resize") if tty else contextlib.nullcontext()


def execute(http: Http, options: Options) -> int:
    """The command's exit code."""
    name, *command = options.args
    if options.tty and options.interactive and not options.detach and not sys.stdin.isatty():
        raise Failed("the input device is not a TTY", 1)
    attached = not options.detach
    body = {
        "AttachStdin": options.interactive and attached,
        "AttachStdout": attached,
        "AttachStderr": attached,
        "Tty": options.tty,
        "Cmd": command,
        "Env": [*lines(options.env_file, variables=True), *options.env],
        "User": options.user,
        "WorkingDir": options.workdir,
        "Privileged": options.privileged,
        "DetachKeys": config.detach_keys(options.detach_keys),
    }
    with http.request("POST", f"/containers/{name}/exec", body=body) as answer:
        exec_id = answer.json()["Id"]
    if not attached:
        http.request("POST", f"/exec/{exec_id}/start", body={"Detach": True, "Tty": options.tty}).close()
        return 0
    return _attached(http, exec_id, options)


def _attached(http: Http, exec_id: str, options: Options) -> int:
    terminal = options.tty and options.interactive and sys.stdin.isatty()
    size = streams.window() if options.tty else None
    body = {"Detach": False, "Tty": options.tty, "ConsoleSize": [size[1], size[0]] if size else None}
    connection = http.hijack(f"/exec/{exec_id}/start", body=body)
    sized = resize_to_window(http, f"/exec/{exec_id}/resize") if options.tty else contextlib.nullcontext()
    keys = detachkeys.parse(config.detach_keys(options.detach_keys)) if terminal else None
    with connection.sock:
        try:
            with streams.raw(terminal), sized:
                streams.pump(connection, stdin=options.interactive, keys=keys)
        except streams.Detached:
            return 0
    with http.request("GET", f"/exec/{exec_id}/json") as answer:
        return int(answer.json()["ExitCode"] or 0)


def resize_to_window(http: Http, path: str) -> contextlib.AbstractContextManager[None]:
    """Keeps the terminal behind `path` at this window's size."""
    return streams.following_size(
        lambda width, height: http.request("POST", path, {"w": width, "h": height}).close()
    )
