"""`knarr run`, `knarr create`: a container from an image, attached to this terminal or not."""

import contextlib
import os
import sys
import threading
from typing import Any

from knarr.api.client.http import Answer, ApiError, Http
from knarr.cli import config, containerbody, containerflags, streams
from knarr.cli.common import Failed, named, pull, refused
from knarr.cli.flags import Flag, Options, Verb
from knarr.wire import detachkeys

CREATE = Verb(
    "create",
    "Create a new container",
    "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    containerflags.FLAGS,
    least=1,
    interspersed=False,
)
RUN = Verb(
    "run",
    "Create and run a new container from an image",
    "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    (
        *containerflags.FLAGS,
        Flag("detach", "d", "bool", "Run container in background and print container ID"),
        Flag("detach-keys", "", "string", "Override the key sequence for detaching a container"),
        Flag("sig-proxy", "", "bool", "Proxy received signals to the process", True),
        Flag(
            "explain",
            "",
            "bool",
            "Print each step of the start: its reason, its time and the kernel objects made",
        ),
    ),
    least=1,
    interspersed=False,
    usage_code=125,
)


def create(http: Http, options: Options) -> int:
    """Prints the new container's id."""
    print(make(http, options, attach=False)["Id"])
    return 0


def run(http: Http, options: Options) -> int:
    """The container's exit code, or 0 detached; 125, 126 and 127 as docker gives them."""
    try:
        return _run(http, options)
    except ApiError as error:
        text = str(error)
        code = 125
        if "executable file not found" in text or "no such file or directory" in text:
            code = 127
        elif "permission denied" in text or "exec format error" in text or "is a directory" in text:
            code = 126
        raise Failed(f"Error response from daemon: {text}", code, helpful=True) from None


def _run(http: Http, options: Options) -> int:
    if options.detach and options.attach:
        raise Failed("conflicting options: cannot specify both --attach and --detach")
    attached = not options.detach
    if attached and options.tty and options.interactive and not sys.stdin.isatty():
        raise Failed("the input device is not a TTY", 1)
    container = make(http, options, attach=attached)["Id"]
    if not attached:
        _start(http, container, options)
        print(container)
        return 0
    try:
        return _foreground(http, container, options)
    except ApiError:
        if options.rm:
            with contextlib.suppress(ApiError):
                http.request("DELETE", f"/containers/{container}", {"force": True, "v": True}).close()
        raise


def make(http: Http, options: Options, *, attach: bool) -> dict[str, Any]:
    """Creates the container; pulls the image as --pull says."""
    if options.cidfile and os.path.exists(options.cidfile):
        raise Failed(
            f"container ID file found, make sure the other container isn't running or delete {options.cidfile}",
            125 if attach or getattr(options, "detach", False) else 1,
            helpful=attach or getattr(options, "detach", False),
        )
    if options.pull not in ("always", "missing", "never"):
        raise refused(
            f'invalid pull option: \'{options.pull}\': must be one of "always", "missing" or "never"'
        )
    if not options.disable_content_trust:
        raise refused("content trust (Notary) is not supported: it has been retired")
    body = containerbody.body(options, attach=attach, host=http.host)
    if options.use_api_socket:
        _share_socket(http, body)
    image = options.args[0]
    query = {"name": options.name or None, "platform": options.platform or None}
    if options.pull == "always":
        pull(http, image, options.platform, quiet=options.quiet, to_stderr=True)
    try:
        made = _create(http, query, body)
    except ApiError as error:
        if error.status == 400 and ("reference format" in str(error) or "repository name" in str(error)):
            named(image)  # docker says so itself
        if error.status != 404 or options.pull != "missing" or "image" not in str(error).lower():
            raise
        named(image)
        if not options.quiet:
            print(f"Unable to find image '{_with_tag(image)}' locally", file=sys.stderr)
        pull(http, image, options.platform, quiet=options.quiet, to_stderr=True)
        made = _create(http, query, body)
    for warning in made.get("Warnings") or ():
        print(f"WARNING: {warning}", file=sys.stderr)
    if options.cidfile:
        with open(options.cidfile, "w", encoding="utf-8") as file:
            file.write(made["Id"])
    return made


def _create(http: Http, query: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    with http.request("POST", "/containers/create", query, body) as answer:
        made: dict[str, Any] = answer.json()
        return made


_SOCKET = "/var/run/docker.sock"


def _share_socket(http: Http, body: dict[str, Any]) -> None:
    """--use-api-socket: the daemon's own socket where docker's clients inside look for it.

    Credentials stay here: docker writes them into the container, where whoever has the image has them.
    """
    source = http.host.removeprefix("unix://") if http.host.startswith("unix://") else _SOCKET
    mount = {"Type": "bind", "Source": source, "Target": _SOCKET, "BindOptions": {}}
    body["HostConfig"]["Mounts"].append(mount)


def _with_tag(image: str) -> str:
    last = image.rpartition("/")[2]
    return image if ":" in last or "@" in last else f"{image}:latest"


def _start(http: Http, container: str, options: Options) -> None:
    query = {"detachKeys": config.detach_keys(options.detach_keys) or None, "explain": options.explain}
    with http.request("POST", f"/containers/{container}/start", query) as answer:
        steps = answer.json() if answer.status == 200 else None
    if options.explain:
        from knarr.cli.explain import show

        sys.stderr.write(show(steps or []))


def _foreground(http: Http, container: str, options: Options) -> int:
    stdin = options.interactive
    query = {
        "stream": True,
        "stdout": True,
        "stderr": True,
        "stdin": stdin,
        "detachKeys": config.detach_keys(options.detach_keys) or None,
    }
    connection = http.hijack(f"/containers/{container}/attach", query)
    condition = "removed" if options.rm else "next-exit"
    ended = _Wait(http.request("POST", f"/containers/{container}/wait", {"condition": condition}))
    terminal = options.tty and sys.stdin.isatty()
    keys = detachkeys.parse(config.detach_keys(options.detach_keys)) if terminal else None

    def send(signal: str) -> None:
        http.request("POST", f"/containers/{container}/kill", {"signal": signal}).close()

    def resize(width: int, height: int) -> None:
        http.request("POST", f"/containers/{container}/resize", {"w": width, "h": height}).close()

    proxy = (
        streams.forwarding_signals(send)
        if options.sig_proxy and not options.tty
        else contextlib.nullcontext()
    )
    with connection.sock, proxy:
        _start(http, container, options)
        with streams.raw(terminal):
            following = streams.following_size(resize) if options.tty else contextlib.nullcontext()
            with following:
                try:
                    streams.pump(connection, stdin=stdin, keys=keys)
                except streams.Detached:
                    return 0
        return ended.code()


class _Wait:
    """A wait that was registered before the start; its answer comes when the container ends."""

    def __init__(self, answer: Answer):
        self._answer = answer
        self._value: dict[str, Any] | None = None
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._answer, contextlib.suppress(OSError, ValueError):
            self._value = self._answer.json()

    def code(self) -> int:
        """Raises Failed if the daemon went away."""
        self._thread.join()
        if self._value is None:
            raise Failed("Error waiting for container: the daemon closed the connection", 125)
        if self._value.get("Error"):
            raise Failed(f"Error waiting for container: {self._value['Error']['Message']}", 125)
        return int(self._value["StatusCode"])
