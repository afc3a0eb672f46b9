"""Making files under a root as an archive asks, and nowhere else. Standard library and kernel only.

A directory is opened under the root's descriptor (openat2 RESOLVE_IN_ROOT: links and ".." end inside) and kept in a small
cache; what is made in it is made by its last name, exclusively, never through a link. Making a file changes its directory's
mtime, so a cached directory gets the times back that it had, or that the archive gave it, when it leaves the cache.
"""

import errno
import os
import stat
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

from knarr.kernel.fd import RootFd
from knarr.snapshots.errors import BadArchive, NoSuchPath, NotADirectory
from knarr.snapshots.tree import remove_below

T = TypeVar("T")

OPAQUE = "trusted.overlay.opaque"
_OVERLAY = ("trusted.overlay.", "user.overlay.")
_CACHED = 32
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_WHITEOUT = os.makedev(0, 0)


class Attributes(NamedTuple):
    """What every kind of file has. `mode` is permission bits; times in nanoseconds."""

    mode: int
    uid: int
    gid: int
    mtime: int
    atime: int
    xattrs: Mapping[str, bytes]


class _Directory:
    """An open directory, the times it shall have at the end, and the group that a new file in it would get."""

    __slots__ = ("fd", "gid", "times")

    def __init__(self, fd: int) -> None:
        facts = os.fstat(fd)
        self.fd = fd
        self.times = (facts.st_atime_ns, facts.st_mtime_ns)
        self.gid = facts.st_gid if facts.st_mode & stat.S_ISGID else os.getegid()

    def change(self, wanted: Attributes) -> None:
        self.times = (wanted.atime, wanted.mtime)
        self.gid = wanted.gid if wanted.mode & stat.S_ISGID else os.getegid()

    def settle(self) -> None:
        os.utime(self.fd, ns=self.times)
        os.close(self.fd)


