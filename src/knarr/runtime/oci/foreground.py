"""A process in the foreground: its streams are carried, signals go to it, its exit code is ours.

Signals come to this process, or from the caller of a zygote as packets. SIGWINCH resizes, every other one is forwarded.
"""

import os
import select
import signal
import socket

from knarr.kernel import process
from knarr.runtime.oci.streams import Streams

_OURS = (signal.SIGURG, signal.SIGPIPE, signal.SIGTTIN, signal.SIGTTOU)
_FATAL = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGTRAP)
_NEVER = (signal.SIGKILL, signal.SIGSTOP)


class Signals:
    """What was sent to us, as a descriptor to poll: our own signals, or a caller's packets."""

    def __init__(self, orders: int):
        self._orders = socket.socket(fileno=os.dup(orders)) if orders >= 0 else None
        self._pipe = (-1, -1)
        if self._orders is None:
            self._catch()

    def _catch(self) -> None:
        self._pipe = os.pipe()
        for fd in self._pipe:
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        for number in signal.valid_signals():
            if number not in (*_OURS, *_FATAL, *_NEVER):
                signal.signal(number, _noted)
        release()

    def fileno(self) -> int:
        """Readable when something came; -1 once nothing can come any more."""
        return self._orders.fileno() if self._orders is not None else self._pipe[0]

    def take(self) -> list[int]:
        """The numbers that came."""
        if self._orders is None:
            return list(os.read(self._pipe[0], 4096))
        data = self._orders.recv(64)
        if not data:
            self._orders.close()
        return list(data)


def hold() -> None:
    """Signals wait: a child that is born now must not inherit handlers, and none may be lost meanwhile."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def release() -> None:
    """The end of `hold`."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _noted(number: int, frame: object) -> None:
    """The wakeup descriptor has it."""


def follow(pid: int, pidfd: int, streams: Streams, signals: Signals) -> int:
    """Until the process ends; its exit code, 128+n after signal n."""
    streams.resize()
    while True:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if signals.fileno() >= 0:
            poll.register(signals.fileno(), select.POLLIN)
        for fd, wanted in streams.interests().items():
            poll.register(fd, wanted)
        events = dict(poll.poll())
        if signals.fileno() in events:
            for number in signals.take():
                _heed(number, pid, pidfd, streams)
        streams.turn(events)
        if pidfd in events:
            streams.close()
            return _code(pidfd)


def _heed(number: int, pid: int, pidfd: int, streams: Streams) -> None:
    if number == signal.SIGWINCH:
        streams.resize()
    elif number == signal.SIGCHLD:
        _reap_strangers(pid)
    else:
        try:
            process.pidfd_send_signal(pidfd, number)
        except ProcessLookupError:
            return


def _reap_strangers(pid: int) -> None:
    """Orphans that became ours (PR_SET_CHILD_SUBREAPER) stay no zombies; our own child has its pidfd."""
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if found is None or found.si_pid == pid:
            return
        os.waitpid(found.si_pid, os.WNOHANG)


def _code(pidfd: int) -> int:
    result = process.waitid_pidfd(pidfd)
    if result is None:
        return 255
    status = result.si_status
    return status if result.si_code == os.CLD_EXITED else 128 + (status & 0x7F)
