"""The composition root of the fork server: a small process that forks ready-made jobs and does nothing else itself.

Started once by knarrd (`engine.zygote`), with its end of a packet pair as descriptor argument. Everything that a job needs
is imported before the first fork, and the heap is frozen (gc.freeze), so that a fork copies as few pages as can be. A job
whose peer is gone ends quietly: nobody is left to tell. Shapes: wire.zygote.
"""

import gc
import json
import os
import select
import signal
import socket
import stat
import sys
import time
from binascii import b2a_base64
from collections.abc import Callable
from typing import Any

from knarr.kernel.capabilities import last
from knarr.kernel.fd import RootFd
from knarr.kernel.process import PR_SET_DUMPABLE, PR_SET_PDEATHSIG, prctl, reset_signals, set_name
from knarr.kernel.sockets import recv_packet, send_packet
from knarr.model.errors import Invalid, KnarrError
from knarr.runtime import netns, view
from knarr.runtime.seal import keep_only, seal_imports
from knarr.runtime.shim import main as shim
from knarr.runtime.shim import packets
from knarr.runtime.shim.ahead import END, TAKEN, Ahead, bear_ahead, host_hierarchy
from knarr.runtime.shim.rehearsal import of_an_init
from knarr.snapshots.errors import NoSuchPath
from knarr.snapshots.maketar import TarOptions, maketar
from knarr.snapshots.untar import UntarOptions, untar
from knarr.wire.zygote import describe

_PAUSE = 0.05
"""After a child that died instead of waiting: should all of them do so, they must not become a storm."""

_REHEARSALS = 20

Reply = tuple[dict[str, Any], list[int]]


def main(fd: int) -> None:
    """Serves until the other end closes. One child is ready: it waits for the next request itself.

    When it has taken one the next child is not forked at once: the container that is started has the machine, until its
    program runs (the other end of `taken` is closed) or the next request comes.
    """
    os.setsid()
    prctl(PR_SET_DUMPABLE, 0)
    keep_only({fd})
    os.umask(0o022)
    set_name("knarr-zygote")
    reset_signals()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    sock = socket.socket(fileno=fd)
    host_hierarchy()
    last()
    for _ in range(_REHEARSALS):
        shim.rehearse()
        of_an_init()
    send_packet(sock, b'{"ready":true}')
    gc.collect()
    gc.disable()
    holes = _fill_holes()
    gc.freeze()
    me = os.getpid()
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    while True:
        taken, take = os.pipe()
        if os.fork() == 0:
            os.close(taken)
            _live(sock, take, me)
        os.close(take)
        outcome = os.read(taken, 1)
        if outcome == TAKEN:
            poll.register(taken, select.POLLIN)
            poll.poll()
            poll.unregister(taken)
        os.close(taken)
        if outcome == END:
            break
        if not outcome:
            time.sleep(_PAUSE)
    del holes


_POOL, _FIRST, _LARGEST, _ENOUGH = 16 << 10, 48, 512, 5000


def _fill_holes() -> list[object]:
    """Objects for every hole in the interpreter's pools (CPython, Objects/obmalloc.c: blocks of one size share 16 KiB).

    What a child allocates then lies in pools of its own, side by side, not in holes of pages that it would have to copy.
    """
    kept: list[object] = []
    for size in range(16, _LARGEST + 1, 16):
        for _ in range(_ENOUGH):
            block = object() if size == 16 else float(len(kept)) if size == 32 else bytes(size - 33)
            kept.append(block)
            if id(block) % _POOL == _FIRST:
                break
    return kept


def _live(sock: socket.socket, take: int, zygote: int) -> None:
    """A child's whole life: it has an init born, which takes the next request and hands it on. While they wait they die
    with the zygote: nobody else must take requests then."""
    try:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != zygote:
            return
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        born = bear_ahead(sock, take)
        sock.close()
        packet, fds = recv_packet(born.control, packets.LIMIT)
        prctl(PR_SET_PDEATHSIG, 0)
        if packet:
            _serve(packets.unpack(packet, fds), fds, born)
    except (BrokenPipeError, ConnectionResetError):
        return
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(0)


