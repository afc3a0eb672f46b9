"""A shim's life: launch, serve until released. It outlives whoever started it, and nobody may stop it by not listening."""

import gc
import os
import signal
import socket
import sys
from collections.abc import Mapping
from typing import Any

from knarr.kernel import process
from knarr.kernel.cgroups.open import open_cgroup
from knarr.kernel.sockets import send_packet, socketpair
from knarr.model.errors import Invalid, KnarrError
from knarr.runtime.shim.ahead import Ahead, host_hierarchy, pipes
from knarr.runtime.shim.control import Server, listen
from knarr.runtime.shim.held import remove_cgroup
from knarr.runtime.shim.loop import Loop
from knarr.runtime.shim.packets import pack, unpack
from knarr.runtime.shim.requests import Asked
from knarr.wire.zygote import describe

_LINGER = 10.0


def run(order: Mapping[str, Any], first: socket.socket, born: Ahead) -> None:
    """Serves one container. `first` is where the order came from, `born` the init that walks already. Returns when it is
    released, or could not be made."""
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    process.set_name("knarr-shim")
    process.set_child_subreaper()
    loop = Loop()
    try:
        run_dir: str = order["run_dir"]
        _leave_the_daemon(run_dir)
        container = Asked(loop, order)
        server = Server(loop, listen(run_dir), run_dir, container.serve, container.hello)
    except (KnarrError, OSError, KeyError, ValueError, TypeError) as error:
        _refuse(first, born, order, error)
        return
    _serve(loop, server, container, first)
    container.take_up(born)
    del order, born, first
    gc.enable()
    loop.on_bug = lambda: _record(run_dir)
    loop.run()


def rehearse() -> None:
    """A life without a container: what runs here has run before a shim does it (see `rehearsal`)."""
    loop = Loop()
    mine, theirs = socketpair()
    control, its_control = socketpair()
    container = Asked(loop, unpack(_NOTHING, []))
    server = Server(loop, socketpair()[0], "", container.serve, container.hello)
    _serve(loop, server, container, theirs)
    pidfd = os.pidfd_open(os.getpid())
    container.take_up(Ahead(os.getpid(), pidfd, control, *pipes(stdin=True), os.dup(pidfd)))
    for sock, message in (
        (mine, {"id": 0, "do": "start"}),
        (its_control, {"ready": 1, "warnings": [], "steps": []}),
    ):
        send_packet(sock, pack(message))
        loop.turn(0)
    for sock in (its_control, mine):
        sock.close()
        loop.turn(0)
    container.unmount()
    container.streams.finish()
    server.close()
    os.close(pidfd)
    loop.close()


_NOTHING = b"""{"id": "", "run_dir": "", "cgroup": "", "terminal": false, "stdin": false,
"log": {"driver": "json-file", "path": "/dev/null"}}"""


def _serve(loop: Loop, server: Server, container: Asked, first: socket.socket) -> None:
    connection = server.adopt(first)
    container.tell = server.tell
    container.on_hello = lambda: connection.send(container.hello())
    container.on_failed = lambda error: connection.send({"error": describe(error)})
    container.on_released = lambda: _end(loop, server, container)


def _refuse(first: socket.socket, born: Ahead, order: Mapping[str, Any], error: BaseException) -> None:
    """Nothing is left: not the init, nor the cgroup that it may have made."""
    born.give_up()
    if order.get("cgroup"):
        remove_cgroup(open_cgroup(order["cgroup"], host_hierarchy()))
    said = Invalid(f"order lacks {error}") if isinstance(error, KeyError) else error
    with first:
        first.send(pack({"error": describe(said)}))


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


def _end(loop: Loop, server: Server, container: Asked) -> None:
    """Ends when the clients, and whoever gets the log, have everything, or take nothing for a while."""
    server.close()
    streams = container.streams

    def check() -> None:
        if not streams.clients and streams.leaving is None:
            loop.stop()

    streams.on_gone = check
    for client in [client for client in streams.clients if not client.closed]:
        chained = client.on_close

        def closed(gone: Any, detached: bool, chained: Any = chained) -> None:
            chained(gone, detached)
            check()

        client.on_close = closed
    if all(client.closed for client in streams.clients) and streams.leaving is None:
        loop.stop()
        return
    loop.after("linger", _LINGER, loop.stop)