class Place:
    """The tree below `directory` of `root`. `through`: a link that leads nowhere is a way to what it names. Paths are bytes, relative, without "." and ".." (see `untar.cleaned`)."""

    def __init__(
        self, root: RootFd, directory: str, *, strict: bool, whiteouts: bool, through: bool = False
    ) -> None:
        self._root = root
        self._base = os.fsencode(directory).strip(b"/")
        self._through = through
        self._strict = strict
        self._whiteouts = whiteouts
        self._euid = os.geteuid()
        self._cache: dict[bytes, _Directory] = {}
        try:
            self._open(b"")
        except FileNotFoundError:
            raise NoSuchPath(f"{directory}: no such directory") from None
        except NotADirectoryError:
            raise NotADirectory(f"{directory}: not a directory") from None

    def settle(self) -> None:
        """Gives every cached directory its times and closes it."""
        while self._cache:
            self._cache.pop(next(iter(self._cache))).settle()

    def file(self, path: bytes, mode: int) -> int:
        """A new, empty regular file open for writing; `finish` completes it. The umask is taken to be 0."""
        return self._make(path, lambda fd, name: os.open(name, _NEW_FILE, mode & 0o777, dir_fd=fd))

    def finish(self, path: bytes, fd: int, wanted: Attributes) -> None:
        """chown clears set-id bits and capabilities, writing clears capabilities: hence this order."""
        parent = self._parent(path)
        if (wanted.uid, wanted.gid) != (self._euid, parent.gid):
            os.fchown(fd, wanted.uid, wanted.gid)
        if wanted.mode & 0o7000:
            os.fchmod(fd, wanted.mode)
        for key, value in wanted.xattrs.items():
            self._set(fd, key, value)
        os.utime(fd, ns=(wanted.atime, wanted.mtime))

    def directory(self, path: bytes, wanted: Attributes) -> None:
        """A new directory, or the one that is there, with these attributes."""
        if path and not self._made_directory(path):
            self._keep_or_replace(path)
        cached = self._cache.get(path)
        fd = cached.fd if cached else self._inner(path)
        try:
            os.fchown(fd, wanted.uid, wanted.gid)
            os.fchmod(fd, wanted.mode)
            for key, value in wanted.xattrs.items():
                self._set(fd, key, value)
            os.utime(fd, ns=(wanted.atime, wanted.mtime))
        finally:
            if cached is None:
                os.close(fd)
        if cached:
            cached.change(wanted)

    def symlink(self, path: bytes, target: bytes, wanted: Attributes) -> None:
        """The target is only text."""
        self._make(path, lambda fd, name: os.symlink(target, name, dir_fd=fd))
        self._special(path, wanted)

    def node(self, path: bytes, kind: int, device: tuple[int, int], wanted: Attributes) -> None:
        """A device or fifo: `kind` is S_IFCHR, S_IFBLK or S_IFIFO."""
        number = os.makedev(*device)
        self._make(path, lambda fd, name: os.mknod(name, kind | 0o600, number, dir_fd=fd))
        self._special(path, wanted)

    def link(self, path: bytes, target: bytes) -> None:
        """A hard link to a file that is already in the tree."""
        if path == target:
            return
        outer, name = os.path.split(target)
        source = self._open(outer)
        try:
            self._make(
                path,
                lambda fd, new: os.link(name, new, src_dir_fd=source, dst_dir_fd=fd, follow_symlinks=False),
            )
        except PermissionError:
            raise BadArchive(f"cannot make {_text(path)} a hard link to {_text(target)}") from None
        finally:
            os.close(source)

    def whiteout(self, path: bytes) -> None:
        """What lies below at `path` is gone; what this archive itself put there stays (OCI layer.md, "Whiteouts")."""
        parent = self._parent(path)
        name = os.path.basename(path)
        try:
            os.mknod(name, stat.S_IFCHR, _WHITEOUT, dir_fd=parent.fd)
        except FileExistsError:
            if stat.S_ISDIR(os.stat(name, dir_fd=parent.fd, follow_symlinks=False).st_mode):
                self.opaque(path)

    def opaque(self, path: bytes) -> None:
        """Nothing of what lies below directory `path` shows through."""
        os.setxattr(self._cached(path).fd, OPAQUE, b"y")

    def _made_directory(self, path: bytes) -> bool:
        try:
            os.mkdir(os.path.basename(path), 0o700, dir_fd=self._parent(path).fd)
        except FileExistsError:
            return False
        return True

    def _keep_or_replace(self, path: bytes) -> None:
        """A directory stays; anything else makes room. Over a whiteout, the new one must be opaque."""
        name = os.path.basename(path)
        facts = os.stat(name, dir_fd=self._parent(path).fd, follow_symlinks=False)
        if stat.S_ISDIR(facts.st_mode):
            return
        if self._strict:
            raise BadArchive(f'cannot overwrite non-directory "{_text(path)}" with directory')
        self._clear(path, facts)
        os.mkdir(name, 0o700, dir_fd=self._parent(path).fd)
        if self._whiteouts and is_whiteout(facts):
            self.opaque(path)

    def _make(self, path: bytes, make: Callable[[int, bytes], T]) -> T:
        """`make` in the parent; if something is there already, it makes room first."""
        name = os.path.basename(path)
        try:
            return make(self._parent(path).fd, name)
        except FileExistsError:
            facts = os.stat(name, dir_fd=self._parent(path).fd, follow_symlinks=False)
        if self._strict and stat.S_ISDIR(facts.st_mode):
            raise BadArchive(f'cannot overwrite directory "{_text(path)}" with non-directory')
        self._clear(path, facts)
        return make(self._parent(path).fd, name)

    def _clear(self, path: bytes, facts: os.stat_result) -> None:
        """Cached directories may lie behind what goes."""
        parent = self._parent(path)
        if stat.S_ISDIR(facts.st_mode) or stat.S_ISLNK(facts.st_mode):
            self.settle()
            parent = self._parent(path)
        remove_below(parent.fd, os.path.basename(path))

    def _special(self, path: bytes, wanted: Attributes) -> None:
        parent = self._parent(path)
        name = os.path.basename(path)
        facts = os.stat(name, dir_fd=parent.fd, follow_symlinks=False)
        if (wanted.uid, wanted.gid) != (facts.st_uid, facts.st_gid):
            os.chown(name, wanted.uid, wanted.gid, dir_fd=parent.fd, follow_symlinks=False)
        if not stat.S_ISLNK(facts.st_mode):
            os.chmod(name, wanted.mode, dir_fd=parent.fd)
        if wanted.xattrs:
            os.fchdir(parent.fd)  # setxattr(2) has no form with a directory, and a chroot has no /proc
            for key, value in wanted.xattrs.items():
                self._set(name, key, value)
        os.utime(name, ns=(wanted.atime, wanted.mtime), dir_fd=parent.fd, follow_symlinks=False)

    def _set(self, target: int | bytes, key: str, value: bytes) -> None:
        """Overlayfs's own attributes could point it elsewhere; what the filesystem cannot keep is left out, as docker does."""
        if key.startswith(_OVERLAY):
            return
        try:
            if isinstance(target, int):
                os.setxattr(target, key, value)
            else:
                os.setxattr(target, key, value, follow_symlinks=False)
        except OSError as error:
            if error.errno != errno.ENOTSUP and not (error.errno == errno.EPERM and key.startswith("user.")):
                raise

    def _parent(self, path: bytes) -> _Directory:
        return self._cached(os.path.dirname(path))

    def _cached(self, path: bytes) -> _Directory:
        """The directory, made with its parents if it is missing."""
        found = self._cache.pop(path, None)
        if found is None:
            if len(self._cache) >= _CACHED:
                self._cache.pop(next(iter(self._cache))).settle()
            try:
                fd = self._open(path)
            except (FileNotFoundError, NotADirectoryError):
                self._make_missing(path)
                fd = self._open(path)
            found = _Directory(fd)
        self._cache[path] = found
        return found

    def _open(self, path: bytes) -> int:
        whole = b"/".join(part for part in (self._base, path) if part) or b"."
        return self._root.open(os.fsdecode(whole), _DIRECTORY)

    def _inner(self, path: bytes) -> int:
        if not path:
            return self._open(path)
        name = os.path.basename(path)
        return os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=self._parent(path).fd)

    def _make_missing(self, path: bytes) -> None:
        """From the top, so that a hostile depth costs no recursion."""
        end = 0
        while end < len(path):
            end = path.find(b"/", end + 1) if b"/" in path[end + 1 :] else len(path)
            prefix = path[:end]
            try:
                os.close(self._open(prefix))
            except FileNotFoundError:
                self._make_way(prefix)
            except NotADirectoryError:
                self._over_whiteout(prefix)

    def _make_way(self, path: bytes) -> None:
        """A directory that is missing; where a link leads nowhere, what it leads to."""
        try:
            os.mkdir(os.path.basename(path), 0o755, dir_fd=self._parent(path).fd)
        except FileExistsError:
            if not self._through:
                raise
            os.close(self._root.mkdirs(os.fsdecode(b"/" + self._base + b"/" + path)))

    def _over_whiteout(self, path: bytes) -> None:
        parent = self._parent(path)
        name = os.path.basename(path)
        if not (self._whiteouts and is_whiteout(os.stat(name, dir_fd=parent.fd, follow_symlinks=False))):
            raise BadArchive(f"cannot make a file below {_text(path)}: not a directory")
        os.unlink(name, dir_fd=parent.fd)
        os.mkdir(name, 0o755, dir_fd=parent.fd)
        self.opaque(path)


def is_whiteout(facts: os.stat_result) -> bool:
    """Overlayfs's mark for "deleted": a character device 0:0."""
    return stat.S_ISCHR(facts.st_mode) and facts.st_rdev == _WHITEOUT


def _text(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")