def _serve(request: dict[str, Any], fds: list[int], born: Ahead) -> None:
    reply = socket.socket(fileno=fds[0])
    if request["job"] == "shim":
        shim.run(request["order"], reply, born)
    else:
        born.give_up()
        os.close(born.take)
        _answer(request, fds[1:], reply)


def _answer(request: dict[str, Any], fds: list[int], reply: socket.socket) -> None:
    try:
        job = JOBS.get(request["job"])
        if job is None:
            raise Invalid(f"unknown job {request['job']!r} for the zygote")
        facts, given = job(request, fds)
    except (KnarrError, OSError, ValueError, RecursionError, MemoryError) as error:
        send_packet(reply, json.dumps({"error": describe(error)}).encode())
        return
    send_packet(reply, json.dumps({"ok": facts}).encode(), given)


def make_owned_netns(request: dict[str, Any], fds: list[int]) -> Reply:
    """A network namespace, and the user namespace that it belongs to."""
    uids, gids = (tuple(tuple(line) for line in request[kind]) for kind in ("uids", "gids"))
    user, fd, route = netns.make_owned(uids, gids, request["user"])
    return {"inode": os.fstat(fd).st_ino}, [user, fd, route.detach()]


def unpack(request: dict[str, Any], fds: list[int]) -> Reply:
    """A tar stream into a directory of the host, which is all that this process sees."""
    seal_imports()
    os.chroot(request["root"])
    os.chdir("/")
    return untar(fds[0], "/", _untar_options(request))._asdict(), []


def archive_put(request: dict[str, Any], fds: list[int]) -> Reply:
    """A tar stream into a container."""
    view.enter(request["view"])
    return untar(fds[0], "/", _untar_options(request))._asdict(), []


def archive_get(request: dict[str, Any], fds: list[int]) -> Reply:
    """A path of a container as a tar stream."""
    view.enter(request["view"])
    return maketar(fds[0], "/", request["path"], TarOptions(**request["options"]))._asdict(), []


def archive_stat(request: dict[str, Any], fds: list[int]) -> Reply:
    """What a path of a container is."""
    view.enter(request["view"])
    path = request["path"]
    with RootFd("/") as root:
        try:
            found = root.stat(path, follow=path.endswith("/"))
        except (FileNotFoundError, NotADirectoryError):
            raise NoSuchPath(f"no such file or directory: {path}") from None
    target = os.path.realpath(path) if stat.S_ISLNK(found.st_mode) else ""
    facts = {"name": os.path.basename(path.rstrip("/")) or "/", "size": found.st_size, "mode": found.st_mode}
    return {**facts, "mtime": found.st_mtime_ns, "link_target": target}, []


def read(request: dict[str, Any], fds: list[int]) -> Reply:
    """A small file of a container."""
    view.enter(request["view"])
    with RootFd("/") as root:
        try:
            data = root.read(request["path"], request["limit"])
        except (FileNotFoundError, NotADirectoryError):
            raise NoSuchPath(f"no such file or directory: {request['path']}") from None
    return {"data": b2a_base64(data, newline=False).decode()}, []


def copy_up(request: dict[str, Any], fds: list[int]) -> Reply:
    """One process looks into the container, the other fills the volume."""
    source, sink = os.pipe()
    if os.fork() == 0:
        code = 1
        try:
            os.close(source)
            view.enter(request["view"])
            maketar(sink, "/", request["path"], TarOptions(name=".", follow=True))
            code = 0
        except NoSuchPath:
            code = 0
        finally:
            os._exit(code)
    os.close(sink)
    done = untar(source, request["target"])
    if os.waitstatus_to_exitcode(os.wait()[1]) != 0:
        raise OSError(5, "cannot read what the image has there", request["path"])
    return done._asdict(), []


def _untar_options(request: dict[str, Any]) -> UntarOptions:
    options = dict(request["options"])
    if options.get("owner") is not None:
        options["owner"] = tuple(options["owner"])
    return UntarOptions(**options)


JOBS: dict[str, Callable[[dict[str, Any], list[int]], Reply]] = {
    "owned-netns": make_owned_netns,
    "unpack": unpack,
    "archive-get": archive_get,
    "archive-put": archive_put,
    "archive-stat": archive_stat,
    "read": read,
    "copy-up": copy_up,
}
