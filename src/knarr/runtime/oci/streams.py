"""Where a container's terminal goes: to whoever listens on a socket, or through this process to its own terminal."""

import os
import select
import socket
import termios
from typing import Any

from knarr.kernel import terminal
from knarr.kernel.files import write_all

_CHUNK = 65536


def connect(path: str) -> socket.socket:
    """A stream socket at `path`, of any length (sun_path has 108 bytes, unix(7))."""
    directory, name = os.path.split(os.path.abspath(path))
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        line.connect(f"/proc/self/fd/{fd}/{name}")
    except OSError as error:
        line.close()
        raise OSError(error.errno, error.strerror, f"dial unix {path}") from None
    finally:
        os.close(fd)
    return line


def give(line: socket.socket, name: str, fd: int) -> None:
    """Hands a descriptor over, with a name as its message."""
    socket.send_fds(line, [name.encode()], [fd])


class Terminal:
    """A container's terminal on this process's own: raw mode, sizes, bytes both ways. `close` puts the mode back."""

    def __init__(self) -> None:
        self.master = -1
        self._own = _own_terminal()
        self._before: list[Any] | None = None
        self._waiting = b""
        self._reads = True

    def take(self, master: int) -> None:
        """From now on bytes flow when `turn` is called."""
        mode = termios.tcgetattr(master)
        mode[1] &= ~termios.ONLCR
        termios.tcsetattr(master, termios.TCSANOW, mode)
        os.set_blocking(master, False)
        self.master = master
        self.resize()
        if self._own >= 0:
            self._before = termios.tcgetattr(self._own)
            termios.tcsetattr(self._own, termios.TCSANOW, _raw(self._before))

    def resize(self) -> None:
        """As large as our own; nothing where we have none."""
        if self._own >= 0 and self.master >= 0:
            width, height = terminal.size(self._own)
            terminal.set_size(self.master, width, height)

    def interests(self) -> dict[int, int]:
        """What to poll for, by descriptor."""
        if self.master < 0:
            return {}
        wanted = {self.master: select.POLLIN | (select.POLLOUT if self._waiting else 0)}
        if self._reads and len(self._waiting) < _CHUNK:
            wanted[0] = select.POLLIN
        return wanted

    def turn(self, events: dict[int, int]) -> None:
        """Moves what can be moved."""
        if 0 in events:
            try:
                data = os.read(0, _CHUNK)
            except OSError:
                data = b""
            self._reads = bool(data)
            self._waiting += data
        happened = events.get(self.master, 0)
        if happened & (select.POLLIN | select.POLLHUP | select.POLLERR):
            self._out()
        if self.master >= 0 and self._waiting:
            self._in()

    def _in(self) -> None:
        try:
            self._waiting = self._waiting[os.write(self.master, self._waiting) :]
        except BlockingIOError:
            return
        except OSError:
            self._waiting, self._reads = b"", False

    def _out(self) -> bool:
        """One chunk; False when there is none, and the master closed at its end."""
        try:
            data = terminal.read_master(self.master, _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            os.close(self.master)
            self.master = -1
            return False
        try:
            write_all(1, data)
        except OSError:
            return True
        return True

    def close(self) -> None:
        """The last output, and our own terminal as it was."""
        while self.master >= 0 and self._out():
            continue
        if self.master >= 0:
            os.close(self.master)
            self.master = -1
        if self._before is not None:
            termios.tcsetattr(self._own, termios.TCSADRAIN, self._before)
            self._before = None


def _own_terminal() -> int:
    """Any stream that is a terminal, or the controlling one; -1 without."""
    for fd in (2, 1, 0):
        if os.isatty(fd):
            return fd
    try:
        return os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return -1


def _raw(mode: list[Any]) -> list[Any]:
    """cfmakeraw(3), but line feeds still return: the container's terminal does not add carriage returns."""
    iflag, oflag, cflag, lflag, *rest = mode
    iflag &= ~(
        termios.IGNBRK
        | termios.BRKINT
        | termios.PARMRK
        | termios.ISTRIP
        | termios.INLCR
        | termios.IGNCR
        | termios.ICRNL
        | termios.IXON
    )
    lflag &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    cflag = cflag & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    return [iflag, oflag, cflag, lflag, *rest]


class Pipes:
    """Pipes between a container and our own terminal, which it must never hold itself (TIOCSTI, ioctl_tty(2))."""

    def __init__(self) -> None:
        self._ours: dict[int, int] = {}
        self.theirs: list[int] = []
        for number in range(3):
            read, write = os.pipe()
            mine, its = (write, read) if number == 0 else (read, write)
            self._ours[number] = mine
            self.theirs.append(its)
        os.set_blocking(self._ours[0], False)
        self._waiting = b""

    def born(self) -> None:
        """The container has its ends."""
        for fd in self.theirs:
            os.close(fd)
        self.theirs = []

    def resize(self) -> None:
        """Pipes have no size."""

    def interests(self) -> dict[int, int]:
        """What to poll for, by descriptor."""
        wanted = {self._ours[number]: select.POLLIN for number in (1, 2) if number in self._ours}
        if 0 in self._ours:
            wanted[self._ours[0]] = select.POLLOUT if self._waiting else 0
            if not self._waiting:
                wanted[0] = select.POLLIN
        return wanted

    def turn(self, events: dict[int, int]) -> None:
        """Moves what can be moved."""
        for number in (1, 2):
            if self._ours.get(number, -1) in events:
                self._out(number)
        if 0 not in self._ours:
            return
        if events.get(self._ours[0], 0) & select.POLLERR:
            self._shut(0)
            return
        if 0 in events:
            self._waiting = os.read(0, _CHUNK)
            if not self._waiting:
                self._shut(0)
                return
        if self._waiting:
            try:
                self._waiting = self._waiting[os.write(self._ours[0], self._waiting) :]
            except BlockingIOError:
                return
            except OSError:
                self._shut(0)

    def _out(self, number: int) -> bool:
        try:
            data = os.read(self._ours[number], _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self._shut(number)
            return False
        try:
            write_all(number, data)
        except OSError:
            return True
        return True

    def _shut(self, number: int) -> None:
        os.close(self._ours.pop(number))

    def close(self) -> None:
        """The last output."""
        self.born()
        for number in (1, 2):
            if number in self._ours:
                os.set_blocking(self._ours[number], False)
                while self._out(number):
                    continue
        for number in list(self._ours):
            self._shut(number)


class Inherited:
    """The caller's own streams, given to the container as they are."""

    def resize(self) -> None:
        """They are not ours to size."""

    def interests(self) -> dict[int, int]:
        """Nothing flows through here."""
        return {}

    def turn(self, events: dict[int, int]) -> None:
        """Nothing to move."""

    def close(self) -> None:
        """They stay the caller's."""


Streams = Terminal | Pipes | Inherited
