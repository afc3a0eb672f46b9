"""Descriptors with one owner, and paths that cannot leave a root.

`RootFd` resolves every path with openat2(RESOLVE_IN_ROOT): symbolic links and `..` of an image stay inside the root, and
magic links are refused. No absolute path into a root file system is ever opened by string.
"""

import ctypes
import errno
import os
import stat

from knarr.kernel import numbers
from knarr.kernel.libc import check, libc, syscall

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10
_ATTEMPTS = 1000
_LINKS = 40


class Fd:
    """An owned descriptor: closed at the end of `with`, unless `steal` gave it away."""

    __slots__ = ("_number",)

    def __init__(self, number: int):
        self._number = number

    def fileno(self) -> int:
        """The number. Raises ValueError once it was closed or stolen."""
        if self._number < 0:
            raise ValueError("the descriptor is closed or was given away")
        return self._number

    def steal(self) -> int:
        """The number; the caller closes it from now on."""
        number = self.fileno()
        self._number = -1
        return number

    def close(self) -> None:
        """May be called again."""
        if self._number >= 0:
            os.close(self._number)
            self._number = -1

    def __enter__(self) -> "Fd":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def openat2(dirfd: int, path: str, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """openat2(2); the descriptor is close-on-exec."""
    if not flags & (os.O_CREAT | 0o20000000):  # O_TMPFILE
        mode = 0
    how = (ctypes.c_uint64 * 3)(flags | os.O_CLOEXEC, mode, resolve)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return syscall(numbers.OPENAT2, dirfd, os.fsencode(path), how, 24, path=path)
        except OSError as error:
            # A rename or mount anywhere may have raced the walk (openat2(2), EAGAIN); so does a container's lease on a
            # file that is opened with O_NONBLOCK, for as long as the container likes.
            if error.errno != errno.EAGAIN or attempt == _ATTEMPTS:
                raise
    raise AssertionError("unreachable")


PROC_SUPER_MAGIC = 0x9FA0
DEVPTS_SUPER_MAGIC = 0x1CD1
SELINUX_MAGIC = 0xF97CFF8C
_Statfs = ctypes.c_long * 32
_fstatfs = libc.fstatfs


def filesystem(fd: int) -> int:
    """The type of the file system that a descriptor is on (fstatfs(2), f_type)."""
    buffer = _Statfs()
    check(_fstatfs(fd, buffer))
    return int(buffer[0]) & 0xFFFFFFFF


class RootFd:
    """A directory that is "/" for every path given here; absolute paths start at it."""

    __slots__ = ("_fd", "path")

    def __init__(self, path: str, fd: int | None = None):
        """Opens `path`, or owns `fd`, a descriptor of the directory (then `path` only names it in errors)."""
        self.path = path
        self._fd = Fd(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) if fd is None else fd)

    def fileno(self) -> int:
        """The directory's descriptor."""
        return self._fd.fileno()

    def open(self, path: str, flags: int, mode: int = 0) -> int:
        """Opens `path`, links resolved inside the root. With O_NOFOLLOW a final link is refused (or O_PATH: opened)."""
        return openat2(self.fileno(), path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)

    def open_parent(self, path: str, mode: int | None = None) -> tuple[int, str]:
        """A descriptor of the directory that holds `path`, and its last name; with `mode` missing ones are made."""
        head, _, name = path.rstrip("/").rpartition("/")
        if name in ("", ".", ".."):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
        if mode is not None:
            return self.mkdirs(head or "/", mode), name
        return self.open(head or "/", os.O_PATH | os.O_DIRECTORY), name

    def mkdirs(self, path: str, mode: int = 0o755) -> int:
        """Makes `path` and what is missing above it; an O_PATH descriptor of it.

        Links are followed inside the root, those that lead nowhere as well: where they lead to is made.
        """
        try:
            return self.open(path, os.O_PATH | os.O_DIRECTORY)
        except FileNotFoundError:
            return self._make_all(path, mode)

    def resolve(self, path: str) -> str:
        """Where `path` leads to in the root, without links as far as it exists; the rest as it is spelled."""
        ahead = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        walked: list[str] = []
        links = 0
        while ahead:
            part = ahead.pop()
            if part == "..":
                del walked[-1:]
                continue
            walked.append(part)
            try:
                target = self.readlink("/" + "/".join(walked))
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.ENOENT, errno.ENOTDIR):
                    raise
                continue
            links += 1
            if links > _LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            del walked[0 if target.startswith("/") else -1 :]
            ahead += [part for part in reversed(target.split("/")) if part not in ("", ".")]
        return "/" + "/".join(walked)

    def _make_all(self, path: str, mode: int) -> int:
        """Every part is opened anew from the root, without links: what changes meanwhile is an error."""
        walked = ""
        resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS
        current = self.open("/", os.O_PATH | os.O_DIRECTORY)
        for name in self.resolve(path).split("/")[1:]:
            walked = f"{walked}/{name}"
            try:
                try:
                    os.mkdir(name, mode, dir_fd=current)
                except FileExistsError:
                    pass
                following = openat2(self.fileno(), walked, os.O_PATH | os.O_DIRECTORY, 0, resolve)
            finally:
                os.close(current)
            current = following
        return current

    def stat(self, path: str, follow: bool = True) -> os.stat_result:
        """stat(2) or lstat(2) inside the root."""
        with Fd(self.open(path, os.O_PATH | (0 if follow else os.O_NOFOLLOW))) as fd:
            return os.fstat(fd.fileno())

    def exists(self, path: str) -> bool:
        """Whether `path` leads anywhere inside the root."""
        try:
            self.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def readlink(self, path: str) -> str:
        """readlink(2) inside the root."""
        with Fd(self.open(path, os.O_PATH | os.O_NOFOLLOW)) as fd:
            return os.readlink("", dir_fd=fd.fileno())

    def read(self, path: str, limit: int = 1 << 20) -> bytes:
        """The first `limit` bytes of a regular file. A FIFO or device that an image put there is refused (EINVAL)."""
        with Fd(self.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)) as fd:
            if not stat.S_ISREG(os.fstat(fd.fileno()).st_mode):
                raise OSError(errno.EINVAL, "not a regular file", path)
            data = bytearray()
            while len(data) < limit and (chunk := os.read(fd.fileno(), min(65536, limit - len(data)))):
                data += chunk
            return bytes(data)

    def write(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Creates or truncates a file and writes `data`."""
        with Fd(self.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)) as fd:
            view = memoryview(data)
            while view:
                view = view[os.write(fd.fileno(), view) :]

    def close(self) -> None:
        """May be called again."""
        self._fd.close()

    def __enter__(self) -> "RootFd":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
