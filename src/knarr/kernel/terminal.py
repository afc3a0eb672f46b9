"""Pseudo-terminals (pts(4), ioctl_tty(2))."""

import errno
import fcntl
import os
import struct
import termios

TIOCSPTLCK = 0x40045431
TIOCGPTN = 0x80045430
TIOCGPTPEER = 0x5441


def open_ptmx(path: str = "/dev/ptmx", dir_fd: int | None = None) -> tuple[int, int]:
    """A new terminal of the devpts that `path` belongs to: the master and the number of its pts."""
    master = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        unlock(master)
        number: int = struct.unpack("i", fcntl.ioctl(master, TIOCGPTN, struct.pack("i", 0)))[0]
    except OSError:
        os.close(master)
        raise
    return master, number


def unlock(master: int) -> None:
    """TIOCSPTLCK: lets the other end be opened."""
    fcntl.ioctl(master, TIOCSPTLCK, struct.pack("i", 0))


def peer(master: int) -> int:
    """The other end of a master, by ioctl_tty(2) TIOCGPTPEER: no path in an untrusted tree is opened."""
    return fcntl.ioctl(master, TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)


def read_master(master: int, size: int) -> bytes:
    """read(2) of a master that does not block; b"" once nobody has the other end open and all that they wrote was read.

    Linux says EIO for that end, but looks first for what was written and then for who has the other end open (n_tty_read):
    what was written and closed between the two is found by a second read.
    """
    for _ in range(2):
        try:
            return os.read(master, size)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
    return b""


def set_size(fd: int, width: int, height: int) -> None:
    """TIOCSWINSZ: columns and rows."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))


def size(fd: int) -> tuple[int, int]:
    """TIOCGWINSZ: columns and rows."""
    rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(8)))
    return columns, rows


def set_controlling(fd: int) -> None:
    """TIOCSCTTY: the calling session leader's controlling terminal."""
    fcntl.ioctl(fd, termios.TIOCSCTTY, 0)
