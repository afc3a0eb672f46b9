"""What a service manager gives and is told: sd_listen_fds(3), sd_notify(3) with its watchdog, a pid file, a lock.

Variables of the manager are taken out of the environment as they are read: they are nobody else's.
"""

import asyncio
import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Iterator

from knarr.model.errors import Invalid

_FIRST = 3


class Activation:
    """The sockets of a service manager, by name; each can be taken once. Without a manager there are none."""

    def __init__(self) -> None:
        count, names = os.environ.pop("LISTEN_FDS", "0"), os.environ.pop("LISTEN_FDNAMES", "").split(":")
        mine = os.environ.pop("LISTEN_PID", "") == str(os.getpid()) and count.isdigit()
        numbers = range(_FIRST, _FIRST + int(count)) if mine else range(0)
        for number in numbers:
            os.set_inheritable(number, False)
        self._left = [
            (number, names[index] if index < len(names) else "") for index, number in enumerate(numbers)
        ]
        self._none = not self._left

    def take(self, address: str) -> list[socket.socket]:
        """The sockets that fd://ADDRESS means: all that are left ("" or "*"), a descriptor's number, a name. Raises Invalid."""
        if self._none:
            raise Invalid(
                "no sockets found via socket activation: make sure the service was started by systemd"
            )
        every = address in ("", "*")
        found = [each for each in self._left if every or address in (str(each[0]), each[1])]
        if not found:
            raise Invalid("failed to find systemd activated sockets: no socket is named " + (address or "*"))
        self._left = [each for each in self._left if each not in found]
        return [socket.socket(fileno=number) for number, _ in found]

    def close(self) -> None:
        """Lets go of what nobody wanted: who connects to it would wait for ever."""
        for number, _ in self._left:
            os.close(number)
        self._left = []


class Notifier:
    """The manager's ear; deaf where there is no manager."""

    def __init__(self) -> None:
        self._path = os.environ.pop("NOTIFY_SOCKET", "")
        mine = os.environ.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        microseconds = os.environ.pop("WATCHDOG_USEC", "")
        self.watchdog = int(microseconds) / 1e6 if mine and microseconds.isdigit() else 0.0

    def tell(self, *words: str) -> None:
        """Lines such as READY=1; a manager that does not listen is no error."""
        if not self._path:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
            address = "\0" + self._path[1:] if self._path.startswith("@") else self._path
            sock.sendto("\n".join(words).encode(), address)

    def reloading(self) -> None:
        """The time is what Type=notify-reload asks for (CLOCK_MONOTONIC in microseconds)."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    async def beat(self) -> None:
        """Says that the loop turns, twice as often as the watchdog wants it; for ever, or not at all."""
        while self.watchdog:
            self.tell("WATCHDOG=1")
            await asyncio.sleep(self.watchdog / 2)


@contextlib.contextmanager
def locked(data_root: str) -> Iterator[None]:
    """Holds the data root for this daemon alone. Raises Invalid while another has it."""
    os.makedirs(data_root, mode=0o710, exist_ok=True)
    # What images and containers keep in here, set-uid programs too, is not for the host's other users (CVE-2021-41091).
    os.chmod(data_root, 0o710)
    fd = os.open(os.path.join(data_root, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Invalid(f"another daemon is running on the data root {data_root}") from None
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def pidfile(path: str | None) -> Iterator[None]:
    """Our process id, as long as we live. Raises Invalid while it names another process that does."""
    if not path:
        yield
        return
    other = _living(path)
    if other:
        raise Invalid(f"process with PID {other} is still running")
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(path, "w", encoding="ascii") as file:
        file.write(str(os.getpid()))
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _living(path: str) -> int:
    try:
        with open(path, encoding="ascii") as file:
            number = int(file.read(32).strip() or 0)
        return number if number != os.getpid() and os.path.exists(f"/proc/{number}") else 0
    except (FileNotFoundError, ValueError):
        return 0
