"""The composition root of the fork server: a small process that forks ready-made jobs and does nothing else itself.

Started once by knarrd (`engine.zygote`), with its end of a packet pair as descriptor argument. Everything that a child
needs is imported, and rehearsed, before the first fork, and the heap is frozen (gc.freeze), so that a fork copies as few pages
as can be. A job whose peer is gone ends quietly: nobody is left to tell. Shapes: wire.zygote.
"""

import gc
import json
import os
import select
import signal
import socket
import sys
import time
from typing import Any

from knarr import jobs
from knarr.kernel import malloc
from knarr.kernel.capabilities import last
from knarr.kernel.process import PR_SET_DUMPABLE, PR_SET_PDEATHSIG, prctl, reset_signals, set_name
from knarr.kernel.sockets import recv_packet, send_packet
from knarr.model.errors import KnarrError
from knarr.runtime.seal import keep_only
from knarr.runtime.shim import main as shim
from knarr.runtime.shim import packets
from knarr.runtime.shim.ahead import END, TAKEN, Ahead, bear_ahead, host_hierarchy, vacant_namespace
from knarr.runtime.shim.rehearsal import of_an_init
from knarr.wire.zygote import describe

_PAUSE = 0.05
"""After a child that died instead of waiting: should all of them do so, they must not become a storm, nor outlive knarrd."""

_REHEARSALS = 20


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
    vacant_namespace()
    last()
    for _ in range(_REHEARSALS):
        shim.rehearse()
        of_an_init(host_hierarchy())
    send_packet(sock, b'{"ready":true}')
    gc.collect()
    gc.disable()
    holes = _fill_holes()
    gc.freeze()
    malloc.trim()
    malloc.forget_code()
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
        if outcome == END or (not outcome and _alone(sock)):
            break
        if not outcome:
            time.sleep(_PAUSE)
    del holes


def _alone(sock: socket.socket) -> bool:
    """Whether the daemon is gone: a child that died instead of waiting could not say so."""
    poll = select.poll()
    poll.register(sock, 0)
    return bool(poll.poll(0))


_POOL, _FIRST, _LARGEST, _ENOUGH = 16 << 10, 48, 256, 5000


def _fill_holes() -> list[object]:
    """Objects for every hole in the interpreter's pools (CPython, Objects/obmalloc.c: blocks of one size share 16 KiB).

    What a child allocates then lies in pools of its own, side by side, not in holes of pages that it would have to copy.
    Where the pools are others, some objects are kept for nothing.
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
        facts, given = jobs.do(request, fds)
    except (KnarrError, OSError, ValueError, RecursionError, MemoryError) as error:
        send_packet(reply, json.dumps({"error": describe(error)}).encode())
        return
    send_packet(reply, json.dumps({"ok": facts}).encode(), given)
