"""A shim's life: launch, serve until released. It outlives whoever started it, and nobody may stop it by not listening."""

import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping
from typing import Any

from knarr.kernel import process
from knarr.model.errors import Invalid, KnarrError
from knarr.runtime.shim.container import Container
from knarr.runtime.shim.control import Server
from knarr.runtime.shim.loop import READ, Loop
from knarr.wire.zygote import describe

_LINGER = 10.0


def run(order: Mapping[str, Any], first: socket.socket) -> None:
    """Serves one container. `first` is where the order came from. Returns when it is released, or could not be made."""
    os.setsid()
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    gc.enable()
    process.set_name("knarr-shim")
    process.set_child_subreaper()
    _leave_the_daemon(order["run_dir"])
    loop = Loop()
    shim: list[Container] = []
    try:
        server = Server(loop, order["run_dir"], lambda: shim[0].hello())
    except (OSError, KeyError) as error:
        _refuse(first, error)
        return
    run_dir = order["run_dir"]
    connection = server.adopt(first)
    container: Container | None = None
    try:
        container = Container(loop, order, server.tell)
        shim.append(container)
        _serve(loop, server, container)
        container.on_hello = lambda: connection.send(shim[0].hello())
        container.on_failed = lambda error: connection.send({"error": describe(error)})
        container.launch(order)
    except (OSError, KeyError, KnarrError) as error:
        if container is not None and not container.init.pid:
            container.remove_cgroup()
        connection.send(
            {"error": describe(Invalid(f"order lacks {error}") if isinstance(error, KeyError) else error)}
        )
        server.close()
        return
    del order
    loop.on_bug = lambda: _record(run_dir)
    loop.run()


def _leave_the_daemon(run_dir: str) -> None:
    """Lets go of the daemon's streams, and clears what a killed shim of an earlier life left."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    os.close(null)
    for name in ("shim.sock", "exit.json"):
        try:
            os.unlink(f"{run_dir}/{name}")
        except FileNotFoundError:
            continue


def _record(run_dir: str) -> None:
    """A bug must not end a container: it is written down, and the shim goes on."""
    fd = os.open(f"{run_dir}/shim.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.dup2(fd, 2)
    os.close(fd)
    sys.excepthook(*sys.exc_info())


def _refuse(first: socket.socket, error: BaseException) -> None:
    with first:
        first.send(json.dumps({"error": describe(error)}).encode())


def _serve(loop: Loop, server: Server, container: Container) -> None:
    for name in (
        "start",
        "attach",
        "signal",
        "resize",
        "exec",
        "pause",
        "resume",
        "update",
        "pids",
        "stats",
        "release",
    ):
        server.handlers[name] = getattr(container, name)
    server.handlers["exec-resize"] = container.exec_resize
    server.handlers["exec-signal"] = container.exec_signal
    server.handlers["exec-seen"] = container.exec_seen
    container.on_released = lambda: _end(loop, server, container)
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)

    def woken(events: int) -> None:
        os.read(read, 4096)
        container.reap_strangers()

    loop.watch(read, READ, woken)


def _end(loop: Loop, server: Server, container: Container) -> None:
    """Ends when the clients have everything, or take nothing for a while."""
    server.close()
    clients = [client for client in container.streams.clients if not client.closed]
    if not clients:
        loop.stop()
        return
    for client in clients:
        chained = client.on_close

        def closed(gone: Any, detached: bool, chained: Any = chained) -> None:
            chained(gone, detached)
            if not container.streams.clients:
                loop.stop()

        client.on_close = closed
    loop.after("linger", _LINGER, loop.stop)
